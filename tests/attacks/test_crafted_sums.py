"""A sum made to learn something: at most three decryptions, one answer to every failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analytics.table import Table
from consilium_errors import Hostile, Refused
from crypto import envelopes
from participants.analyst import SpecAnalyst
from participants.round import secrets
from participants.round.words import Fields, Moved
from protos import wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt, resign


def opened(world: sim.World) -> Attempt:
    a = Attempt(world, world.ctx(), world.analysis(), world.orgs)
    return a.greet().gather().load().lock().open()


def flipped(total: bytes, coefficient: int, byte: int = 4) -> bytes:
    """One bit of one coefficient (7 bytes); the plaintext begins at bit 11, below it is noise."""
    at = 7 * coefficient + byte
    return total[:at] + bytes([total[at] ^ 1]) + total[at + 1 :]


def self_mask(a: Attempt, member: sim.Member) -> bytes:
    scope = f"{sim.STUDY.hex()}/1/{a.ctx.digest().hex()}"
    return custody.ReadyRecord.FromString(member.store.get(scope, "ready") or b"").self_mask


def group(a: Attempt, member: sim.Member) -> bytes:
    scope = f"{sim.STUDY.hex()}/1/{a.ctx.digest().hex()}"
    return custody.UploadRecord.FromString(member.store.get(scope, "upload") or b"").group


def shows(a: Attempt, member: sim.Member, mask: bytes) -> pb.Signed:
    """An unlock in which a hostile hospital shows a self-mask of its choice."""
    lock_id = a.locked().lock_id
    sealed = envelopes.seal_once(secrets.unlock_key(group(a, member), member.org, lock_id), lock_id, mask)
    unlock = pb.Unlock(lock_id=lock_id, org=member.org, sealed=sealed)
    return resign(a.unlock[member.org], unlock, member.agent)


def altered(a: Attempt, world: sim.World, case: str) -> pb.Sum:
    b, c = world["b"], world["c"]
    message = a.sum()
    match case:
        case "a bit of c0":
            message.total = flipped(message.total, 3)
        case "a bit of c1":
            message.total = flipped(message.total, len(message.total) // 7 - 1000)
        case "plus one":
            first = int.from_bytes(message.total[:7], "little") ^ (1 << 11)
            message.total = first.to_bytes(7, "little") + message.total[7:]
        case "one upload left out":
            message.total = a.total([o for o in world.orgs if o != b.org])
        case "one upload alone":
            message.total = a.total([b.org])
        case "one upload twice":
            b_again = a.upload.copy()
            b_again[c.org] = a.upload[b.org]
            a.upload, kept = b_again, a.upload
            message.total = a.total()
            a.upload = kept
        case "zeros":
            message.total = bytes(len(message.total))
        case "beyond q":
            message.total = b"\xff" * len(message.total)
        case "short":
            message.total = message.total[:-1]
        case "long":
            message.total += b"\0"
        case "an unlock of another":
            message.unlocks[1].CopyFrom(message.unlocks[0])
        case "an unlock left out":
            del message.unlocks[1]
        case "unlocks turned":
            turned = list(message.unlocks)[::-1]
            del message.unlocks[:]
            message.unlocks.extend(turned)
        case "an unlock of another lock":
            bad = wire.parse(pb.Unlock, a.unlock[b.org].payload)
            bad.lock_id = b"\1" * 32
            at = sorted(world.orgs).index(b.org)
            message.unlocks[at].CopyFrom(resign(a.unlock[b.org], bad, b.agent))
        case "an unlock that opens to nothing":
            bad = wire.parse(pb.Unlock, a.unlock[b.org].payload)
            bad.sealed = bytes(48)
            at = sorted(world.orgs).index(b.org)
            message.unlocks[at].CopyFrom(resign(a.unlock[b.org], bad, b.agent))
        case "another self-mask":
            at = sorted(world.orgs).index(b.org)
            message.unlocks[at].CopyFrom(shows(a, b, bytes(32)))
        case "a copied self-mask":
            at = sorted(world.orgs).index(b.org)
            message.unlocks[at].CopyFrom(shows(a, b, self_mask(a, c)))
        case _:
            raise AssertionError(case)
    return message


CASES = [
    "a bit of c0",
    "a bit of c1",
    "plus one",
    "one upload left out",
    "one upload alone",
    "one upload twice",
    "zeros",
    "beyond q",
    "short",
    "long",
    "an unlock of another",
    "an unlock left out",
    "unlocks turned",
    "an unlock of another lock",
    "an unlock that opens to nothing",
    "another self-mask",
    "a copied self-mask",
]


def dispute(answers: list[tuple[str, bytes]]) -> pb.Dispute:
    [(kind, body)] = answers
    assert kind == "dispute"
    return wire.parse(pb.Dispute, wire.parse(pb.Signed, body).payload)


@pytest.mark.parametrize("case", CASES)
def test_every_altered_sum_gets_the_same_answer(case: str) -> None:
    world = sim.build()
    a = opened(world)
    answer = dispute(world["a"].handle("sum", wire.encode(altered(a, world, case))))
    assert answer == pb.Dispute(lock_id=a.locked().lock_id, org=world["a"].org, code="sum.refused")
    assert [k for k, _ in world["a"].handle("sum", wire.encode(a.sum()))] == ["seal"]


def test_a_change_within_the_noise_changes_nothing_that_is_signed() -> None:
    """Ciphertexts of this kind can be altered below the plaintext; the commitments pin what comes out."""
    world = sim.build()
    a = opened(world)
    total = flipped(a.total(), 0, byte=0)
    seals = set()
    for org in world.orgs:
        body = wire.encode(a.sum(total if org == world.orgs[0] else None))
        signed = wire.parse(pb.Signed, a.ask(org, "sum", body, "seal"))
        seals.add(wire.encode(wire.parse(pb.SealShare, signed.payload).seal))
    assert len(seals) == 1


def test_an_error_of_the_analysis_gets_no_other_answer() -> None:
    """Two hospitals that lie together may pass the commitments and leave the layout's bounds."""
    world = sim.build()
    a, me = opened(world), world["a"]

    class Strict(SpecAnalyst):
        def move(self, state: bytes, total: Fields, parties: int) -> Moved:
            raise Hostile("layout.total_out_of_range", "no honest inputs give this total")

    strict = Strict(world.spec, lambda: Table({}, {}, 0))
    me.machine = replace(me.machine, ports=replace(me.machine.ports, analyst=strict))
    assert dispute(me.handle("sum", wire.encode(a.sum()))).code == "sum.refused"


