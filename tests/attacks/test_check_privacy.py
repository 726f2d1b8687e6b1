"""What a check shows is the locked sum and nothing else, whoever pools what; and it leaves for nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from consent_contracts.signed import sign
from consilium_errors import Hostile, Refused, Unavailable
from crypto import envelopes
from crypto.commitments import Q
from crypto.kdf import derive
from participants.analyst import SpecAnalyst
from participants.ports import clear_ports
from protos import wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.committee import locked_round
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt
from tests.crypto.commitments.test_scalars import drawn

STUDY = sim.STUDY.hex()


def dispute(member: sim.Member, lock_id: bytes) -> pb.Signed:
    message = pb.Dispute(lock_id=lock_id, org=member.org, code="sum.refused")
    return sign("dispute", message, org=member.org, key=member.agent)


def request(world: sim.World, lock_id: bytes, by: str = "d") -> bytes:
    """Any member may dispute, with reason or without: the coordinator has one's help."""
    return wire.encode(pb.CheckRequest(lock_id=lock_id, disputes=[dispute(world[by], lock_id)]))


def opened(world: sim.World, number: int = 1, members: tuple[bytes, ...] = ()) -> Attempt:
    a = Attempt(world, world.ctx(attempt=number), "m0", members or world.orgs)
    return a.greet().gather().load().lock().open()


def ask(member: sim.Member, body: bytes) -> pb.Signed:
    [(kind, said)] = member.handle("check", body)
    assert kind == "checked"
    return wire.parse(pb.Signed, said)


# when it leaves ---------------------------------------------------------------------------------------------


def test_an_opening_leaves_once_and_is_always_the_same() -> None:
    world = sim.build()
    a = opened(world)
    body = request(world, a.locked().lock_id)
    first = ask(world["a"], body)
    assert ask(world["a"], body) == first
    again = pb.CheckRequest.FromString(body)
    again.disputes[0].CopyFrom(dispute(world["c"], a.locked().lock_id))
    assert ask(world["a"], wire.encode(again)) == first


def test_nothing_leaves_without_a_dispute_of_this_lock_by_one_of_the_set() -> None:
    world = sim.build("abcde")
    members = world.orgs[:4]
    a = opened(world, 1, members)
    lock_id, me = a.locked().lock_id, world.members[members[0]]
    outside = next(m for m in world if m.org not in members)
    stranger = dispute(outside, lock_id)
    inside = world.members[members[1]]
    forged = dispute(inside, lock_id)
    forged.signature = dispute(outside, lock_id).signature
    elsewhere = dispute(inside, b"\7" * 32)
    seal = sign(
        "refusal", pb.Refusal(study=sim.STUDY, org=inside.org, code="a.b"), org=inside.org, key=inside.agent
    )
    for disputes, code in (
        ([], "check.dispute"),
        ([stranger], "check.dispute"),
        ([elsewhere], "check.dispute"),
        ([forged], "signature.wrong_signer"),
        ([seal], "signed.kind"),
        ([dispute(inside, lock_id)] * 2, "wire.order"),
    ):
        with stopped(Hostile, code):
            ask(me, wire.encode(pb.CheckRequest(lock_id=lock_id, disputes=disputes)))
    assert me.store.get(f"{STUDY}/1/{a.ctx.digest().hex()}", "checked") is None


def test_nothing_leaves_before_ones_own_unlock() -> None:
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()
    with stopped(Hostile, "round.unknown"):
        ask(world["a"], request(world, a.locked().lock_id))


def test_nothing_leaves_for_an_abandoned_or_another_lock() -> None:
    world = sim.build()
    a = opened(world)
    body, head = request(world, a.locked().lock_id), world.chain.head
    assert head.lock is not None
    world.chain.head = replace(head, lock=replace(head.lock, abandoned=True))
    with stopped(Hostile, "check.lock"):
        ask(world["a"], body)
    world.chain.head = replace(head, lock=replace(head.lock, lock_id=b"\7" * 32))
    with stopped(Hostile, "check.lock"):
        ask(world["a"], body)
    world.chain.head = replace(head, lock=None)
    with stopped(Unavailable, "check.not_final"):
        ask(world["a"], body)
    with stopped(Hostile, "round.unknown"):
        ask(world["a"], request(world, b"\7" * 32))


