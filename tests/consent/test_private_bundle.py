"""The auditor and the contract against studies whose privacy is booked too cheaply, or too often."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from analytics.privacy import accounting, plan_of, terms_of
from consent_contracts.auditor import Verdict, audit
from consent_contracts.auditor.gate import Study as Registered
from consent_contracts.auditor.replay import History
from consent_contracts.auditor.spend import check_spend
from consent_contracts.auditor.verdict import Findings
from consilium_errors import Refused
from protos import digests
from tests.consent.bundles import Study, run_study
from tests.consent.world import DELTA, RHO, World, h
from tests.private import private_spec

pytestmark = pytest.mark.chain
NAME = "table1"


def verdict_of(world: World, study: Study) -> Verdict:
    return audit(world.url, world.addresses, study=study.id, bundle=study.pack(), regulator_key=study.secret)


def test_an_honest_private_study_passes_and_says_its_epsilon(world: World) -> None:
    verdict = verdict_of(world, run_study(world, private_spec("audited")))
    assert not verdict.failed, verdict.failed
    told = {c.subject: c.detail for c in verdict.checks if c.name == "privacy"}
    assert set(told) == {"prices", "seals", "honest", "promise", "accountants"}
    assert told["promise"] == "1 opening: epsilon 4.000 at delta 0.000001"


def test_no_audit_passes_while_two_accountants_disagree(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run_study(world, private_spec("disputed"))
    monkeypatch.setattr(accounting, "composed", lambda openings, delta: 0.0)
    assert {c.code for c in verdict_of(world, made).failed} == {"privacy.accountants"}


@pytest.mark.parametrize("lie", ["rho", "delta", "noise"])
def test_a_study_booked_below_its_price_is_refused(world: World, lie: str) -> None:
    """Sponsor and hospitals together: contract and seals agree with each other, and not with the study file."""
    spec = private_spec(f"cheap-{lie}")
    rho, delta, noise = terms_of(spec, NAME)
    forged = {
        "rho": (rho // 2, delta, noise),
        "delta": (rho, 0, noise),
        "noise": (rho, delta, h("less noise")),
    }[lie]
    verdict = verdict_of(world, run_study(world, spec, {NAME: forged}))
    found = {c.code for c in verdict.failed}
    assert found == {"audit.price"} | ({"audit.spend"} if lie != "noise" else set())


def test_the_contract_refuses_a_lock_below_the_registered_price(world: World) -> None:
    study = world.granted(mode=digests.DP)
    round_ = world.plan(study, rho=RHO - 1)
    with pytest.raises(Refused) as caught:
        world.lock(round_)
    assert caught.value.code.startswith("chain.")


@pytest.mark.parametrize("field", ["rho", "delta"])
def test_the_contract_refuses_a_seal_that_understates(world: World, field: str) -> None:
    study = world.granted(mode=digests.DP)
    round_ = world.plan(study)
    world.lock(round_)
    with pytest.raises(Refused):
        world.attest(round_, replace(round_.seal(), **{field: 0}))
    world.attest(round_)


@pytest.mark.parametrize("short", ["rho", "delta"])
def test_a_datasets_budget_holds_over_studies(world: World, short: str) -> None:
    """Half a release too little for two studies of one release each; what was spent is not given back."""
    poor = world.hospitals[0]
    spent_rho, spent_delta = spent(world, poor.dataset)
    rho = spent_rho + (3 * RHO // 2 if short == "rho" else 10 * RHO)
    delta = spent_delta + (3 * DELTA // 2 if short == "delta" else 10 * DELTA)
    poor.contracts.set_budget(poor.dataset, rho, delta, 1000)
    try:
        first, second = world.granted(mode=digests.DP), world.granted(mode=digests.DP)
        world.run(first, "a")
        with pytest.raises(Refused) as caught:
            world.lock(world.plan(second))
        assert caught.value.code == "chain.budget_exceeded"
        world.run(second)
        assert spent(world, poor.dataset) == (spent_rho + RHO, spent_delta + DELTA)
    finally:
        poor.contracts.set_budget(poor.dataset, 10**12, 10**15, 1000)


def spent(world: World, dataset: bytes) -> tuple[int, int]:
    chain = world.chain(world.url)
    found = chain.snapshot()._read("ConsentRegistry", "datasets", dataset)
    return found["rhoSpent"], found["deltaSpent"]


# the auditor's arithmetic, without a chain -----------------------------------------------------------------


class Promised:
    """What the auditor derives from a study file."""

    def __init__(self, spec: Any) -> None:
        self._spec = spec

    @property
    def promise(self) -> Any:
        return plan_of(self._spec)

    def prices(self) -> dict[str, tuple[int, int, bytes]]:
        return {entry.id: terms_of(self._spec, entry.id) for entry in self._spec.analysis}


def spend_codes(world: World, opened: int, *, least: tuple[int, int] = (3, 1)) -> set[str]:
    spec = private_spec("overspent")
    rho, delta, noise = terms_of(spec, NAME)
    price = {"id": digests.analysis_id(NAME), "rho": rho, "delta": delta, "noise": noise}
    terms = {"analyses": (price,), "minSites": least[0], "collusion": least[1]}

    class Locked:
        def __init__(self, charged: bool) -> None:
            self.lock = self
            self.event = type("E", (), {"args": {"charged": charged}})
            self.ctx = type("C", (), {"analysis": digests.analysis_id(NAME)})
            self.uses = (digests.Use(b"\1" * 32, 1, 1),)

    history = History([Locked(i < opened) for i in range(opened + 1)], [])  # type: ignore[misc,arg-type]
    findings = Findings()
    check_spend(Promised(spec), Registered(b"", terms), history, findings)  # type: ignore[arg-type]
    return {c.code for c in findings.checks if c.outcome == "failed"}


@pytest.mark.parametrize(
    ("opened", "least", "codes"),
    [
        (1, (3, 1), set()),
        (2, (3, 1), {"audit.overspent"}),
        (1, (4, 1), {"audit.honest"}),
        (1, (3, 2), {"audit.honest"}),
    ],
)
def test_more_openings_than_promised_or_fewer_honest_hospitals(
    world: World, opened: int, least: tuple[int, int], codes: set[str]
) -> None:
    assert spend_codes(world, opened, least=least) == codes
