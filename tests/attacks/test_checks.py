"""A sum is disputed: the liar is named, the honest never, and the sum comes out where it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from consent_contracts.plan import box_info
from consent_contracts.signed import sign
from consilium_errors import Hostile
from coordinator.round import AttestCall
from crypto import envelopes
from crypto.commitments import scalars
from crypto.commitments.masked import MaskedOpening
from crypto.secure_sum import sharing
from participants.round import secrets
from protos import wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim
from tests.attacks.expect import stopped
from tests.attacks.liars import (
    Part,
    found,
    garbling,
    lying,
    one_more,
    part,
)
from tests.attacks.rogue import resign
from tests.attacks.tampering import only, silent

WINDOW = 60


def disputed(who: str = "d") -> tuple[sim.World, coordination.Desk]:
    """A world in which one hospital garbles its cipher."""
    world = sim.build()
    garbling(world[who])
    return world, coordination.coordinator(world)


def honest_state() -> bytes:
    world = sim.build()
    coordination.coordinator(world).play()
    return world.held(1).state


def stands(world: sim.World, desk: coordination.Desk) -> None:
    assert world.chain.head.attested == 0
    assert not any(isinstance(call, AttestCall) for call in desk.calls)
    assert not desk.records("seal")


# the openings -----------------------------------------------------------------------------------------------


def bumped(opening: MaskedOpening) -> MaskedOpening:
    one = scalars.from_ints([1] + [0] * (len(opening.values) - 1))
    return replace(opening, values=scalars.add(opening.values, one))


def false_point(opening: MaskedOpening, at: int, by: bytes, its: Part) -> MaskedOpening:
    """Values shifted by one in the first scalar, and a peer's point by G_0 with them: its own equation holds."""
    sign_ = 1 if its.member.org < its.upload.pairs[at].org else -1
    moved = bumped(opening)
    if sign_ < 0:
        moved = replace(
            opening,
            values=scalars.subtract(opening.values, scalars.from_ints([1] + [0] * (len(opening.values) - 1))),
        )
    points = list(opening.points)
    points[at] = its.pedersen.curve.add([points[at], by])
    return replace(moved, points=tuple(points))


