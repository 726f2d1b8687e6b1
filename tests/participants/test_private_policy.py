"""A hospital's own budget of privacy: refused before anything is opened, over all studies, for good."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from analytics.privacy import NOTHING, Price, accounting, cap, plan_of, terms_of
from analytics.study import StudySpec
from consent_contracts.chain import AnalysisView
from consilium_errors import Hostile, Refused
from participants.approvals import Approvals
from participants.config import HospitalConfig
from participants.offers import check_price
from participants.policy import Facts, decide
from participants.review import SPENDING, ledger
from participants.review_text import Asked, page
from tests.attacks.sim import memory_store
from tests.private import private_spec

HOSPITAL = """
schema = "consilium.hospital/1"
site = "a"
[source]
kind = "csv"
path = "x.csv"
patient_id = "mrn"
[columns.age]
from = "AGE"
unit = "a"
[policy]
purposes = ["DUO:0000042"]
trusted = ["0x00000000000000000000000000000000000000b0", "0x00000000000000000000000000000000000000c0"]
[budget]
epsilon = "{epsilon}"
delta = "{delta}"
"""
PEERS = tuple(bytes(19) + bytes([last]) for last in (0xB0, 0xC0, 0xD0))
STUDY = b"\x51" * 32


def hospital(epsilon: str = "8", delta: str = "1e-6") -> HospitalConfig:
    return HospitalConfig.load(HOSPITAL.format(epsilon=epsilon, delta=delta))


def facts(spec: StudySpec, **changed: Any) -> Facts:
    usual = Facts(
        spec_hash=spec.spec_hash,
        purposes=0b0100,
        permitted=0b1110,
        peers=PEERS,
        rows=36,
        exact_left=0,
        exact_this_year=20,
    )
    return replace(usual, **changed)


def total(spec: StudySpec) -> Price:
    plan = plan_of(spec)
    assert plan is not None
    return plan.total


def refuses(config: HospitalConfig, spec: StudySpec, **changed: Any) -> str:
    with pytest.raises(Refused) as caught:
        decide(config, spec, facts(spec, **changed))
    assert caught.value.code == "policy.privacy"
    return str(caught.value)


def test_a_study_within_the_budget_needs_no_exact_release() -> None:
    spec = private_spec(epsilon="7.9", rounds=5)
    decide(hospital(), spec, facts(spec))
    decide(hospital(), spec, facts(spec, privacy_left=total(spec)))


def test_a_study_beyond_the_budget_is_refused_beforehand() -> None:
    told = refuses(hospital("3.9"), private_spec(epsilon="4"))
    assert "epsilon would be 4.0" in told
    refuses(hospital("8", "1e-12"), private_spec(epsilon="7.9"))
    refuses(hospital("0"), private_spec(epsilon="1"))
    refuses(hospital("8", "0"), private_spec(epsilon="1"))


def test_a_study_that_asks_for_almost_no_noise_is_refused() -> None:
    refuses(hospital(), private_spec(epsilon="30"))


def test_studies_add_up_for_good() -> None:
    """rho adds up, so twice epsilon 4 is less than 8 and three times is more."""
    spec = private_spec(epsilon="4")
    one = total(spec)
    decide(hospital(), spec, facts(spec, spent=one))
    told = refuses(hospital(), spec, spent=Price(3 * one.rho, 3 * one.delta))
    assert "over all studies" in told


def test_what_this_study_has_spent_already_is_not_counted_twice() -> None:
    spec = private_spec(epsilon="7.9", rounds=5)
    half = Price(total(spec).rho // 2, 1)
    decide(hospital(), spec, facts(spec, spent=half, spent_here=half))
    refuses(hospital(), spec, spent=half)


def test_no_part_is_taken_while_two_accountants_disagree_over_all_studies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = private_spec(epsilon="4")
    known = facts(spec, spent=Price(12345, 1))
    decide(hospital(), spec, known)
    monkeypatch.setattr(accounting, "composed", lambda openings, delta: 0.0)
    with pytest.raises(Refused) as caught:
        decide(hospital(), spec, known)
    assert caught.value.code == "privacy.accountants"


@pytest.mark.parametrize("left", [Price(0, 10**6), Price(10**10, 0)])
def test_what_the_chain_leaves_must_cover_the_whole_study(left: Price) -> None:
    assert "on the chain" in refuses(hospital(), private_spec(), privacy_left=left)


def test_the_book_of_spending() -> None:
    store, other = memory_store(), b"\x52" * 32
    for slot, rho in ((f"{STUDY.hex()}/1/1", 5), (f"{STUDY.hex()}/1/2", 7), (f"{other.hex()}/1/1", 11)):
        body = rho.to_bytes(8, "big") + (1).to_bytes(8, "big") + (0).to_bytes(8, "big")
        store.commit([(SPENDING, slot, body)])
    found = ledger(store, STUDY, 30, 100)
    assert (found.spent_here, found.spent, found.opened_this_year) == (Price(12, 2), Price(23, 3), 0)
    assert ledger(memory_store(), STUDY, 30, 100).spent == NOTHING


def test_a_contribution_needs_the_price_that_was_offered() -> None:
    spec = private_spec(rounds=2)
    for name in ("table1", "net"):
        check_price(spec, name, AnalysisView(*terms_of(spec, name)))
    with pytest.raises(Hostile) as caught:
        check_price(spec, "net", AnalysisView(*terms_of(spec, "table1")))
    assert caught.value.code == "offer.price"


class Desk:
    """The steward's desk, noting what it is asked to do."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.said.append((name, kwargs or args))


