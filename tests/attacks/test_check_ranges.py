"""A checked sum is out of range, and whoever committed beyond the range is left over; all of it through deaths."""

from __future__ import annotations

import numpy as np
import pytest

from coordinator.round import Rules
from crypto.secure_sum.packing import U64
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim
from tests.attacks.liars import VALUE_BITS, consistent, contributing, far, far_beyond, found, garbling, lying
from tests.attacks.rogue import resign
from tests.attacks.test_checks import honest_state, stands


@pytest.mark.parametrize(("field", "value"), [(4, (1 << 44) - 1), (7, 1 << 43)])
def test_one_that_committed_beyond_the_range_cannot_prove_the_contrary(field: int, value: int) -> None:
    """Beyond the scalar's fields, or beyond what the analysis takes; its program proves what it encrypted."""
    world = sim.build()
    d = world["d"]
    far_beyond(d, lambda values: far(values, field, value))
    desk = coordination.coordinator(world)
    desk.drain(lying(desk, d, lambda p: p.message(p.opening(far(p.values, field, value)))))
    assert found(desk) == {("range.proof", (d.org,)): 4}
    stands(world, desk)


def test_one_that_keeps_silent_instead_is_named_after_a_while() -> None:
    world = sim.build()
    d = world["d"]
    far_beyond(d)
    desk = coordination.coordinator(world)
    lie = lying(desk, d, consistent)

    def tamper(org: bytes, kind: str, body: bytes) -> bytes | None:
        return None if (org, kind) == (d.org, "range") else lie(org, kind, body)

    desk.drain(tamper)
    assert desk.machine.waiting_for(desk.store, desk.view()) == ("range", (d.org,))
    world.chain.now += Rules().answer_s
    desk.drain(tamper)
    assert found(desk) == {
        ("range.missing", (d.org,)): 3,
        ("checked.range", ()): 1,
    }  # its own word is the last
    stands(world, desk)


def test_a_proof_of_another_hospital_is_no_proof() -> None:
    world = sim.build()
    a, d = world["a"], world["d"]
    far_beyond(d)
    desk = coordination.coordinator(world)
    lie, seen = lying(desk, d, consistent), dict[bytes, bytes]()

    def tamper(org: bytes, kind: str, body: bytes) -> bytes | None:
        if kind == "range":
            seen[org] = body
            if org == d.org:
                stolen = wire.parse(pb.RangeProof, wire.parse(pb.Signed, seen[a.org]).payload)
                stolen.org = d.org
                return wire.encode(resign(wire.parse(pb.Signed, body), stolen, d.agent))
        return lie(org, kind, body)

    desk.drain(tamper)
    assert found(desk) == {("range.proof", (d.org,)): 4}


@pytest.mark.parametrize("value", [(1 << VALUE_BITS) - 1])
def test_a_value_that_fits_its_field_and_not_its_analysis(value: int) -> None:
    """Encrypted, committed and opened alike; only the analysis' own bound refuses the total."""
    world = sim.build()
    d = world["d"]

    def wild(values: U64) -> U64:
        values[0] = np.uint64(value)
        return values

    contributing(d, wild)
    desk = coordination.coordinator(world)
    desk.drain()
    assert ("d", "checked-all", "range.false") in desk.refusals  # its own program does not prove it
    world.chain.now += Rules().answer_s
    desk.drain()
    assert found(desk) == {("range.missing", (d.org,)): 3}
    stands(world, desk)


def test_two_that_lie_together_are_both_named() -> None:
    world = sim.build()
    liars = [world["b"], world["d"]]
    for member in liars:
        far_beyond(member)
    desk = coordination.coordinator(world)
    lies = [lying(desk, member, consistent) for member in liars]

    def tamper(org: bytes, kind: str, body: bytes) -> bytes | None:
        for lie in lies:
            body = lie(org, kind, body) or b""
        return body

    desk.drain(tamper)
    assert found(desk) == {("range.proof", (m.org,)): 4 for m in liars}


# a death at every record ------------------------------------------------------------------------------------


class Mortal:
    """A hospital that dies before each record, lives again, dies before it can speak, and lives again."""

    def __init__(self, member: sim.Member) -> None:
        self.member, self.deaths = member, list[str]()

    def handle(self, kind: str, body: bytes) -> list[tuple[str, bytes]]:
        """Each look at the message is that of a new life: nothing is kept but the records."""
        its = self.member
        while True:
            step = its.machine.handle(kind, body, its.store, its.view())
            if not step.records:
                return list(step.send)
            self.deaths.append(kind)  # before the record: what was made is lost with the life
            step = its.machine.handle(kind, body, its.store, its.view())
            its.apply(step)  # after it: the next life finds the record, and answers from it


@pytest.mark.parametrize("out_of_range", [False, True])
def test_hospitals_die_at_every_record_of_a_check(
    monkeypatch: pytest.MonkeyPatch, out_of_range: bool
) -> None:
    """A proof that was made and not recorded was never seen: another may be made."""
    world = sim.build()
    d = world["d"]
    if out_of_range:
        far_beyond(d)
    else:
        garbling(d)
    mortals = [Mortal(member) for member in world]
    for mortal in mortals:
        monkeypatch.setattr(mortal.member, "handle", mortal.handle)
    desk = coordination.coordinator(world)
    desk.drain(lying(desk, d, consistent) if out_of_range else None)
    kinds = ["check", "checked-all", *(["ranges"] if out_of_range else [])]
    assert all(set(kinds) <= set(mortal.deaths) for mortal in mortals)
    if out_of_range:
        assert found(desk) == {("range.proof", (d.org,)): 4}
    else:
        assert found(desk) == {("sum.unopened", ()): 4}
        assert world.held(1).state == honest_state()


def test_the_coordinator_dies_at_every_record_of_a_check() -> None:
    """Nothing is kept in memory: a machine made anew at each step, each step lost once, goes the same way."""
    world = sim.build()
    d = world["d"]
    far_beyond(d)
    desk = coordination.coordinator(world)
    advance, receive = desk.machine.advance, desk.machine.receive
    lost = set[str]()

    class Forgetful:
        def __getattr__(self, name: str) -> object:
            return getattr(machine, name)

        def advance(self, *now: object) -> object:
            step = advance(*now)  # type: ignore[arg-type]
            lost.update(record.slot.split("-")[0] for record in step.records)
            return advance(*now)  # type: ignore[arg-type]

        def receive(self, *now: object) -> object:
            receive(*now)  # type: ignore[arg-type]
            return receive(*now)  # type: ignore[arg-type]

    machine, desk.machine = desk.machine, Forgetful()  # type: ignore[assignment]
    desk.drain(lying(desk, d, consistent))
    assert {"check", "all", "ranging", "ranges"} <= lost
    assert found(desk) == {("range.proof", (d.org,)): 4}