LIES: dict[str, Callable[[Part], bytes]] = {
    "a value": lambda p: p.message(bumped(p.opening())),
    "the randomness": lambda p: p.message(replace(p.opening(), blind=p.opening().blind ^ 1)),
    "other inputs": lambda p: p.message(p.opening(p.values + np.uint64(1))),
    "everything": lambda p: p.message(replace(p.opening(), values=np.zeros((2, 32), np.uint8), blind=0)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_false_opening_names_its_maker_and_nobody_else(lie: str) -> None:
    world, desk = disputed()
    d = world["d"]
    desk.drain(lying(desk, d, LIES[lie]))
    assert found(desk) == {("checked.commitment", (d.org,)): 4}
    stands(world, desk)


MALFORMED: dict[str, Callable[[Part], bytes]] = {
    "not sealed by the group's key": lambda p: p.signed(bytes(len(p.sealed(p.opening().to_bytes())))),
    "no number": lambda p: p.signed(p.sealed(p.opening().to_bytes()[:-32] + b"\xff" * 32)),
    "no randomness": lambda p: p.signed(p.sealed(b"\xff" * 32 + p.opening().to_bytes()[32:])),
    "no point": lambda p: p.signed(
        p.sealed(p.opening().to_bytes()[:32] + bytes(48) + p.opening().to_bytes()[80:])
    ),
    "the neutral point": lambda p: p.signed(
        p.sealed(p.opening().to_bytes()[:32] + b"\xc0" + bytes(47) + p.opening().to_bytes()[80:])
    ),
}


@pytest.mark.parametrize("lie", MALFORMED)
def test_an_opening_that_is_none_names_its_maker(lie: str) -> None:
    world, desk = disputed()
    desk.drain(lying(desk, world["d"], MALFORMED[lie]))
    assert found(desk) == {("checked.malformed", (world["d"].org,)): 4}
    stands(world, desk)


def test_an_opening_of_another_length_does_not_pass_the_coordinator() -> None:
    world, desk = disputed()
    d = world["d"]
    desk.drain(lying(desk, d, lambda p: p.signed(p.sealed(p.opening().to_bytes() + bytes(32)))))
    assert desk.dropped == [("checked", "checked.length")]
    assert desk.machine.waiting_for(desk.store, desk.view()) == ("checked", (d.org,))


@pytest.mark.parametrize("peer", "abc")
def test_a_false_point_names_the_pair(peer: str) -> None:
    """A liar whose own equation holds contradicts a peer; whose word is true is not to be had for free."""
    world, desk = disputed()
    d, other = world["d"], world[peer]

    def lie(its: Part) -> bytes:
        return its.message(false_point(its.opening(), its.peer(other.org), its.pedersen.base, its))

    desk.drain(lying(desk, d, lie))
    assert found(desk) == {("checked.pair", tuple(sorted((d.org, other.org)))): 4}
    stands(world, desk)


def test_whoever_is_named_alone_drags_nobody_along() -> None:
    """d lies in its values and in every point: its peers are not named with it."""
    world, desk = disputed()
    d = world["d"]

    def lie(its: Part) -> bytes:
        opening = its.opening()
        points = tuple(its.pedersen.curve.add([p, its.pedersen.base]) for p in opening.points)
        return its.message(replace(opening, points=points))

    desk.drain(lying(desk, d, lie))
    assert found(desk) == {("checked.commitment", (d.org,)): 4}


def test_one_that_dealt_a_peer_another_secret_is_one_of_the_pair() -> None:
    """No box shows it: what is sealed there is promised by no hash. Their masks do not cancel."""
    world = sim.build()
    a, b = world["a"], world["b"]
    desk = coordination.coordinator(world)
    hellos: dict[bytes, pb.Hello] = {}

    def tamper(org: bytes, kind: str, body: bytes) -> bytes:
        if kind == "hello":
            hellos[org] = wire.parse(pb.Hello, wire.parse(pb.Signed, body).payload)
        if (org, kind) != (b.org, "ready"):
            return body
        ready = wire.parse(pb.Ready, body)
        scope = f"{sim.STUDY.hex()}/1/{desk.ctx().digest().hex()}"
        mine = custody.ReadyRecord.FromString(b.store.get(scope, "ready") or b"")
        for signed in ready.boxes:
            box = wire.parse(pb.Box, signed.payload)
            if box.to == a.org:
                hello = custody.HelloRecord.FromString(a.store.get(scope, "hello") or b"")
                info = box_info(box.ctx_hash, box.org, box.to)
                plain = envelopes.open_sealed(hello.hpke_secret, info, box.sealed)
                assert plain[:32] == mine.g
                box.sealed = envelopes.seal(hellos[a.org].hpke_key, info, plain[:32] + bytes(32) + plain[64:])
                signed.CopyFrom(resign(signed, box, b.agent))
        return wire.encode(ready)

    desk.drain(tamper)
    assert found(desk) == {("checked.pair", tuple(sorted((a.org, b.org)))): 4}
    stands(world, desk)


# masks and randomness that are shown, and are not what was promised ------------------------------------------


def test_a_false_unlock_is_named_and_the_round_is_sealed() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]

    def false(body: bytes) -> bytes:
        its, signed = part(desk, d), wire.parse(pb.Signed, body)
        key = secrets.unlock_key(its.upload.group, d.org, its.lock_id)
        unlock = pb.Unlock(
            lock_id=its.lock_id, org=d.org, sealed=envelopes.seal_once(key, its.lock_id, b"\5" * 32)
        )
        return wire.encode(resign(signed, unlock, d.agent))

    desk.drain(only(d, "unlock", false))
    assert found(desk) == {("unlock.mask", (d.org,)): 4}
    assert world.chain.head.attested == 1
    assert world.held(1).state == honest_state()


def test_an_unlock_that_does_not_open_is_named() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]

    def shut(body: bytes) -> bytes:
        unlock = wire.parse(pb.Unlock, wire.parse(pb.Signed, body).payload)
        unlock.sealed = bytes(48)
        return wire.encode(resign(wire.parse(pb.Signed, body), unlock, d.agent))

    desk.drain(only(d, "unlock", shut))
    assert found(desk) == {("unlock.mask", (d.org,)): 4}
    assert world.chain.head.attested == 1


def test_randomness_that_does_not_open_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    world = sim.build()
    d = world["d"]
    real, handle = secrets.rho_key, d.handle

    def handled(kind: str, body: bytes) -> list[tuple[str, bytes]]:
        with monkeypatch.context() as patch:
            if kind == "plan":
                patch.setattr(secrets, "rho_key", lambda *parts: real(bytes(32), *parts[1:]))
            return handle(kind, body)

    monkeypatch.setattr(d, "handle", handled)
    desk = coordination.coordinator(world)
    desk.drain()
    assert found(desk) == {("receipt.rho", (d.org,)): 4}
    assert world.chain.head.attested == 1
    assert world.held(1).state == honest_state()


def test_shares_of_another_mask_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """d deals shares of something else and keeps its unlock back: recovery fails, and shows who dealt."""
    world = sim.build()
    d, real = world["d"], sharing.deal
    handle = d.handle

    def handled(kind: str, body: bytes) -> list[tuple[str, bytes]]:
        with monkeypatch.context() as patch:
            if kind == "hellos":
                patch.setattr(sharing, "deal", lambda secret, *rest: real(b"\1" * 32, *rest))
            return handle(kind, body)

    monkeypatch.setattr(d, "handle", handled)
    desk = coordination.coordinator(world)
    tamper = silent((d, "unlock"), (d, "mask-share"))
    desk.drain(tamper)
    world.chain.now += WINDOW // 2
    desk.drain(tamper)
    assert found(desk) == {("unlock.shares", (d.org,)): 4}
    assert world.chain.head.attested == 1
    assert world.held(1).state == honest_state()


