"""Hospitals that attack the coordinator before the plan: each is dropped, or named and left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consent_contracts.signed import sign
from consilium_errors import Hostile
from crypto import envelopes
from crypto.identity import AgentKey
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import resign
from tests.attacks.tampering import failed, header, locked_orgs, only

# hellos -----------------------------------------------------------------------------------------------------


def test_a_hello_when_nothing_is_under_way() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    hello = pb.Hello(ctx_hash=bytes(32), org=d.org, hpke_key=envelopes.generate()[1])
    with stopped(Hostile, "hello.early"):
        desk.receive("hello", wire.encode(sign("hello", hello, org=d.org, key=d.agent)))


def test_a_key_to_which_nothing_can_be_sealed_keeps_out_its_owner_only() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]

    def useless(body: bytes) -> bytes:
        signed = wire.parse(pb.Signed, body)
        hello = wire.parse(pb.Hello, signed.payload)
        hello.hpke_key = b"\xff" * envelopes.PUBLIC_BYTES
        return wire.encode(resign(signed, hello, d.agent))

    desk.play(only(d, "hello", useless), until="hello")
    world.chain.now += 121
    desk.play(only(d, "hello", useless))
    assert ("hello", "envelope.public_key") in desk.dropped
    assert d.org not in locked_orgs(desk)


def test_strangers_and_old_hellos() -> None:
    world = sim.build()
    desk = coordination.coordinator(world)
    desk.advance()
    ghost = AgentKey.generate()
    hello = pb.Hello(ctx_hash=desk.ctx().digest(), org=ghost.address, hpke_key=envelopes.generate()[1])
    with stopped(Hostile, "signed.unknown_sender"):
        desk.receive("hello", wire.encode(sign("hello", hello, org=ghost.address, key=ghost)))
    d = world["d"]
    hello = pb.Hello(ctx_hash=b"\1" * 32, org=d.org, hpke_key=envelopes.generate()[1])
    with stopped(Hostile, "plan.context"):
        desk.receive("hello", wire.encode(sign("hello", hello, org=d.org, key=d.agent)))


# readies ----------------------------------------------------------------------------------------------------


def length(made: pb.ReadyHeader) -> None:
    made.length += 1


def fields(made: pb.ReadyHeader) -> None:
    made.fields = 2


def version(made: pb.ReadyHeader) -> None:
    made.uses[0].version += 1


def epoch(made: pb.ReadyHeader) -> None:
    made.uses[0].epoch += 1


def unknown(made: pb.ReadyHeader) -> None:
    made.uses[0].dataset = b"\xee" * 32


@pytest.mark.parametrize("change", [length, fields, version, epoch, unknown])
def test_a_ready_that_would_spoil_the_plan_names_its_sender(
    change: Callable[[pb.ReadyHeader], None],
) -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    tamper = only(d, "ready", header(change, d))
    desk.play(tamper, until="attempt.ready")
    assert failed(desk) == ("attempt.ready", [d.org])
    desk.play(tamper)
    assert locked_orgs(desk) == tuple(o for o in world.orgs if o != d.org)


def test_a_dataset_of_another_hospital() -> None:
    world = sim.build()
    desk, c, d = coordination.coordinator(world), world["c"], world["d"]

    def steal(made: pb.ReadyHeader) -> None:
        made.uses[0].dataset = c.dataset

    desk.play(only(d, "ready", header(steal, d)), until="attempt.ready")
    assert failed(desk) == ("attempt.ready", [d.org])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda m: setattr(m, "commitment", b"\xff" * 48), "commitment.point"),
        (lambda m: setattr(m, "commitment", b"\xc0" + bytes(47)), "commitment.point"),
        (lambda m: m.ClearField("uses"), "ready.uses"),
        (lambda m: m.uses.append(m.uses[0]), "wire.order"),
        (lambda m: setattr(m, "length", 0), "ready.layout"),
        (lambda m: setattr(m, "length", (1 << 26) + 1), "ready.layout"),
        (lambda m: setattr(m, "fields", 3), "ready.layout"),
        (lambda m: setattr(m, "hellos_hash", bytes(32)), "ready.context"),
        (lambda m: setattr(m, "ctx_hash", bytes(32)), "ready.context"),
    ],
)
def test_a_ready_that_is_dropped(change: Callable[[pb.ReadyHeader], None], code: str) -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    tamper = only(d, "ready", header(change, d))
    desk.play(tamper, until="ready")
    desk.drain(tamper)
    assert desk.dropped == [("ready", code)]
    world.chain.now += 121
    desk.play(tamper)
    assert d.org not in locked_orgs(desk)


@pytest.mark.parametrize("case", ["missing", "turned", "another's"])
def test_boxes_that_are_not_one_for_each_peer(case: str) -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]

    def altered(body: bytes) -> bytes:
        ready = wire.parse(pb.Ready, body)
        boxes = list(ready.boxes)
        del ready.boxes[:]
        if case == "missing":
            boxes = boxes[1:]
        elif case == "turned":
            boxes = boxes[::-1]
        else:
            c = world["c"]
            box = wire.parse(pb.Box, boxes[0].payload)
            box.org = c.org
            boxes[0] = sign("box", box, org=c.org, key=c.agent)
        ready.boxes.extend(boxes)
        return wire.encode(ready)

    desk.play(only(d, "ready", altered), until="ready")
    desk.drain(only(d, "ready", altered))
    assert desk.dropped == [("ready", "signed.unknown_sender" if case == "another's" else "ready.boxes")]


def test_a_commitment_copied_from_an_earlier_plan_keeps_out_the_copier() -> None:
    """In the first attempt nobody has seen anything; the owner is on record when the second begins."""
    world = sim.build()
    desk, c, d = coordination.coordinator(world), world["c"], world["d"]
    seen: dict[bytes, bytes] = {}

    def tamper(org: bytes, kind: str, body: bytes) -> bytes | None:
        if kind == "upload" and org == world["a"].org and desk.ctx().attempt == 1:
            return None  # the first attempt fails
        if kind != "ready":
            return body
        signed = wire.parse(pb.Ready, body).header
        seen.setdefault(org, wire.parse(pb.ReadyHeader, signed.payload).commitment)
        if org == d.org and desk.ctx().attempt == 2:
            return header(lambda made: setattr(made, "commitment", seen[c.org]), d)(body)
        return body

    desk.play(tamper, until="plan")
    desk.drain(tamper)
    world.chain.now += 121
    desk.play(tamper, until="round 1 attempt 2")
    desk.drain(tamper)
    assert ("ready", "ready.copied") in desk.dropped
