"""A sponsor that registers noise at a lower price than it has: no hospital takes the offer."""

from __future__ import annotations

from pathlib import Path

import pytest

from analytics.privacy import terms_of
from analytics.study import StudySpec
from coordinator import sponsor
from deploy.council import SPONSOR, Council
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