def test_a_dead_attempt_is_not_checked_though_its_lock_was_opened() -> None:
    """A retry of the same opening locks anew: what was unlocked before is over."""
    world = sim.build()
    first = opened(world)
    second = opened(world, 2)
    with stopped(Hostile, "check.lock"):
        ask(world["a"], request(world, first.locked().lock_id))
    ask(world["a"], request(world, second.locked().lock_id))


def test_a_study_without_masks_or_with_a_committee_is_not_checked() -> None:
    world = sim.build()
    a = opened(world)
    me = world["a"]
    ports = clear_ports(SpecAnalyst(world.spec, me.machine.ports.analyst._table))  # type: ignore[attr-defined]
    me.machine = replace(me.machine, ports=ports)
    for kind in ("check", "checked-all", "ranges"):
        body = {
            "check": request(world, a.locked().lock_id),
            "checked-all": wire.encode(pb.CheckedAll(lock_id=bytes(32))),
            "ranges": wire.encode(pb.Ranges(lock_id=bytes(32))),
        }[kind]
        with stopped(Hostile, "check.scheme"):
            me.handle(kind, body)
    council, attempt = locked_round()
    with stopped(Hostile, "check.scheme"):
        council["a"].handle("check", request(council, attempt.locked().lock_id))


# openings in the wrong hands --------------------------------------------------------------------------------


def everybody(world: sim.World, a: Attempt) -> pb.CheckedAll:
    lock_id = a.locked().lock_id
    body = request(world, lock_id, world.members[max(a.upload)].name)
    summed = a.sum()
    return pb.CheckedAll(
        lock_id=lock_id,
        checked=[ask(world.members[org], body) for org in sorted(a.upload)],
        unlocks=summed.unlocks,
    )


def test_openings_of_another_set_lock_or_order_are_the_coordinators_fault() -> None:
    world = sim.build()
    old = everybody(world, opened(world))
    a = opened(world, 2)
    good, me = everybody(world, a), world["a"]

    def refused(change: pb.CheckedAll, *codes: str) -> None:
        with stopped(Hostile, *codes):
            me.handle("checked-all", wire.encode(change))

    def altered() -> pb.CheckedAll:
        return pb.CheckedAll.FromString(wire.encode(good))

    fewer = altered()
    del fewer.checked[1]
    refused(fewer, "checked.set")
    turned = altered()
    turned.checked[0].CopyFrom(good.checked[1])
    turned.checked[1].CopyFrom(good.checked[0])
    refused(turned, "checked.set")
    renamed = altered()  # one's opening under another's name
    renamed.checked[0].payload = good.checked[1].payload
    refused(renamed, "signature.wrong_signer")
    replayed = altered()
    replayed.checked[1].CopyFrom(old.checked[1])
    refused(replayed, "checked.set")
    replayed.lock_id = old.lock_id
    refused(replayed, "check.lock")
    swapped = altered()
    swapped.unlocks[0].CopyFrom(good.unlocks[1])
    refused(swapped, "wire.order")
    assert not me.store.slots(STUDY, "verdict-")
    assert [kind for kind, _ in me.handle("checked-all", wire.encode(good))] == ["seal"]


