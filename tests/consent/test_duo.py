from __future__ import annotations

import pytest

from consent_contracts import duo
from consilium_errors import Misuse

CANCER, LUNG = "MONDO:0004992", "MONDO:0008903"


def test_wider_permissions_contain_narrower_ones() -> None:
    nres, gru, hmb, ds, poa = (duo.permissions([c]) for c in (duo.NRES, duo.GRU, duo.HMB, duo.DS, duo.POA))
    assert ds & ~hmb == hmb & ~gru == gru & ~nres == poa & ~gru == 0
    assert ds != hmb != gru != nres
    assert poa & hmb == 0  # ancestry research is not biomedical research
    assert duo.permissions([duo.HMB]) & duo.purposes([duo.GRU]) == 0


def test_clinical_care_is_more_than_research() -> None:
    care = duo.purposes([duo.CLINICAL_CARE])
    assert not duo.permissions([duo.GRU]) & care
    assert duo.permissions(["DUO:0000005"]) & care
    assert duo.permissions([duo.NRES]) & care


def test_a_scope_is_the_same_for_the_same_values_only() -> None:
    assert duo.scope({}) == bytes(32)
    assert duo.scope({duo.DS: CANCER}) != duo.scope({duo.DS: LUNG})
    both = {duo.DS: CANCER, "DUO:0000022": "EU"}
    assert duo.scope(both) == duo.scope(dict(reversed(both.items())))
    assert duo.scope({"DUO:0000022": "ab"}) != duo.scope({"DUO:0000026": "ab"})


def test_terms_of_a_mixed_list() -> None:
    allowed, conditions, scope = duo.consent_terms([duo.DS, "DUO:0000046"], {duo.DS: CANCER})
    assert allowed == duo.purposes([duo.DS])
    assert conditions == duo.conditions(["DUO:0000046"]) == 1 << 16
    assert scope == duo.scope({duo.DS: CANCER})


@pytest.mark.parametrize(
    "call",
    [
        lambda: duo.purposes(["DUO:0000046"]),
        lambda: duo.purposes(["HMB"]),
        lambda: duo.permissions(["DUO:9999999"]),
        lambda: duo.conditions([duo.HMB]),
        lambda: duo.scope({"DUO:0000046": "x"}),
        lambda: duo.scope({duo.DS: " "}),
        lambda: duo.consent_terms([duo.DS], {}),
        lambda: duo.consent_terms(["DUO:0000022"], {}),
    ],
)
def test_mistakes_are_named(call: object) -> None:
    with pytest.raises(Misuse):
        call()  # type: ignore[operator]
