"""Private studies over a real chain: one that is booked too cheaply, and one that a hospital leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from analytics.privacy import plan_of, terms_of
from analytics.study import StudySpec
from consent_contracts.auditor import audit
from coordinator import sponsor
from deploy.council import SPONSOR, Council
from participants import bundles
from tests.private import patients, private_spec

pytestmark = pytest.mark.chain


def test_a_cheap_study_is_not_accepted(
    quick_chain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cheap(spec: StudySpec, name: str) -> tuple[int, int, bytes]:
        rho, delta, noise = terms_of(spec, name)
        return (rho // 10 if spec.id == "cheap" else rho), delta, noise

    monkeypatch.setattr(sponsor, "terms_of", cheap)
    tmp_path.chmod(0o700)
    tables = {name: patients(i) for i, name in enumerate("abc")}
    council = Council(tmp_path, quick_chain, {n: (lambda _, t=t: t) for n, t in tables.items()})  # type: ignore[misc]
    try:
        orgs = tuple(sorted(seat.desk.org for seat in council.seats.values()))
        studies = {}
        for name in ("cheap", "honest"):
            spec = private_spec(name, sites="abc")
            studies[name] = sponsor.register(
                council.contracts(SPONSOR),
                spec,
                coordinator=council.coordinator.me,
                roster=orgs,
                key=council.sponsor_key,
            )
            council.coordinator.submit(sponsor.offer(studies[name], spec, council.sponsor_key))
        for seat in council.seats.values():
            council.wait(lambda seat=seat: studies["honest"] in seat.hospital.offers())  # type: ignore[misc]
            council.wait(lambda seat=seat: ("offer", "offer.price") in seat.hospital.refusals)  # type: ignore[misc]
            assert studies["cheap"] not in seat.hospital.offers()
    finally:
        council.close()


@pytest.mark.slow
def test_a_private_study_goes_on_without_a_hospital_that_leaves(quick_chain: str, tmp_path: Path) -> None:
    """Each opening has noise of its own, so the difference of two sets shows no hospital; three shares suffice."""
    tmp_path.chmod(0o700)
    tables = {name: patients(i) for i, name in enumerate("abcd")}
    council = Council(tmp_path, quick_chain, {n: (lambda _, t=t: t) for n, t in tables.items()})  # type: ignore[misc]
    try:
        spec = private_spec("leaving", rounds=1)
        plan = plan_of(spec)
        assert plan is not None
        study = council.register(spec)
        leaver = council.seats["d"]

        def leave(number: int, name: str) -> None:
            if number == 1:
                council.revoke(leaver, spec, study)

        council.on_sealed = leave
        result = council.run(study, 3)
        assert 50 < result.content["table1"]["n"] < 270
        assert result.content["net"]["epsilon"] == 4
        store = council.seats["a"].hospital.store
        assert [len(r.receipts) for r in bundles.rounds(store, study)] == [4, 3]
        bundle = bundles.bundle(store, study, spec.canonical(), council.regulator_key)
        verdict = audit(quick_chain, council.addresses, bundle=bundle, regulator_key=council.regulator_secret)
        assert not verdict.failed, verdict.failed
        (told,) = [c.detail for c in verdict.checks if c.subject == "promise"]
        assert told == "2 openings: epsilon 4.000 at delta 0.000001"
        left = {
            name: council.coordinator.chain.gate(study, [s.datasets[spec.id]])[0].rho_left
            for name, s in council.seats.items()
        }
        assert [left[name] for name in "abc"] == [0, 0, 0]
    finally:
        council.close()