def test_a_flood_of_false_openings_neither_fills_a_disk_nor_stops_the_seal() -> None:
    """d signs ever new ones, and the coordinator shows each to a: three are judged, and the good one is sealed."""
    world = sim.build()
    a = opened(world)
    good, me, d = everybody(world, a), world["a"], world["d"]
    at = sorted(world.orgs).index(d.org)
    for n in range(5):
        bad = pb.CheckedAll.FromString(wire.encode(good))
        payload = pb.Checked(lock_id=good.lock_id, org=d.org, sealed=bytes([n]) * 300)
        bad.checked[at].CopyFrom(sign("checked", payload, org=d.org, key=d.agent))
        if n < 3:
            assert [kind for kind, _ in me.handle("checked-all", wire.encode(bad))] == ["verdict"]
        else:
            with stopped(Refused, "check.verdicts"):
                me.handle("checked-all", wire.encode(bad))
    assert [kind for kind, _ in me.handle("checked-all", wire.encode(good))] == ["seal"]
    assert len(me.store.slots(STUDY, "verdict-")) == 3


def test_the_same_message_is_answered_with_the_same_words() -> None:
    world = sim.build()
    a = opened(world)
    message, me = everybody(world, a), world["a"]
    bad = pb.CheckedAll.FromString(wire.encode(message))
    payload = pb.Checked(lock_id=message.lock_id, org=world["d"].org, sealed=bytes(300))
    at = sorted(world.orgs).index(world["d"].org)
    bad.checked[at].CopyFrom(sign("checked", payload, org=world["d"].org, key=world["d"].agent))
    for body in (wire.encode(bad), wire.encode(message)):
        assert me.handle("checked-all", body) == me.handle("checked-all", body)


# what a coalition makes of it -------------------------------------------------------------------------------


class Coalition:
    """The coordinator with some hospitals: every Checked, and all that is on their disks.

    Labels and formulas stand here a second time: nothing of `participants.round` is used.
    """

    def __init__(
        self, world: sim.World, a: Attempt, message: pb.CheckedAll, helpers: list[sim.Member]
    ) -> None:
        self.lock_id, self.orgs = message.lock_id, sorted(a.upload)
        self.pairs: dict[frozenset[bytes], bytes] = {}
        group = b""
        for helper in helpers:
            record = upload(helper, a)
            group = record.group
            for pair in record.pairs:
                self.pairs[frozenset((helper.org, pair.org))] = pair.secret
        self.values: dict[bytes, list[int]] = {}
        for signed in message.checked if group else ():
            checked = wire.parse(pb.Checked, signed.payload)
            key = derive("checked", group, signed.sender, self.lock_id)
            plain = envelopes.open_once(key, self.lock_id, checked.sealed)
            start = 32 + 48 * (len(self.orgs) - 1)
            words = [plain[i : i + 32] for i in range(start, len(plain), 32)]
            self.values[signed.sender] = [int.from_bytes(w, "little") for w in words]

    def guesses(self, victim: bytes) -> list[list[int]]:
        """The victim's scalars with every subset of the known masks taken off, each way round."""
        if victim not in self.values:
            return []
        masks = []
        for peer in self.orgs:
            if (pair := self.pairs.get(frozenset((victim, peer)))) is not None and peer != victim:
                stream = drawn(derive("checked-pair", pair, self.lock_id), len(self.values[victim]) + 1)[:-1]
                masks.append([m if victim < peer else -m for m in stream])
        found = []
        for taken in itertools.product((0, 1), repeat=len(masks)):
            guess = list(self.values[victim])
            for on, mask in zip(taken, masks, strict=True):
                guess = [(g - on * m) % Q for g, m in zip(guess, mask, strict=True)]
            found.append(guess)
        return found


def upload(member: sim.Member, a: Attempt) -> custody.UploadRecord:
    body = member.store.get(f"{STUDY}/1/{a.ctx.digest().hex()}", "upload") or b""
    return custody.UploadRecord.FromString(body)


def truth(member: sim.Member) -> list[int]:
    """Five fields of 44 bits to a scalar."""
    record = custody.InputRecord.FromString(member.store.get(f"{STUDY}/1", "input-1") or b"")
    values = np.frombuffer(record.values, "<u8").tolist()
    return [sum(v << (44 * k) for k, v in enumerate(values[i : i + 5])) for i in range(0, len(values), 5)]