def test_a_fourth_decryption_is_refused() -> None:
    world = sim.build()
    a, me = opened(world), world["a"]
    total = a.total()
    first = me.handle("sum", wire.encode(a.sum(flipped(total, 0))))
    for at in (1, 2):
        dispute(me.handle("sum", wire.encode(a.sum(flipped(total, at)))))
    with stopped(Refused, "sum.tries"):
        me.handle("sum", wire.encode(a.sum(flipped(total, 3))))
    with stopped(Refused, "sum.tries"):  # even the right one: the key has answered enough
        me.handle("sum", wire.encode(a.sum()))
    assert me.handle("sum", wire.encode(a.sum(flipped(total, 0)))) == first  # the recorded answer


def counted(me: sim.Member) -> list[int]:
    """Counts what the key is asked for."""
    calls: list[int] = []
    ports = me.machine.ports

    def count(seed: bytes, total: bytes, m: int) -> Fields:
        calls.append(m)
        return ports.open_total(seed, total, m)

    me.machine = replace(me.machine, ports=replace(ports, open_total=count))
    return calls


def test_a_repeated_sum_is_answered_from_the_record() -> None:
    world = sim.build()
    a, me = opened(world), world["a"]
    calls = counted(me)
    body = wire.encode(a.sum(flipped(a.total(), 0)))
    assert me.handle("sum", body) == me.handle("sum", body) == me.handle("sum", body)
    assert len(calls) == 1
    good = wire.encode(a.sum())
    assert me.handle("sum", good) == me.handle("sum", good)
    assert len(calls) == 2


def test_a_crash_between_mark_and_answer_buys_no_fourth_try() -> None:
    world = sim.build()
    a, me = opened(world), world["a"]
    calls, total = counted(me), a.total()
    for at in range(3):  # each time killed after the mark was written, before the answer was
        body = wire.encode(a.sum(flipped(total, at)))
        step = me.machine.handle("sum", body, me.store, me.view())
        assert step.again
        assert not step.send
        me.apply(step)
    with stopped(Refused, "sum.tries"):
        me.handle("sum", wire.encode(a.sum()))
    assert not calls
    dispute(me.handle("sum", wire.encode(a.sum(flipped(total, 2)))))  # a marked one may be finished
    assert len(calls) == 1


def test_no_sum_before_ones_own_unlock_or_of_another_lock() -> None:
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()
    b = world["b"]
    [(_, body)] = b.handle("locked", wire.encode(a.locked()))
    a.unlock = {b.org: wire.parse(pb.Signed, body)}
    with stopped(Hostile, "round.unknown"):
        world["a"].handle("sum", wire.encode(a.sum()))
    message = a.sum()
    message.lock_id = a.plan().plan_hash  # a digest that it knows, but no lock
    with stopped(Hostile, "sum.lock"):
        b.handle("sum", wire.encode(message))


def test_a_seal_is_never_signed_twice() -> None:
    world = sim.build()
    a = opened(world).finish()
    for org in world.orgs:
        [(kind, body)] = world.hand(org, "sum", wire.encode(a.sum(flipped(a.total(), 0))))
        assert (kind, wire.parse(pb.Signed, body)) == ("seal", a.seal[org])
