"""Boxes that do not hold what was promised: the one who lied is named, whoever that is."""

from __future__ import annotations

import pytest

from consent_contracts.plan import box_info
from consent_contracts.signed import sign
from consilium_errors import Hostile, Misuse
from crypto import envelopes
from protos import wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import resign


def bad_boxes(hello: pb.Hello, box: pb.Box, case: str) -> pb.Box:
    """What a hostile sender may seal to a victim."""
    made = pb.Box()
    made.CopyFrom(box)
    info = box_info(box.ctx_hash, box.org, box.to)
    match case:
        case "other g":
            made.sealed = envelopes.seal(hello.hpke_key, info, bytes(64))
        case "short":
            made.sealed = envelopes.seal(hello.hpke_key, info, bytes(63))
        case "other binding":
            made.sealed = envelopes.seal(hello.hpke_key, b"", bytes(64))
        case _:
            made.sealed = bytes(len(box.sealed))
    return made


def poison(world: sim.World, case: str) -> coordination.Tamper:
    """Hospital b seals rubbish to hospital a."""
    b, a = world["b"], world["a"]
    hellos: dict[bytes, pb.Hello] = {}

    def tamper(org: bytes, kind: str, body: bytes) -> bytes:
        if kind == "hello":
            hellos[org] = wire.parse(pb.Hello, wire.parse(pb.Signed, body).payload)
        if (org, kind) != (b.org, "ready"):
            return body
        ready = wire.parse(pb.Ready, body)
        for signed in ready.boxes:
            box = wire.parse(pb.Box, signed.payload)
            if box.to == a.org:
                signed.CopyFrom(resign(signed, bad_boxes(hellos[a.org], box, case), b.agent))
        return wire.encode(ready)

    return tamper


@pytest.mark.parametrize("case", ["other g", "short", "other binding", "rubbish"])
def test_an_honest_complaint_names_the_sender(case: str) -> None:
    world = sim.build()
    desk = coordination.coordinator(world)
    desk.play(poison(world, case), until="complaint")
    failure = custody.Failure.FromString(desk.slot("failed"))
    assert (failure.code, list(failure.without)) == ("attempt.complaint", [world["b"].org])


def test_the_round_goes_on_without_the_liar_with_fresh_keys_and_the_same_input() -> None:
    world = sim.build()
    desk, a = coordination.coordinator(world), world["a"]
    desk.play(poison(world, "rubbish"), until="plan")
    old = desk.last("plan")
    desk.play(until="attest")
    assert world.chain.head.attested == 1
    assert [org for org in world.orgs if org not in desk.calls[-1].orgs] == [world["b"].org]
    assert a.reads == ["a"]  # the input was made once
    with stopped(Hostile, "round.out_of_order"):  # the dead attempt is forgotten with its round
        a.handle("plan", old[a.org])


def test_after_a_complaint_nothing_is_uploaded_in_that_attempt() -> None:
    """Its secret is public now."""
    world = sim.build()
    desk, a = coordination.coordinator(world), world["a"]
    desk.play(poison(world, "rubbish"), until="complaint")
    plan = desk.last("plan")[a.org]
    first = a.handle("plan", plan)
    assert [k for k, _ in first] == ["complaint"]
    assert a.handle("plan", plan) == first


# false complaints ------------------------------------------------------------------------------------------


def at_plan(world: sim.World) -> coordination.Desk:
    desk = coordination.coordinator(world)
    desk.play(until="plan")
    return desk


