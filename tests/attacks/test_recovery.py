"""One hospital dies after the lock: its peers recover its self-mask, and nobody gets it earlier or otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from consent_contracts.plan import box_info
from consent_contracts.signed import sign
from consilium_errors import Hostile, Unavailable
from coordinator.round import AttestCall, RecoverCall
from crypto import envelopes
from participants.round import secrets
from protos import wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt, resign

WINDOW = 60


def silent(world: sim.World, name: str) -> coordination.Tamper:
    """The hospital's upload was its last word."""
    org = world[name].org

    def tamper(sender: bytes, kind: str, body: bytes) -> bytes | None:
        return None if sender == org and kind in ("unlock", "mask-share", "seal") else body

    return tamper


def dead_after_lock(world: sim.World, *names: str) -> coordination.Desk:
    desk = coordination.coordinator(world)
    tampers = [silent(world, name) for name in names]
    desk.drain(lambda org, kind, body: body if all(t(org, kind, body) for t in tampers) else None)
    assert world.chain.head.attested == 0
    return desk


def pass_half(world: sim.World) -> None:
    world.chain.now += WINDOW // 2


def test_the_round_ends_with_the_dead_hospitals_input_in_the_sum() -> None:
    world = sim.build()
    desk, d = dead_after_lock(world, "d"), world["d"]
    assert not any(
        isinstance(call, RecoverCall) for call in desk.calls
    )  # it has half the window to come back
    pass_half(world)
    desk.drain(silent(world, "d"))
    assert [call.org for call in desk.calls if isinstance(call, RecoverCall)][:1] == [d.org]
    world.chain.now += WINDOW
    desk.drain(silent(world, "d"))
    call = desk.calls[-1]
    assert isinstance(call, AttestCall)
    assert [bool(s) for s in call.signatures] == [org != d.org for org in world.orgs]
    assert world.chain.head.attested == 1
    whole = sim.build()
    coordination.coordinator(whole).play()
    state = [w["a"].machine.ports.analyst.current(w.held(1).state) for w in (world, whole)]
    assert state[0] == state[1]
    assert world.held(1).state == whole.held(1).state  # bit for bit what it would have been


def test_one_that_comes_back_seals_too() -> None:
    world = sim.build()
    desk = dead_after_lock(world, "d")
    pass_half(world)
    desk.drain(silent(world, "d"))
    desk._apply(desk.machine.resend(desk.store, desk.view()))
    desk.drain()
    call = desk.calls[-1]
    assert isinstance(call, AttestCall)
    assert all(call.signatures)


def test_two_that_die_are_more_than_the_study_bears() -> None:
    world = sim.build()
    desk = dead_after_lock(world, "c", "d")
    world.chain.now += 10 * WINDOW
    desk.drain(silent(world, "d"))
    assert not any(isinstance(call, RecoverCall) for call in desk.calls)
    assert "sum" not in desk.progress


# what a share does not leave for ----------------------------------------------------------------------------


def opened() -> tuple[sim.World, Attempt, sim.Member, sim.Member]:
    """Locked, and unlocked by all but the last hospital."""
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()
    *rest, dead = world
    for member in rest:
        a.unlock[member.org] = wire.parse(
            pb.Signed, a.ask(member.org, "locked", wire.encode(a.locked()), "unlock")
        )
    return world, a, rest[0], dead


def ask(member: sim.Member, lock_id: bytes, org: bytes) -> pb.Signed:
    [(kind, body)] = member.handle("recover", wire.encode(pb.Recover(lock_id=lock_id, org=org)))
    assert kind == "mask-share"
    return wire.parse(pb.Signed, body)


def test_a_share_leaves_for_the_chains_word_only() -> None:
    world, a, holder, dead = opened()
    lock_id = a.locked().lock_id
    with stopped(Unavailable, "recover.not_final"):
        ask(holder, lock_id, dead.org)
    world.chain.recover(world.orgs[1])  # somebody else's recovery
    with stopped(Unavailable, "recover.not_final"):
        ask(holder, lock_id, dead.org)
    world.chain.recover(dead.org)
    assert ask(holder, lock_id, dead.org) == ask(holder, lock_id, dead.org)  # once made, always the same


