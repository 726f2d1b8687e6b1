"""The difference of two sums is one hospital's input. What keeps the second sum closed is its self-masks."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest

from consilium_errors import Refused
from crypto.secure_sum.packing import Packing
from protos import wire
from protos.consilium.v1 import custody_pb2 as custody
from tests.attacks import sim
from tests.attacks.adversary import Adversary, Fields
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt


class Heard(sim.World):
    """A world whose coordinator remembers all that it says and hears."""

    adversary: Adversary

    def hand(self, org: bytes, kind: str, body: bytes) -> list[tuple[str, bytes]]:
        self.adversary.hear(kind, body)
        answers = super().hand(org, kind, body)
        for answer, said in answers:
            self.adversary.hear(answer, said)
        return answers


def heard(names: str = "abcd") -> Heard:
    world = sim.build(names)
    found = Heard(world.spec, world.chain, world.members, world.genesis)
    found.adversary = Adversary()
    return found


def loaded(world: sim.World, number: int, members: tuple[bytes, ...]) -> Attempt:
    return Attempt(world, world.ctx(attempt=number), "m0", members).greet().gather().load()


def written(member: sim.Member) -> list[tuple[str, str, bytes]]:
    """Everything on a hospital's disk."""
    rows = []
    for attempt in member.store.slots(f"{sim.STUDY.hex()}/1", "attempt-").values():
        scope = f"{sim.STUDY.hex()}/1/{attempt.hex()}"
        rows += [(scope, slot, body) for slot, body in member.store.slots(scope, "").items()]
    return rows


def truth(world: sim.World, member: sim.Member) -> Fields:
    record = custody.InputRecord.FromString(member.store.get(f"{sim.STUDY.hex()}/1", "input-1") or b"")
    values = np.frombuffer(record.values, "<u8").astype(np.uint64)
    return Packing(len(values), len(world.orgs), 1).pack(values)


def reads(world: Heard, victim: sim.Member) -> bool:
    wanted = truth(world, victim)
    return any(np.array_equal(guess, wanted) for guess in world.adversary.candidates(victim.org))


def two_sets() -> tuple[Heard, Attempt, Attempt, sim.Member]:
    """All uploads of a set with the victim and of one without it; only the second is opened."""
    world = heard()
    victim = world.members[world.orgs[-1]]
    big = loaded(world, 1, world.orgs)
    small = loaded(world, 2, world.orgs[:3]).lock().open().finish()
    return world, big, small, victim


def test_the_difference_of_two_sets_stays_closed() -> None:
    world, big, _, victim = two_sets()
    world.lock(big.lock_call())  # the contract has failed as well
    for org in world.orgs[:3]:
        with stopped(Refused, "set.changed"):
            world.hand(org, "locked", wire.encode(big.locked()))
    world.adversary.hear("locked", wire.encode(big.locked()))
    assert not reads(world, victim)
    for org in world.orgs[:1]:  # a hospital helps with all that it has
        world.adversary.rob(org, written(world.members[org]))
        assert not reads(world, victim)
    for org in world.orgs[:2]:
        world.adversary.rob(org, written(world.members[org]))
    assert not reads(world, victim)  # two: a pair of masks between victim and the third remains


def test_the_same_attack_succeeds_once_the_self_masks_are_out() -> None:
    """The attack is right, then: it fails above for want of these keys only."""
    world, big, _, victim = two_sets()
    world.adversary.rob(world.orgs[0], written(world.members[world.orgs[0]]))
    assert not reads(world, victim)
    seen = world.adversary.attempts[big.ctx.digest()]
    for member in world:
        scope = f"{sim.STUDY.hex()}/1/{big.ctx.digest().hex()}"
        ready = custody.ReadyRecord.FromString(member.store.get(scope, "ready") or b"")
        seen.self_masks[member.org] = ready.self_mask
    assert reads(world, victim)


# one upload -------------------------------------------------------------------------------------------------


def finished() -> tuple[Heard, Attempt, sim.Member]:
    world = heard()
    a = loaded(world, 1, world.orgs).lock().open().finish()
    return world, a, world.members[world.orgs[1]]


@pytest.mark.parametrize("helpers", [0, 1, 2])
def test_an_upload_stays_closed_to_all_but_all_others(helpers: int) -> None:
    world, _, victim = finished()
    others = [m for m in world if m is not victim]
    for group in itertools.combinations(others, helpers):
        fresh = copy.deepcopy(world.adversary)
        for member in group:
            fresh.rob(member.org, written(member))
        wanted = truth(world, victim)
        for guess in fresh.candidates(victim.org):
            assert not np.any(guess == wanted)  # not one coefficient


def test_against_all_others_together_nothing_helps() -> None:
    """The limit of any sum, and the proof that the harness can read."""
    world, _, victim = finished()
    for member in world:
        if member is not victim:
            world.adversary.rob(member.org, written(member))
    assert reads(world, victim)


def test_before_the_lock_fewer_than_the_threshold_cannot_read() -> None:
    """Five hospitals, of which two may conspire: it takes three shares to recover a self-mask."""
    world = heard("abcde")
    world.chain.study = replace(world.chain.study, collusion=2)
    loaded(world, 1, world.orgs)
    victim, *others = (world.members[org] for org in world.orgs)
    for member in others[:2]:
        world.adversary.rob(member.org, written(member))
    world.adversary.derive_all()
    (seen,) = world.adversary.attempts.values()
    assert victim.org not in seen.self_masks
    world.adversary.rob(others[2].org, written(others[2]))
    world.adversary.derive_all()
    assert victim.org in seen.self_masks  # the harness can put them together
    assert not reads(world, victim)  # and the pair with the fourth still covers it
    world.adversary.rob(others[3].org, written(others[3]))
    assert reads(world, victim)


def test_with_every_key_but_one_pair_an_upload_stays_closed() -> None:
    world, a, victim = finished()
    for member in world:
        world.adversary.rob(member.org, written(member))
    assert reads(world, victim)
    seen = world.adversary.attempts[a.ctx.digest()]
    peer = next(o for o in world.orgs if o != victim.org)
    del seen.pairs[peer, victim.org]
    seen.hpke = {}
    assert not reads(world, victim)


def test_a_failed_attempt_tells_nothing_of_the_next() -> None:
    """A complaint shows one attempt's secret; with it and one hospital, no upload of another attempt opens."""
    world = heard()
    first = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather()
    for member in world:
        world.adversary.rob(member.org, [r for r in written(member) if r[1] == "hello"])
    assert first.ready
    loaded(world, 2, world.orgs).lock().open().finish()
    world.adversary.rob(world.orgs[0], written(world.members[world.orgs[0]]))
    assert not reads(world, world.members[world.orgs[1]])