def complaint(desk: coordination.Desk, accuser: sim.Member, victim: sim.Member, **changes: object) -> bytes:
    """Signed by the accuser, about the box that the victim made for it."""
    plan = wire.parse(pb.Plan, desk.last("plan")[accuser.org])
    box = next(s for s in plan.boxes if s.sender == victim.org)
    hello = accuser.store.get(f"{sim.STUDY.hex()}/1/{plan.ctx_hash.hex()}", "hello") or b""
    message = pb.Complaint(
        ctx_hash=plan.ctx_hash,
        org=accuser.org,
        against=victim.org,
        hpke_secret=custody.HelloRecord.FromString(hello).hpke_secret,
        box=box,
    )
    for name, value in changes.items():
        if name == "box":
            message.box.CopyFrom(value)  # type: ignore[arg-type]
        else:
            setattr(message, name, value)
    return wire.encode(sign("complaint", message, org=accuser.org, key=accuser.agent))


@pytest.mark.parametrize("change", [{}, {"hpke_secret": b"\7" * 32}])
def test_a_false_complaint_names_the_accuser(change: dict[str, object]) -> None:
    world = sim.build()
    desk = at_plan(world)
    desk.receive("complaint", complaint(desk, world["a"], world["b"], **change))
    assert list(custody.Failure.FromString(desk.slot("failed")).without) == [world["a"].org]


def test_a_complaint_about_a_box_made_for_somebody_else_names_the_accuser() -> None:
    world = sim.build()
    desk = at_plan(world)
    other = wire.parse(pb.Plan, desk.last("plan")[world["c"].org])
    box = next(s for s in other.boxes if s.sender == world["b"].org)
    desk.receive("complaint", complaint(desk, world["a"], world["b"], box=box))
    assert list(custody.Failure.FromString(desk.slot("failed")).without) == [world["a"].org]


def test_a_box_that_the_accused_never_signed_proves_nothing() -> None:
    world = sim.build()
    desk = at_plan(world)
    box = pb.Box(
        ctx_hash=desk.ctx().digest(),
        hellos_hash=bytes(32),
        org=world["b"].org,
        to=world["a"].org,
        sealed=bytes(100),
    )
    forged = sign("box", box, org=world["b"].org, key=world["a"].agent)
    with stopped(Hostile, "signature.wrong_signer"):
        desk.receive("complaint", complaint(desk, world["a"], world["b"], box=forged))


def test_complaints_that_make_no_sense_are_dropped() -> None:
    world = sim.build()
    desk = at_plan(world)
    a, b = world["a"], world["b"]
    with stopped(Hostile, "complaint.against"):
        desk.receive("complaint", complaint(desk, a, b, against=b"\xee" * 20))
    with stopped(Hostile, "complaint.against"):
        desk.receive("complaint", complaint(desk, a, b, against=a.org))
    with stopped(Hostile, "complaint.context"):
        desk.receive("complaint", complaint(desk, a, b, ctx_hash=b"\1" * 32))
    with stopped(Hostile, "wire.length"):
        desk.receive("complaint", complaint(desk, a, b, hpke_secret=bytes(31)))
    assert desk.slot("failed") == b""


def test_a_complaint_before_there_is_a_plan() -> None:
    world = sim.build()
    desk = at_plan(world)
    early = complaint(desk, world["a"], world["b"])
    fresh = coordination.coordinator(world)
    fresh.play(until="hellos")
    with stopped(Hostile, "complaint.early", "complaint.context"):
        fresh.receive("complaint", early)


def test_a_complaint_after_ones_own_upload_is_too_late() -> None:
    """Else one hospital could undo a lock that nobody can undo."""
    world = sim.build()
    desk = at_plan(world)
    body = complaint(desk, world["a"], world["b"])
    desk.play(until="locked")
    with stopped(Hostile, "complaint.late"):
        desk.receive("complaint", body)
    desk.play(until="attest")
    assert world.chain.head.attested == 1


def test_a_second_complaint_changes_nothing() -> None:
    world = sim.build()
    desk = at_plan(world)
    desk.receive("complaint", complaint(desk, world["a"], world["b"]))
    before = desk.slot("failed")
    world.chain.now += 1
    with stopped(Misuse, "store.conflict"):
        desk.receive("complaint", complaint(desk, world["c"], world["b"]))
    assert desk.slot("failed") == before