def test_no_share_leaves_for_an_abandoned_or_another_lock() -> None:
    world, _, holder, dead = opened()
    world.chain.recover(dead.org)
    lock = world.chain.head.lock
    assert lock is not None
    with stopped(Hostile, "round.unknown"):
        ask(holder, bytes(32), dead.org)
    world.chain.head = replace(world.chain.head, lock=replace(lock, abandoned=True))
    with stopped(Hostile, "recover.lock"):
        ask(holder, lock.lock_id, dead.org)
    world.chain.head = replace(world.chain.head, lock=replace(lock, lock_id=b"\7" * 32))
    with stopped(Hostile, "recover.lock"):
        ask(holder, lock.lock_id, dead.org)
    world.chain.head = replace(world.chain.head, lock=None)
    with stopped(Unavailable, "recover.not_final"):
        ask(holder, lock.lock_id, dead.org)


def test_no_share_leaves_before_the_holders_own_unlock() -> None:
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()
    world.chain.recover(world["d"].org)
    with stopped(Hostile, "round.unknown"):
        ask(world["a"], a.locked().lock_id, world["d"].org)


def test_nobody_holds_a_share_of_its_own_mask_or_of_a_strangers() -> None:
    world, a, holder, _ = opened()
    for org in (holder.org, b"\x77" * 20):
        world.chain.recover(org)
        with stopped(Hostile, "recover.org"):
            ask(holder, a.locked().lock_id, org)


# sums with recovered masks ----------------------------------------------------------------------------------


def recovered_sum(world: sim.World, a: Attempt, dead: sim.Member, *, without: int = 0) -> pb.Sum:
    lock_id = a.locked().lock_id
    holders = [m for m in world if m is not dead][without:]
    shares = [ask(m, lock_id, dead.org) for m in holders]
    message = a.sum()
    message.recovered.append(pb.RecoveredMask(org=dead.org, shares=shares))
    return message


def code_of(member: sim.Member, message: pb.Sum) -> str:
    """``seal``, or ``dispute``: it says no more."""
    return member.handle("sum", wire.encode(message))[-1][0]


def test_a_recovered_mask_is_used_once_the_chain_says_so() -> None:
    world, a, holder, dead = opened()
    lock = world.chain.head
    world.chain.recover(dead.org)
    message = recovered_sum(world, a, dead)
    world.chain.head = lock  # a chain that knows of no recovery
    assert code_of(world.members[world.orgs[1]], message) == "dispute"
    world.chain.recover(dead.org)
    assert code_of(holder, message) == "seal"


def test_too_few_shares_and_both_ways_at_once_are_refused() -> None:
    world, a, holder, dead = opened()
    world.chain.recover(dead.org)
    assert code_of(holder, recovered_sum(world, a, dead, without=1)) == "dispute"
    both = recovered_sum(world, a, dead)
    both.recovered.append(both.recovered[0])
    assert code_of(holder, both) == "dispute"


def test_a_lying_holder_wastes_only_its_own_share() -> None:
    """Five hospitals, two may conspire: three shares do; one of four is forged by its holder."""
    world = sim.build("abcde")
    world.chain.study = replace(world.chain.study, collusion=2)
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()
    *rest, dead = world
    for member in rest:
        a.unlock[member.org] = wire.parse(
            pb.Signed, a.ask(member.org, "locked", wire.encode(a.locked()), "unlock")
        )
    world.chain.recover(dead.org)
    message = recovered_sum(world, a, dead)
    liar = rest[0]
    forged = pb.MaskShare.FromString(message.recovered[0].shares[0].payload)
    forged.sealed = bytes(len(forged.sealed))
    message.recovered[0].shares[0].CopyFrom(resign(message.recovered[0].shares[0], forged, liar.agent))
    assert code_of(rest[1], message) == "seal"
    for i, member in enumerate(rest[:2]):  # a second liar is one too many
        share = message.recovered[0].shares[i]
        forged = pb.MaskShare.FromString(share.payload)
        forged.sealed = bytes(len(forged.sealed))
        share.CopyFrom(resign(share, forged, member.agent))
    assert code_of(rest[2], message) == "dispute"


