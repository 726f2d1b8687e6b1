"""Whether a study ended right, judged from outside: chain, disks, the sponsor's result, pooled clear data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analytics.study import StudySpec
from consent_contracts.chain import Chain
from consent_contracts.index import Event, Index
from consilium_records import RecordStore
from coordinator import sponsor
from coordinator.store import open_store as open_coordinator_store
from crypto.vault import Vault
from participants.analyst import SpecAnalyst
from participants.bundles import openings, rounds
from participants.store import open_store as open_hospital_store
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.conftest import tiny_table
from tests.system.role import Seat, coordinator_url, hospital_home, hospital_url
from tests.system.world import EXACT_CAP, Study


@dataclass(frozen=True)
class Verdict:
    """What a test may want to know beyond `check`."""

    locked: tuple[Event, ...]
    attested: tuple[Event, ...]
    result: dict[str, Any]


def check(study: Study, *, sites: Iterable[str] | None = None, absent: Iterable[str] = ()) -> Verdict:
    """Everything that must hold after any study, however often its roles died.

    Args:
        sites: hospitals whose patients are in every analysis; default all.
        absent: those of them whose signature no seal bears.
    """
    members = tuple(sites if sites is not None else study.seats)
    analyses = [entry.id for entry in study.spec.analysis]
    states = expected_states(study.spec, [study.seats[name] for name in members])
    chain = Chain([study.common.rpc_url], study.common.addresses)
    try:
        locked, attested = check_events(study, chain, members, absent)
        check_budgets(study, chain, members, len(analyses))
        check_hospitals(study, chain, members, absent, states)
        result = check_result(study, chain, members)
    finally:
        chain.close()
    return Verdict(locked, attested, result)


def expected_states(spec: StudySpec, seats: Iterable[Seat]) -> list[bytes]:
    """The states after each round, made in the clear from the hospitals' own integers: bit for bit."""
    analysts = [SpecAnalyst(spec, lambda seat=seat: tiny_table(seat.seed)(spec)) for seat in seats]  # type: ignore[misc]
    states = [analysts[0].genesis()]
    for _ in spec.analysis:
        total = sum(analyst.contribute(states[-1]).values for analyst in analysts)
        states.append(analysts[0].move(states[-1], np.asarray(total), len(analysts)).state)
    return states


def check_events(
    study: Study, chain: Chain, members: tuple[str, ...], absent: Iterable[str]
) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
    """One lock, charged, and one seal for each round; nothing else."""
    index = Index(chain)
    index.sync()
    ours = [event for event in index.events if event.args.get("study") == study.id]
    locked, attested, charged = (
        tuple(event for event in ours if event.name == name) for name in ("Locked", "Attested", "Charged")
    )
    numbers = list(range(1, len(study.spec.analysis) + 1))
    orgs = tuple(sorted(study.seats[name].org for name in members))
    assert [e.args["ctx"]["round"] for e in locked] == numbers
    assert all(e.args["charged"] and tuple(e.args["orgs"]) == orgs for e in locked)
    assert [e.args["lockId"] for e in charged] == [e.args["lockId"] for e in locked]
    assert [e.args["seal"]["lockId"] for e in attested] == [e.args["lockId"] for e in locked]
    missing = {study.seats[name].org for name in absent}
    assert all(set(e.args["absent"]) == missing for e in attested)
    assert not [e for e in ours if e.name == "Abandoned"]
    return locked, attested


def check_budgets(study: Study, chain: Chain, members: tuple[str, ...], analyses: int) -> None:
    """Each dataset of the set paid once for each analysis, the others not at all."""
    for name, seat in study.seats.items():
        (gate,) = chain.gate(study.id, [seat.dataset])
        if gate.status == 0:
            assert EXACT_CAP - gate.exact_left == (analyses if name in members else 0), name


def check_hospitals(
    study: Study, chain: Chain, members: tuple[str, ...], absent: Iterable[str], states: list[bytes]
) -> None:
    head = chain.head(study.id)
    assert head.attested == len(states) - 1
    for name, seat in study.seats.items():
        vault = Vault.load_or_create(hospital_home(study.common, seat) / "vault.key")
        store = open_hospital_store(hospital_url(study.common, seat), vault)
        try:
            check_states(store, study.id, head.state_commit, states)
            check_forgotten(store)
            if name in members and name not in absent:
                check_bundle(store, study.id, len(members) - len(list(absent)), len(states) - 1)
        finally:
            store.close()


def check_states(store: RecordStore, study: bytes, commit: bytes, states: list[bytes]) -> None:
    """The last state is the attested one and what the clear computation gives; so is every other that is held."""
    held = store.slots(study.hex(), "state-")
    found = {int(slot.removeprefix("state-")): wire.parse(pb.StateHandover, b) for slot, b in held.items()}
    last = found[len(states) - 1]
    assert digests.state_commit(last.salt, last.state) == commit
    assert {k: v.state for k, v in found.items()} == {k: states[k] for k in found}


def check_forgotten(store: RecordStore) -> None:
    """No secret of a sealed round is left, and nothing is unsaid."""
    with store._engine.connect() as db:
        scopes = [row[0] for row in db.exec_driver_sql("SELECT DISTINCT scope FROM record")]
    assert not [scope for scope in scopes if "/" in scope]
    assert store.outgoing() == []


def check_bundle(store: RecordStore, study: bytes, signatures: int, count: int) -> None:
    """Every round can be shown to an auditor, with all the signatures that its seal has."""
    assert len(openings(store, study)) == count
    assert [len(sealed.shares) for sealed in rounds(store, study)] == [signatures] * count


def check_result(study: Study, chain: Chain, members: tuple[str, ...]) -> dict[str, Any]:
    """All hospitals released the same, and it is what numpy says about the pooled patients."""
    store = open_coordinator_store(coordinator_url(study.common))
    try:
        found = store.slots(study.id.hex(), "release-")
    finally:
        store.close()
    releases = {bytes.fromhex(slot.removeprefix("release-")): body for slot, body in found.items()}
    agents = chain.agents(sorted(study.common.hospitals))
    needed = len(study.seats)
    opened = sponsor.open_releases(study.id, releases, study.world.sponsor_secret, agents, needed=needed)
    pooled = pool(study.spec, [study.seats[name] for name in members])
    assert set(opened.content) == {entry.id for entry in study.spec.analysis}
    for answer in opened.content.values():
        for column, values in pooled.items():
            assert answer["n"] == len(values)
            got = answer["columns"][column]
            np.testing.assert_allclose(got["mean"], values.mean(), rtol=1e-10)
            np.testing.assert_allclose(got["variance"], values.var(ddof=1), rtol=1e-10)
    return opened.content


def pool(spec: StudySpec, seats: Iterable[Seat]) -> Mapping[str, np.ndarray]:
    tables = [tiny_table(seat.seed)(spec) for seat in seats]
    return {name: np.concatenate([t.number(name) for t in tables]) for name in ("age", "bmi")}
