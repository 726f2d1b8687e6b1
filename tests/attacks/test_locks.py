"""Nothing is unlocked but the one set that a final lock names, and never two."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent_contracts.plan import receipts_root
from consilium_errors import Hostile, Refused, Unavailable
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt


def loaded(world: sim.World, number: int = 1, members: tuple[bytes, ...] | None = None) -> Attempt:
    a = Attempt(world, world.ctx(attempt=number), world.analysis(), members or world.orgs)
    return a.greet().gather().load()


def locked(a: Attempt) -> bytes:
    return wire.encode(a.locked())


def test_before_the_chain_shows_the_lock_nothing_leaves() -> None:
    world = sim.build()
    a = loaded(world)
    with stopped(Unavailable, "lock.not_final"):
        world["a"].handle("locked", locked(a))


def test_the_chain_still_shows_an_older_lock() -> None:
    world = sim.build()
    old = loaded(world).lock()
    new = loaded(world, 2)
    with stopped(Unavailable, "lock.not_final"):
        world["a"].handle("locked", locked(new))
    assert old.upload


def test_an_older_attempt_than_the_locked_one_is_dead() -> None:
    world = sim.build()
    old = loaded(world)
    loaded(world, 2).lock()
    with stopped(Hostile, "lock.other"):
        world["a"].handle("locked", locked(old))


@pytest.mark.parametrize("part", ["plan", "receipts"])
def test_the_chain_locked_something_else(part: str) -> None:
    """The same receipts under another plan, or the same plan with other receipts."""
    world = sim.build()
    a = loaded(world).lock()
    lock, message = world.chain.head.lock, a.locked()
    assert lock is not None
    plan, root = message.plan_hash, receipts_root(message.receipts)
    assert lock.lock_id == digests.lock_id(plan, root)
    other = digests.lock_id(*((b"\1" * 32, root) if part == "plan" else (plan, b"\1" * 32)))
    world.chain.head = replace(world.chain.head, lock=replace(lock, lock_id=other))
    with stopped(Hostile, "lock.other"):
        world["a"].handle("locked", locked(a))


def test_an_abandoned_lock() -> None:
    world = sim.build()
    a = loaded(world).lock()
    lock = world.chain.head.lock
    assert lock is not None
    world.chain.head = replace(world.chain.head, lock=replace(lock, abandoned=True))
    with stopped(Hostile, "lock.other"):
        world["a"].handle("locked", locked(a))


def test_a_lock_id_that_the_receipts_do_not_make() -> None:
    world = sim.build()
    a = loaded(world).lock()
    message = a.locked()
    message.lock_id = b"\1" * 32
    with stopped(Hostile, "lock.other"):
        world["a"].handle("locked", wire.encode(message))


@pytest.mark.parametrize("case", ["missing", "turned", "twice", "ciphertext", "rho", "another signer"])
def test_altered_receipts(case: str) -> None:
    world = sim.build()
    a = loaded(world).lock()
    message = a.locked()
    receipts = message.receipts
    code = "plan.receipts"
    match case:
        case "missing":
            del receipts[0]
        case "turned":
            turned = list(receipts)[::-1]
            del receipts[:]
            receipts.extend(turned)
        case "twice":
            receipts[1].CopyFrom(receipts[0])
        case "ciphertext":
            receipts[1].ciphertext_digest, code = b"\1" * 32, "signature.wrong_signer"
        case "rho":
            receipts[1].rho_box, code = bytes(48), "signature.wrong_signer"
        case _:
            receipts[1].signature, code = receipts[0].signature, "signature.wrong_signer"
    for member in world:
        with stopped(Hostile, code):
            member.handle("locked", wire.encode(message))


def test_a_plan_of_which_i_know_nothing() -> None:
    world = sim.build()
    a = loaded(world).lock()
    message = a.locked()
    message.plan_hash = b"\1" * 32
    with stopped(Hostile, "round.unknown"):
        world["a"].handle("locked", wire.encode(message))


def test_locked_again_gets_the_same_unlock() -> None:
    world = sim.build()
    a = loaded(world).lock().open()
    for org in world.orgs:
        [(kind, body)] = world.hand(org, "locked", locked(a))
        assert (kind, wire.parse(pb.Signed, body)) == ("unlock", a.unlock[org])


# a second set ----------------------------------------------------------------------------------------------


def test_a_second_set_is_refused_at_its_plan() -> None:
    world = sim.build()
    loaded(world).lock().open()
    smaller = Attempt(world, world.ctx(attempt=2), "m0", world.orgs[:3]).greet().gather()
    with stopped(Refused, "set.changed"):
        smaller.load()


def test_a_set_that_was_planned_before_another_was_opened() -> None:
    """Both sets have all uploads; chain and contract are the attacker's. One set is opened, the other never."""
    world = sim.build()
    big, small = loaded(world), loaded(world, 2, world.orgs[:3])
    small.lock().open()
    big.lock()
    for org in world.orgs[:3]:
        with stopped(Refused, "set.changed"):
            world.hand(org, "locked", locked(big))


def test_the_same_set_with_other_inputs() -> None:
    """One hospital lost its disk and made its input anew: a difference would show that input."""
    world = sim.build()
    first = loaded(world).lock().open()
    d = world["d"]
    d.store = sim.memory_store()
    d.store.commit([(sim.STUDY.hex(), "state-0", wire.encode(world.genesis))])
    second = loaded(world, 2).lock()
    assert second.plan().uses == first.plan().uses
    for name in "abc":
        with stopped(Refused, "unlock.second_set"):
            world[name].handle("locked", locked(second))


def test_the_same_set_and_inputs_may_be_locked_again() -> None:
    world = sim.build()
    first = loaded(world).lock().open()
    second = loaded(world, 2).lock().open()
    assert first.plan().inputs_root == second.plan().inputs_root
    sealed = {wire.parse(pb.SealShare, s.payload).seal.state_after for s in second.finish().seal.values()}
    assert len(sealed) == 1


def test_another_cohort_version_is_another_set_but_a_new_consent_is_not() -> None:
    world = sim.build()
    loaded(world).lock().open()
    d = world["d"]
    world.chain.change_gate(d.dataset, epoch=3)
    loaded(world, 2).lock().open()
    world.chain.change_gate(d.dataset, version=2)
    with stopped(Refused, "set.changed"):
        loaded(world, 3)


def test_the_fixed_set_holds_in_later_rounds_of_the_analysis() -> None:
    """Here each analysis has one round, so the next one may choose; its own record stays."""
    world = sim.build(rounds=2)
    a = loaded(world).lock().open().finish()
    world.chain.attest(a.sealed())
    for member in world:
        member.settle()
    other = loaded(world, 1, world.orgs[:3]).lock().open()
    assert other.ctx.round == 2
    with stopped(Refused, "set.changed"):
        loaded(world, 2)