def test_an_unlock_that_was_not_promised_is_refused() -> None:
    """A hospital that shows another self-mask than it dealt."""
    _, a, holder, dead = opened()
    lock_id = a.locked().lock_id
    group = custody.UploadRecord.FromString(
        dead.store.get(f"{sim.STUDY.hex()}/1/{a.ctx.digest().hex()}", "upload") or b""
    ).group
    key = secrets.unlock_key(group, dead.org, lock_id)
    false = pb.Unlock(lock_id=lock_id, org=dead.org, sealed=envelopes.seal_once(key, lock_id, b"\5" * 32))
    a.unlock[dead.org] = sign("unlock", false, org=dead.org, key=dead.agent)
    assert code_of(holder, a.sum()) == "dispute"


# the coordinator's side -------------------------------------------------------------------------------------


def test_unasked_shares_are_dropped() -> None:
    world = sim.build()
    desk = dead_after_lock(world, "d")
    world.chain.recover(world["d"].org)
    lock = world.chain.head.lock
    assert lock is not None
    signed = ask(world["a"], lock.lock_id, world["d"].org)
    with stopped(Hostile, "mask_share.unasked"):
        desk.receive("mask-share", wire.encode(signed))


def test_a_share_dealt_badly_is_complained_of_and_its_dealer_left_out() -> None:
    world = sim.build()
    a, b = world["a"], world["b"]
    hellos: dict[bytes, pb.Hello] = {}

    def tamper(org: bytes, kind: str, body: bytes) -> bytes:
        if kind == "hello":
            hellos[org] = wire.parse(pb.Hello, wire.parse(pb.Signed, body).payload)
        if (org, kind) != (b.org, "ready"):
            return body
        ready = wire.parse(pb.Ready, body)
        mine = next(
            custody.ReadyRecord.FromString(r)
            for slot, r in b.store.slots(f"{sim.STUDY.hex()}/1/{desk.ctx().digest().hex()}", "ready").items()
        )
        for signed in ready.boxes:
            box = wire.parse(pb.Box, signed.payload)
            if box.to == a.org:
                pair = next(p.secret for p in mine.pairs if p.org == a.org)
                info = box_info(box.ctx_hash, box.org, box.to)
                box.sealed = envelopes.seal(hellos[a.org].hpke_key, info, mine.g + pair + bytes(96))
                signed.CopyFrom(resign(signed, box, b.agent))
        return wire.encode(ready)

    desk = coordination.coordinator(world)
    desk.play(tamper, until="complaint")
    failure = custody.Failure.FromString(desk.slot("failed"))
    assert (failure.code, list(failure.without)) == ("attempt.complaint", [b.org])


@pytest.mark.parametrize("parties", [3, 4, 7])
def test_recovery_is_exact_for_any_size_of_set(parties: int) -> None:
    world = sim.build("abcdefg"[:parties])
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()
    *rest, dead = world
    for member in rest:
        a.unlock[member.org] = wire.parse(
            pb.Signed, a.ask(member.org, "locked", wire.encode(a.locked()), "unlock")
        )
    world.chain.recover(dead.org)
    assert code_of(rest[0], recovered_sum(world, a, dead)) == "seal"
    record = rest[0].store.get(f"{sim.STUDY.hex()}/1/{a.ctx.digest().hex()}", "seal") or b""
    total = np.frombuffer(custody.SealRecord.FromString(record).sum, "<u8")
    inputs = [
        np.frombuffer(
            custody.InputRecord.FromString(m.store.get(f"{sim.STUDY.hex()}/1", "input-1") or b"").values,
            "<u8",
        )
        for m in world
    ]
    np.testing.assert_array_equal(total, np.sum(inputs, axis=0))
