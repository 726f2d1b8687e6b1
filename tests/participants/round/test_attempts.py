"""What an attempt has for itself, and what all attempts of a release share."""

from __future__ import annotations

from typing import Any

import pytest

from consent_contracts.plan import Plan, check_plan
from consilium_errors import Hostile, Misuse
from participants.round import desk, secrets
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt


def record(world: sim.World, a: Attempt, slot: str, name: str = "a") -> bytes:
    return world[name].store.get(f"{sim.STUDY.hex()}/1/{a.ctx.digest().hex()}", slot) or b""


def test_secrets_are_fresh_in_every_attempt_and_the_input_is_not() -> None:
    world = sim.build()
    tries = [
        Attempt(world, world.ctx(attempt=n), "m0", world.orgs).greet().gather().load() for n in (1, 2, 3)
    ]
    fresh: list[bytes] = []
    for a in tries:
        ready = custody.ReadyRecord.FromString(record(world, a, "ready"))
        fresh += [ready.g, ready.self_mask, *(pair.secret for pair in ready.pairs)]
        fresh.append(custody.HelloRecord.FromString(record(world, a, "hello")).hpke_secret)
        fresh.append(custody.UploadRecord.FromString(record(world, a, "upload")).group)
    assert len(set(fresh)) == len(fresh) == 3 * 7
    headers = [wire.parse(pb.ReadyHeader, a.ready[world["a"].org].header.payload) for a in tries]
    assert len({h.commitment for h in headers}) == 1
    assert len({h.g_hash for h in headers}) == 3
    assert len({a.upload[world["a"].org].ciphertext for a in tries}) == 3


def test_every_word_is_recorded_before_it_is_sent() -> None:
    """A step that is not recorded is not answered: the machine itself keeps nothing."""
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock().open()
    me = world["a"]
    body = {
        "hello": ("task", a.task()),
        "ready": ("hellos", a.hellos()),
        "upload": ("plan", wire.encode(a.plan_for(me.org))),
        "unlock": ("locked", wire.encode(a.locked())),
    }
    for slot, (kind, message) in body.items():
        assert record(world, a, slot)
        step = me.machine.handle(kind, message, me.store, me.view())
        assert not step.records
        assert [k for k, _ in step.send] == [slot]


def test_a_record_never_changes() -> None:
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet()
    scope = f"{sim.STUDY.hex()}/1/{a.ctx.digest().hex()}"
    with stopped(Misuse, "store.conflict"):
        world["a"].store.commit([(scope, "hello", b"another")])


def test_all_hospitals_seal_one_state_and_forget_the_round() -> None:
    world = sim.build(rounds=2)
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock().open().finish()
    world.chain.attest(a.sealed())
    for member in world:
        member.settle()
        assert not member.store.slots(f"{sim.STUDY.hex()}/1", "")
        assert not member.store.slots(f"{sim.STUDY.hex()}/1/{a.ctx.digest().hex()}", "")
    assert len({m.store.get(sim.STUDY.hex(), "state-1") for m in world}) == 1


def test_a_plan_is_checked_once_until_anything_of_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    world, calls = sim.build(), list[bytes]()

    def counted(ctx: digests.Ctx, *rest: Any) -> Plan:
        calls.append(ctx.digest())
        return check_plan(ctx, *rest)

    monkeypatch.setattr(desk, "check_plan", counted)
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock().open()
    assert len(calls) == len(world.orgs)
    plans, ctx, headers = world["a"].machine.plans, wire.ctx_to(a.ctx), a.plan_for(world["a"].org).headers
    agents = dict(world.agents())
    known = plans.check(ctx, headers, a.lock_by, agents)
    assert len(calls) == len(world.orgs)
    assert plans.check(ctx, headers, a.lock_by + 1, agents).plan_hash != known.plan_hash
    rotated = {**agents, world["b"].org: bytes(20)}
    with stopped(Hostile, "signature.wrong_signer"):
        plans.check(ctx, headers, a.lock_by, rotated)
    forged = [pb.Signed.FromString(wire.encode(h)) for h in headers]
    forged[0].signature = forged[1].signature
    with stopped(Hostile, "signature.wrong_signer"):
        plans.check(ctx, forged, a.lock_by, agents)


@pytest.mark.parametrize("size", [3, 4, 7])
def test_pair_keys_agree_and_cancel(size: int) -> None:
    orgs = [bytes([i]) * 20 for i in range(1, size + 1)]
    plan = bytes(32)
    told = {(i, j): bytes([k]) * 32 for k, (i, j) in enumerate((i, j) for i in orgs for j in orgs if i != j)}
    added: list[bytes] = []
    taken: list[bytes] = []
    randomness = {org: 5 + i for i, org in enumerate(orgs)}
    blinded = 0
    for me in orgs:
        mine = {j: told[me, j] for j in orgs if j != me}
        theirs = {j: told[j, me] for j in orgs if j != me}
        add, subtract = secrets.signs(me, secrets.pair_keys(me, mine, theirs, plan))
        added, taken = added + add, taken + subtract
        blinded += secrets.blinded(randomness[me], add, subtract)
    assert sorted(added) == sorted(taken)
    assert len(set(added)) == size * (size - 1) // 2
    assert blinded % secrets.Q == sum(randomness.values())


def test_keys_for_different_ends_differ() -> None:
    group, org, plan, lock = (bytes([i]) * 32 for i in range(4))
    keys = [
        secrets.cipher_seed(group),
        secrets.salt(group),
        secrets.self_mask_key(group, plan),
        secrets.unlock_key(group, org[:20], lock),
        secrets.unlock_key(group, b"\7" * 20, lock),
        secrets.unlock_key(group, org[:20], plan),
        secrets.rho_key(group, org, plan),
        secrets.rho_key(group, lock, plan),
        secrets.group_secret([group], plan),
        secrets.group_secret([group], lock),
    ]
    assert len(set(keys)) == len(keys)