# one hospital only, or none ---------------------------------------------------------------------------------


def test_one_that_was_shown_another_sum_seals_what_the_others_seal() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    desk.play(until="sum")
    for i, (org, kind, body) in enumerate(desk.sent):
        if (org, kind) == (d.org, "sum"):
            message = wire.parse(pb.Sum, body)
            message.total = bytes(len(message.total))
            desk.sent[i] = (org, kind, wire.encode(message))
    seals: dict[bytes, bytes] = {}

    def listen(org: bytes, kind: str, body: bytes) -> bytes:
        if kind == "seal":
            share = wire.parse(pb.SealShare, wire.parse(pb.Signed, body).payload)
            seals[org] = wire.encode(share.seal)
        return body

    desk.drain(listen)
    assert set(seals) == set(world.orgs)
    assert len(set(seals.values())) == 1
    assert found(desk) == {("sum.unopened", ()): 1}
    call = desk.calls[-1]
    assert isinstance(call, AttestCall)
    assert all(call.signatures)


def test_the_dead_cannot_be_checked_and_the_round_stands_as_before() -> None:
    world = sim.build()
    garbling(world["c"], one_more)
    d = world["d"]
    desk = coordination.coordinator(world)
    tamper = silent(*((d, kind) for kind in ("unlock", "mask-share", "checked", "seal", "dispute")))
    desk.drain(tamper)
    world.chain.now += WINDOW // 2
    desk.drain(tamper)
    assert desk.machine.waiting_for(desk.store, desk.view()) == ("checked", (d.org,))
    world.chain.now += 100 * WINDOW
    desk.drain(tamper)
    stands(world, desk)
    desk._apply(desk.machine.resend(desk.store, desk.view()))  # it comes back
    desk.drain()
    assert world.chain.head.attested == 1
    assert world.held(1).state == honest_state()


def test_lost_letters_are_sent_again() -> None:
    world, desk = disputed()
    lost = {("a", "checked"), ("b", "seal"), ("c", "verdict"), ("c", "seal")}

    def tamper(org: bytes, kind: str, body: bytes) -> bytes | None:
        name = world.members[org].name
        if (name, kind) in lost:
            lost.discard((name, kind))
            return None
        return body

    for _ in range(4):
        desk.drain(tamper)
        if world.chain.head.attested:
            break
        desk._apply(desk.machine.resend(desk.store, desk.view()))
    assert world.chain.head.attested == 1
    assert not lost


def test_a_study_whose_openings_do_not_fit_one_letter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world, desk = disputed()
    desk.play(until="sum")
    monkeypatch.setattr(wire, "MAX_BLOB", 1000)
    desk.drain()
    assert desk.progress[-1] == "check.size"
    assert not desk.records("checked")
    stands(world, desk)


# what the coordinator takes -----------------------------------------------------------------------------------


def test_nobody_speaks_unasked() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    desk.play(until="unlock")
    its = part(desk, d)

    def said(kind: str, message: object) -> bytes:
        return wire.encode(sign(kind, message, org=d.org, key=d.agent))  # type: ignore[arg-type]

    verdict = pb.Verdict(lock_id=its.lock_id, org=d.org, about=bytes(32))
    proof = pb.RangeProof(lock_id=its.lock_id, org=d.org, proof=b"\1")
    for kind, body, code in (
        ("checked", its.signed(bytes(300)), "checked.unasked"),
        ("range", said("range", proof), "range.unasked"),
        ("verdict", said("verdict", verdict), "verdict.unasked"),
    ):
        with stopped(Hostile, code):
            desk.receive(kind, body)
    for kind, message in (("checked", None), ("range", proof), ("verdict", verdict)):
        if message is None:
            body = replace(its, lock_id=bytes(32)).signed(bytes(300))
        else:
            message.lock_id = bytes(32)
            body = said(kind, message)
        with stopped(Hostile, "message.lock"):
            desk.receive(kind, body)


@pytest.mark.parametrize("accused", ["stranger", "three", "turned"])
def test_a_verdict_accuses_one_or_two_of_the_set(accused: str) -> None:
    world, desk = disputed()
    d, orgs = world["d"], list(world.orgs)
    names = {"stranger": [b"\xee" * 20], "three": orgs[:3], "turned": orgs[1::-1]}[accused]

    def wild(body: bytes) -> bytes:
        verdict = wire.parse(pb.Verdict, wire.parse(pb.Signed, body).payload)
        verdict.accused.append(pb.Accused(code="checked.pair", orgs=names))
        return wire.encode(resign(wire.parse(pb.Signed, body), verdict, d.agent))

    desk.drain(only(d, "verdict", wild))
    assert [kind for kind, _ in desk.dropped] == ["verdict"]
    assert found(desk) == {("sum.unopened", ()): 3}
