"""A coordinator that fishes for a second noise over the same patients: the average of many would show the sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analytics.privacy import terms_of
from analytics.study import StudySpec
from consent_contracts.chain import AnalysisView, GateView
from consilium_errors import Hostile, Misuse, Refused
from participants import offers
from participants.review import SPENDING
from participants.round.desk import as_fields
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt
from tests.private import private_spec

NAME = "table1"


def world_of(spec: StudySpec | None = None) -> sim.World:
    spec = spec or private_spec("replay")
    world = sim.build(spec=spec)
    world.chain.study = replace(world.chain.study, mode=digests.DP)
    world.chain.price = AnalysisView(*terms_of(spec, NAME))
    for dataset, gate in list(world.chain.gates.items()):
        world.chain.gates[dataset] = GateView(**{**vars(gate), "rho_left": 10**9, "delta_left": 10**6})
    return world


def ctx(world: sim.World, **changes: object) -> digests.Ctx:
    rho, delta, noise = terms_of(world.spec, NAME)
    return world.ctx(mode=digests.DP, rho=rho, delta=delta, noise=noise, **changes)


def attempt(world: sim.World, **changes: object) -> Attempt:
    return Attempt(world, ctx(world, **changes), NAME, world.orgs)


def inputs(world: sim.World, release: int) -> dict[str, np.ndarray]:
    found = {}
    for member in world:
        body = member.store.get(f"{sim.STUDY.hex()}/1", f"input-{release}")
        assert body is not None
        found[member.name] = as_fields(custody.InputRecord.FromString(body).values)
    return found


def commitments(a: Attempt) -> list[bytes]:
    return [wire.parse(pb.ReadyHeader, r.header.payload).commitment for _, r in sorted(a.ready.items())]


def test_every_attempt_of_a_release_has_the_same_noise() -> None:
    world = world_of()
    first = attempt(world).greet().gather().load()
    before = inputs(world, 1)
    for number in (2, 3):
        again = attempt(world, attempt=number).greet().gather().load()
        assert commitments(again) == commitments(first)
    for name, values in inputs(world, 1).items():
        np.testing.assert_array_equal(values, before[name])
    assert [len(m.reads) for m in world] == [1] * 4


def test_noise_that_was_not_recorded_was_not_seen() -> None:
    """Killed between drawing and recording: the step, and the only message that shows the noise, are lost together."""
    world = world_of()
    a = attempt(world).greet()
    me, body = world["a"], a.hellos()
    lost = me.machine.handle("hellos", body, me.store, me.view())
    slots = {record.slot for record in lost.records}
    assert {"input-1", "ready"} <= slots  # in one transaction with the message
    assert [kind for kind, _ in lost.send] == ["ready"]
    assert me.store.get(f"{sim.STUDY.hex()}/1", "input-1") is None
    kept = me.machine.handle("hellos", body, me.store, me.view())
    assert lost.records[0].body != kept.records[0].body
    me.apply(kept)
    repeated = me.machine.handle("hellos", body, me.store, me.view())
    assert not repeated.records
    assert repeated.send == kept.send
    # A hospital that wrote a second noise over the first is stopped by its own store.
    with pytest.raises(Misuse):
        me.apply(lost)


def test_a_second_release_is_another_noise_and_is_booked_again() -> None:
    world = world_of()
    first = attempt(world).greet().gather().load().lock().open()
    second = attempt(world, attempt=2, release=2).greet().gather().load()
    assert not set(commitments(first)) & set(commitments(second))
    rho = terms_of(world.spec, NAME)[0]
    assert [len(m.store.slots(SPENDING, "")) for m in world] == [1] * 4
    second.lock().open()
    for member in world:
        booked = member.store.slots(SPENDING, "")
        assert [int.from_bytes(b[:8], "big") for _, b in sorted(booked.items())] == [rho, rho]


def test_one_release_opens_one_input() -> None:
    """A smaller set under the release that was opened already: the difference would be a hospital."""
    world = world_of()
    attempt(world).greet().gather().load().lock().open()
    smaller = Attempt(world, ctx(world, attempt=2), NAME, world.orgs[:3]).greet().gather().load().lock()
    for org in world.orgs[:3]:
        with stopped(Refused, "unlock.second_set"):
            world.hand(org, "locked", wire.encode(smaller.locked()))


def test_a_revoked_budget_stops_the_round() -> None:
    world = world_of()
    for dataset in list(world.chain.gates):
        world.chain.change_gate(dataset, delta_left=0)
    with stopped(Refused, "budget.privacy_spent"):
        attempt(world).greet()


def offered(spec: StudySpec, price: AnalysisView) -> None:
    world = sim.build(spec=spec)
    study = replace(
        world.chain.study,
        mode=digests.DP,
        purposes=offers.claims(spec.purpose.duo, (), disease=None, commercial=False)[0],
        satisfies=offers.claims(spec.purpose.duo, (), disease=None, commercial=False)[1],
    )
    key = sim.sponsor_keys()[1]
    offer = pb.StudyOffer(study=sim.STUDY, spec=spec.canonical(), sponsor_key=key)
    offers.check_offer(offer, spec, study, world.orgs[0], lambda _: price)


@pytest.mark.parametrize("lie", ["rho", "delta", "noise", "nothing"])
def test_a_study_that_books_less_than_its_noise_costs(lie: str) -> None:
    spec = private_spec("hostile")
    honest = AnalysisView(*terms_of(spec, NAME))
    offered(spec, honest)
    forged = {
        "rho": replace(honest, rho=honest.rho - 1),
        "delta": replace(honest, delta=0),
        "noise": replace(honest, noise=b"\1" * 32),
        "nothing": AnalysisView(0, 0, digests.ZERO32),
    }[lie]
    with stopped(Hostile, "offer.price"):
        offered(spec, forged)