def reads(coalition: Coalition, victim: sim.Member) -> bool:
    """Any scalar of the victim at all."""
    wanted = truth(victim)
    return any(g == t for guess in coalition.guesses(victim.org) for g, t in zip(guess, wanted, strict=True))


@pytest.mark.parametrize("helpers", [0, 1, 2])
def test_a_coalition_of_fewer_than_all_others_reads_no_scalar(helpers: int) -> None:
    world = sim.build()
    a = opened(world)
    message, victim = everybody(world, a), world["b"]
    for group in itertools.combinations([m for m in world if m is not victim], helpers):
        assert not reads(Coalition(world, a, message, list(group)), victim)


def test_the_same_coalition_reads_once_it_has_every_pair() -> None:
    """The harness can read, then: above it fails for want of these keys only."""
    world = sim.build()
    a = opened(world)
    message, victim = everybody(world, a), world["b"]
    others = [m for m in world if m is not victim]
    assert reads(Coalition(world, a, message, others), victim)
    coalition = Coalition(world, a, message, others[:1])
    assert not reads(coalition, victim)
    for pair in upload(victim, a).pairs:
        coalition.pairs[frozenset((victim.org, pair.org))] = pair.secret
    assert reads(coalition, victim)


def test_what_all_show_adds_up_to_the_locked_sum_and_less_than_all_to_nothing() -> None:
    world = sim.build()
    a = opened(world)
    coalition = Coalition(world, a, everybody(world, a), [world["a"]])
    columns = list(zip(*(truth(m) for m in world), strict=True))
    assert [sum(c) % Q for c in zip(*coalition.values.values(), strict=True)] == [sum(c) for c in columns]
    for missing in world.orgs:
        partial = zip(*(v for o, v in coalition.values.items() if o != missing), strict=True)
        rest = [sum(truth(m)[k] for m in world if m.org != missing) for k in range(2)]
        assert all(sum(c) % Q != r for c, r in zip(partial, rest, strict=True))


def test_checks_of_two_attempts_do_not_subtract() -> None:
    """The same inputs, locked again: other pairs' secrets, other masks."""
    world = sim.build()
    shown = []
    for number in (1, 2):
        a = opened(world, number)
        shown.append(Coalition(world, a, everybody(world, a), [world["a"]]))
    for member in world:
        if member is not world["a"]:
            first, second = (c.guesses(member.org) for c in shown)
            assert not any(x == y for g in first for h in second for x, y in zip(g, h, strict=True))
            assert not any(reads(c, member) for c in shown)


def test_a_second_set_is_not_opened_by_its_check() -> None:
    """The difference of two sets is one input: the set without the victim is sealed, the one with it is asked for."""
    world = sim.build()
    big = Attempt(world, world.ctx(attempt=1), "m0", world.orgs).greet().gather().load()
    small = Attempt(world, world.ctx(attempt=2), "m0", world.orgs[:3]).greet().gather().load().lock().open()
    small_sum = Coalition(world, small, everybody(world, small), [world.members[world.orgs[0]]])
    world.lock(big.lock_call())  # the contract has failed as well
    body = request(world, big.locked().lock_id)
    for org in world.orgs[:3]:
        with stopped(Refused, "set.changed"):
            world.hand(org, "locked", wire.encode(big.locked()))
        with stopped(Hostile, "round.unknown"):
            world.hand(org, "check", body)
    victim = world.members[world.orgs[3]]
    assert len(small_sum.values) == 3
    world.hand(victim.org, "locked", wire.encode(big.locked()))  # it was in no other set
    shown = wire.parse(pb.Signed, world.hand(victim.org, "check", body)[0][1])
    message = pb.CheckedAll(lock_id=big.locked().lock_id, checked=[shown])
    for helpers in ([0], [0, 1]):
        group = [world.members[world.orgs[i]] for i in helpers]
        assert not reads(Coalition(world, big, message, group), victim)
