"""Whole studies whose sums a committee of three computes on shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from analytics.study import StudySpec
from consent_contracts.auditor import Verdict, audit
from consent_contracts.laptop import Anvil
from coordinator.round import Rules
from crypto.vault import Vault
from deploy.council import Council
from deploy.demo.audit import tampered
from participants import bundles
from participants.store import open_store
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.conftest import tiny_spec, tiny_table
from tests.system.committee import (
    MEMBER_ROUND,
    MEMBERS,
    CommitteeStudy,
    expected_states,
    ill_table,
    lying,
    member_benches,
    poisoned,
    robust_spec,
    toml,
)
from tests.system.faults import after, before
from tests.system.verdict import check
from tests.system.world import World

pytestmark = [pytest.mark.slow, pytest.mark.chain]


@pytest.fixture(scope="module")
def council(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    folder = tmp_path_factory.mktemp("committee")
    folder.chmod(0o700)
    with Anvil(block_time=0.25) as anvil:
        made = Council(folder, anvil.url, {n: tiny_table(i) for i, n in enumerate("abcd")}, committee=True)
        try:
            yield made
        finally:
            made.close()


def spec_of(council: Council, name: str, rounds: int = 1) -> StudySpec:
    return tiny_spec(name, rounds=rounds, sum_="mpc", more=council.committee_toml)


def states(council: Council, study: bytes) -> list[bytes]:
    store = council.seats["a"].hospital.store
    found = store.slots(study.hex(), "state-")
    return [wire.parse(pb.StateHandover, found[slot]).state for slot in sorted(found)]


def test_a_study_by_committee_is_the_study_under_fhe_bit_for_bit(council: Council) -> None:
    by_committee, under_fhe = spec_of(council, "shared", 2), tiny_spec("encrypted", rounds=2)
    studies = [council.register(spec) for spec in (by_committee, under_fhe)]
    results = [council.run(study, 4).content for study in studies]
    assert results[0] == results[1]
    assert states(council, studies[0]) == states(council, studies[1])


# what a committee does with inputs that nobody sees -------------------------------------------------------


@pytest.fixture(scope="module")
def robust(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    """The hospital d sends the largest numbers that a field can hold."""
    folder = tmp_path_factory.mktemp("robust")
    folder.chmod(0o700)
    with Anvil(block_time=0.25) as anvil:
        tables = {name: ill_table(i) for i, name in enumerate("abcd")}
        made = Council(folder, anvil.url, tables, committee=True)
        made.seats["d"].hospital._ports = poisoned
        try:
            yield made
        finally:
            made.close()


def test_a_vector_beyond_its_norm_is_left_out_openly_and_the_rest_is_proven(robust: Council) -> None:
    spec = robust_spec("excluded", '[robust]\nanalyses = ["net"]', robust.committee_toml)
    study = robust.register(spec)
    robust.run(study, 4)
    assert states(robust, study) == expected_states(spec, "abc")
    found = bundles.openings(robust.seats["a"].hospital.store, study)
    orgs = sorted(seat.desk.org for seat in robust.seats.values())
    inside = bytes(org != robust.seats["d"].desk.org for org in orgs)
    assert [opening.accepted for opening in found] == [inside, inside]
    check_audit(robust, spec, study)


def test_the_median_over_hospitals_of_what_is_within_the_norm(robust: Council) -> None:
    spec = robust_spec("middle", '[robust]\nanalyses = ["net"]\ncombine = "median"', robust.committee_toml, 1)
    study = robust.register(spec)
    robust.run(study, 4)
    assert states(robust, study) == expected_states(spec, "abc", "median")
    check_audit(robust, spec, study)


def check_audit(council: Council, spec: StudySpec, study: bytes) -> None:
    """The auditor follows every round; with a mark altered, it does not."""
    bundle = bundles.bundle(council.seats["a"].hospital.store, study, spec.canonical(), council.regulator_key)
    replay(council, bundle, study).verify()

    def mark_all(message: pb.Bundle, openings: pb.Openings) -> None:
        openings.openings[0].accepted = b"\1\1\1\1"

    forged = tampered(bundle, study, council.regulator_secret, mark_all)
    assert "audit.result" in [check.code for check in replay(council, forged, study).failed]


def replay(council: Council, bundle: bytes, study: bytes) -> Verdict:
    return audit(
        council.rpc_url, council.addresses, bundle=bundle, regulator_key=council.regulator_secret, study=study
    )


def test_one_lying_member_stops_the_study_before_any_seal(council: Council) -> None:
    spec = spec_of(council, "lied-to")
    liar = council.members[1]
    honest, liar._compute = liar._compute, lying
    try:
        study = council.register(spec)
        council.wait(lambda: disputes(council, study) == 4)
        assert council.coordinator.chain.snapshot().head(study).attested == 0
        assert states(council, study) == states(council, study)[:1]
    finally:
        liar._compute = honest


def disputes(council: Council, study: bytes) -> int:
    return len(council.coordinator.store.slots(f"{study.hex()}/1/1", "dispute-"))


# deaths -------------------------------------------------------------------------------------------------


def test_members_die_at_every_record(world: World) -> None:
    found = member_benches(world.folder / "deaths-of-members")
    spec = tiny_spec("deaths", sum_="mpc", window=3600, more=toml(found))
    faults = {
        "m1": [before(event) for event in MEMBER_ROUND],
        "m2": [after(event) for event in MEMBER_ROUND],
    }
    study = CommitteeStudy(
        world,
        world.folder / "deaths",
        spec,
        faults=faults,
        rules=Rules(retry_s=1),
        stall_s=150,
        benches=dict(zip(MEMBERS, found, strict=True)),
    )
    study.run()
    assert len(study.kills) == 2 * len(MEMBER_ROUND)
    check(study)
    for bench in found:
        store = open_store(bench.store_url, Vault.load_or_create(bench.vault))
        assert store.slots(f"{study.id.hex()}", "first-") != {}
        with store._engine.connect() as db:
            scopes = {row[0] for row in db.exec_driver_sql("SELECT DISTINCT scope FROM record")}
        assert scopes == {"studies", study.id.hex()}  # no share outlives the seal
        store.close()