def test_consent_caps_the_study_at_its_promise_and_the_dataset_at_the_budget() -> None:
    spec, config, desk = private_spec(rounds=3), hospital("6"), Desk()
    gate = SimpleNamespace(steward=bytes(20), reason="no_consent")
    dataset = SimpleNamespace(config=config, nonce=bytes(32))
    frozen = SimpleNamespace(root=b"", schema_hash=b"", cohort_root=b"")
    datasets = SimpleNamespace(serving=lambda _: dataset, freeze=lambda _: frozen, org=b"\1" * 20)
    snapshot = SimpleNamespace(gate=lambda *_: [gate], exact_spent=lambda _: 0)
    chain = SimpleNamespace(snapshot=lambda: snapshot)
    approvals = Approvals(SimpleNamespace(store=memory_store(), chain=chain), datasets, clock=lambda: 0.0)  # type: ignore[arg-type]
    desk.org = b"\1" * 20  # type: ignore[attr-defined]
    approvals._register(STUDY, dataset, bytes(32), desk)  # type: ignore[arg-type]
    approvals._grant(STUDY, spec, bytes(32), desk, 1)  # type: ignore[arg-type]
    said = dict(desk.said)
    allowed = cap(Decimal(6), Decimal("1e-6"))
    assert said["budget"] == {"rho": allowed.rho, "delta": allowed.delta, "exact": 20}
    terms = said["grant"][2]
    assert (terms.rho_cap, terms.delta_cap, terms.exact_cap) == (total(spec).rho, total(spec).delta, 0)


def told(spec: StudySpec, **how: Any) -> str:
    usual: dict[str, Any] = {
        "state": "waiting",
        "sponsor": "0xabc",
        "peers": ["b", "c"],
        "config": hospital(),
        "profile": None,
        "objections": [],
        "opened": 0,
    }
    return page(Asked(spec=spec, **(usual | how)))


def test_a_study_with_noise_in_plain_words() -> None:
    from analytics.privacy.simulation import losses

    spec = private_spec(rounds=5, epsilon="2")
    text = told(spec, losses=losses(spec, 40), simulated=40, spent=total(spec))
    assert "every patient is promised epsilon 2 at delta 0.000001 for all results" in text
    assert "guesses from them whether that patient took part with at most 88.1 % success" in text
    assert "on made-up patients, 40 in each hospital, the noise alone costs:" in text
    assert "net: ranks " in text
    assert "table1: the number of patients is off by " in text
    assert "of your privacy budget, epsilon 8 at delta 0.000001 over all studies and for good, 2.0" in text
    assert "of the budget remains" in text
    assert "exact release" not in text


def test_a_budget_that_does_not_suffice_is_said() -> None:
    spec = private_spec(epsilon="4")
    text = told(spec, config=hospital("3"))
    assert "more than remains of your privacy budget of epsilon 3 at delta 0.000001" in text
