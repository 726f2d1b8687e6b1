"""Two accountants find one epsilon, or nothing is believed."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.privacy import Price, accounting, added, epsilon_at, plan_of, zcdp
from analytics.privacy.accounting import agreed, composed
from consilium_errors import Refused
from tests.private import private_spec

DELTA = Decimal("0.000001")
prices = st.builds(Price, st.integers(0, 10**9), st.integers(0, 10**9))


@settings(max_examples=60)
@given(openings=st.lists(st.tuples(prices, st.integers(0, 50)), max_size=6))
def test_any_composition_of_rounds_and_studies(openings: list[tuple[Price, int]]) -> None:
    found = agreed(openings, DELTA)
    assert found == epsilon_at(added(openings), DELTA)
    assert composed(tuple(openings), DELTA) == pytest.approx(float(found), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("rho", [0, 1, 1000, 10**6, 10**9, 10**11])
@pytest.mark.parametrize("delta", ["0.01", "0.0000000001"])
def test_from_the_least_spend_to_the_largest(rho: int, delta: str) -> None:
    agreed([(Price(rho, 0), 1)], Decimal(delta))


def test_nothing_is_promised_once_the_tails_take_all_of_delta() -> None:
    spent = [(Price(1, 10**12), 1)]
    assert agreed(spent, DELTA).is_infinite()
    assert composed(tuple(spent), DELTA) == math.inf


@pytest.mark.parametrize("off", ["0.9", "1.1"])
def test_accountants_that_disagree_stop_everything(monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    honest = zcdp.epsilon_of

    def wrong(rho: int, delta: Decimal) -> Decimal:
        return honest(rho, delta) * Decimal(off)

    monkeypatch.setattr(zcdp, "epsilon_of", wrong)
    with pytest.raises(Refused) as caught:
        agreed([(Price(5 * 10**8, 1), 2)], DELTA)
    assert caught.value.code == "privacy.accountants"


def test_a_blind_second_accountant_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "composed", lambda openings, delta: 0.0)
    with pytest.raises(Refused):
        agreed([(Price(5 * 10**8, 1), 2)], DELTA)


def test_no_study_is_solved_while_they_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = private_spec("disagreed", epsilon="3.21")  # of no other test: what was solved is remembered
    with monkeypatch.context() as blind:
        blind.setattr(accounting, "composed", lambda openings, delta: 0.0)
        with pytest.raises(Refused) as caught:
            plan_of(spec)
    assert caught.value.code == "privacy.accountants"
    assert plan_of(spec) is not None
