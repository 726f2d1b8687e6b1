"""A coordinator that tells two hospitals different things, or puts words into others' mouths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from consent_contracts.signed import sign
from consilium_errors import Hostile, Refused
from crypto import envelopes
from crypto.identity import AgentKey
from participants.round.uploading import MAX_LOCK_WAIT
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt, resign


def attempt(world: sim.World, number: int = 1, members: tuple[bytes, ...] | None = None) -> Attempt:
    return Attempt(world, world.ctx(attempt=number), world.analysis(), members or world.orgs)


def hello_of(a: Attempt, key: AgentKey, org: bytes, hpke: bytes | None = None) -> pb.Signed:
    public = hpke or envelopes.generate()[1]
    hello = pb.Hello(ctx_hash=a.ctx.digest(), org=org, hpke_key=public)
    return sign("hello", hello, org=org, key=key)


# hellos ----------------------------------------------------------------------------------------------------


def test_a_swapped_key_needs_the_owners_signature() -> None:
    world = sim.build()
    a, b = attempt(world).greet(), world["b"].org
    a.hello[b] = hello_of(a, AgentKey.generate(), b)
    with stopped(Hostile, "signature.wrong_signer"):
        world["a"].handle("hellos", a.hellos())


def test_my_own_key_cannot_be_swapped_even_by_another_hello_of_mine() -> None:
    world = sim.build()
    a, me = attempt(world).greet(), world["a"]
    a.hello[me.org] = hello_of(a, me.agent, me.org)
    with stopped(Hostile, "hellos.mine"):
        me.handle("hellos", a.hellos())
    del a.hello[me.org]
    with stopped(Hostile, "hellos.mine"):
        me.handle("hellos", a.hellos())


def test_an_invented_hospital_has_no_agent_on_the_chain() -> None:
    world = sim.build()
    a, ghost = attempt(world).greet(), AgentKey.generate()
    a.hello[ghost.address] = hello_of(a, ghost, ghost.address)
    with stopped(Hostile, "signed.unknown_sender"):
        world["a"].handle("hellos", a.hellos())


def test_an_organisation_of_the_chain_but_not_of_the_roster() -> None:
    world = sim.build()
    a, ghost = attempt(world).greet(), AgentKey.generate()
    world.chain.agents[ghost.address] = ghost.address
    a.hello[ghost.address] = hello_of(a, ghost, ghost.address)
    with stopped(Hostile, "set.foreign"):
        world["a"].handle("hellos", a.hellos())


def test_one_hospital_twice() -> None:
    world = sim.build()
    a = attempt(world).greet()
    message = wire.parse(pb.Hellos, a.hellos())
    message.hellos.insert(0, message.hellos[0])
    with stopped(Hostile, "wire.order"):
        world["a"].handle("hellos", wire.encode(message))


def test_two_hospitals_are_no_secret() -> None:
    world = sim.build(trusted=1)
    a = attempt(world).greet()
    with stopped(Refused, "set.too_small"):
        world["a"].handle("hellos", a.hellos([world["a"].org, world["b"].org]))


def test_strangers_are_no_company() -> None:
    world = sim.build()
    me = world["a"]
    site = replace(me.machine.site, trusted=frozenset({world["b"].org, me.org}))
    me.machine = replace(me.machine, site=site)
    a = attempt(world).greet()
    with stopped(Refused, "set.untrusted"):
        me.handle("hellos", a.hellos())
    assert not me.reads


def test_a_hello_of_another_attempt() -> None:
    world = sim.build()
    old, new, b = attempt(world).greet(), attempt(world, 2).greet(), world["b"].org
    new.hello[b] = old.hello[b]
    with stopped(Hostile, "plan.context"):
        world["a"].handle("hellos", new.hellos())


def test_a_signed_message_of_another_kind() -> None:
    world = sim.build()
    a, b = attempt(world).greet(), world["b"]
    payload = wire.parse(pb.Hello, a.hello[b.org].payload)
    a.hello[b.org] = sign("ready", payload, org=b.org, key=b.agent)
    with stopped(Hostile, "signed.kind"):
        world["a"].handle("hellos", a.hellos())


def test_a_hospital_signs_for_another() -> None:
    world = sim.build()
    a, b, c = attempt(world).greet(), world["b"], world["c"]
    body = pb.Hello(ctx_hash=a.ctx.digest(), org=c.org, hpke_key=envelopes.generate()[1])
    a.hello[b.org] = sign("hello", body, org=b.org, key=b.agent)
    with stopped(Hostile, "signed.sender"):
        world["a"].handle("hellos", a.hellos())


def test_two_lists_of_hellos_never_make_one_plan() -> None:
    world = sim.build()
    a = attempt(world).greet()
    orgs = world.orgs
    short = a.hellos(orgs[:3])
    for org in orgs:
        body = short if org == orgs[0] else a.hellos()
        a.ready[org] = wire.parse(pb.Ready, a.ask(org, "hellos", body, "ready"))
    chosen = orgs[:3]
    plan = pb.Plan(ctx_hash=a.ctx.digest(), lock_by=world.now() + 60)
    plan.headers.extend(a.ready[o].header for o in chosen)
    with stopped(Hostile, "plan.hellos"):
        world.hand(orgs[1], "plan", wire.encode(plan))


def test_a_second_list_of_hellos_gets_the_first_answer() -> None:
    world = sim.build()
    a = attempt(world).greet()
    first = world["a"].handle("hellos", a.hellos())
    assert world["a"].handle("hellos", a.hellos(world.orgs[:3])) == first


# plans -----------------------------------------------------------------------------------------------------


def altered(a: Attempt, me: bytes, change: Callable[[pb.Plan], None]) -> bytes:
    plan = a.plan_for(me)
    change(plan)
    return wire.encode(plan)


def header(signed: pb.Signed) -> pb.ReadyHeader:
    return wire.parse(pb.ReadyHeader, signed.payload)


def test_a_subset_of_those_who_said_hello() -> None:
    """Those left out hold boxes with every g: with one of them the coordinator would have the group's key."""
    world = sim.build()
    a = attempt(world).greet().gather()
    with stopped(Hostile, "plan.set"):
        world["a"].handle("plan", wire.encode(a.plan_for(world["a"].org, world.orgs[:3])))


def test_my_header_is_missing_or_altered() -> None:
    world = sim.build()
    a, me = attempt(world).greet().gather(), world["a"]
    others = [o for o in world.orgs if o != me.org]
    with stopped(Hostile, "plan.mine"):
        me.handle("plan", wire.encode(a.plan_for(me.org, others)))
    mine = header(a.ready[me.org].header)
    mine.g_hash = b"\1" * 32
    a.ready[me.org].header.CopyFrom(resign(a.ready[me.org].header, mine, me.agent))
    with stopped(Hostile, "plan.mine"):
        me.handle("plan", wire.encode(a.plan_for(me.org)))


def test_a_ready_of_another_attempt_or_study() -> None:
    world = sim.build()
    old, new = attempt(world).greet().gather(), attempt(world, 2).greet().gather()
    b = world["b"]
    new.ready[b.org] = old.ready[b.org]
    with stopped(Hostile, "plan.context"):
        world["a"].handle("plan", wire.encode(new.plan_for(world["a"].org)))


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("commitment", b"\xff" * 48, "commitment.point"),
        ("commitment", b"\xc0" + bytes(47), "commitment.point"),
        ("length", 10, "plan.layout"),
        ("fields", 2, "plan.layout"),
        ("hellos_hash", b"\1" * 32, "plan.hellos"),
        ("ctx_hash", b"\1" * 32, "plan.context"),
    ],
)
def test_a_hostile_ready_header(field: str, value: object, code: str) -> None:
    world = sim.build()
    a, b = attempt(world).greet().gather(), world["b"]
    bad = header(a.ready[b.org].header)
    setattr(bad, field, value)
    a.ready[b.org].header.CopyFrom(resign(a.ready[b.org].header, bad, b.agent))
    with stopped(Hostile, code):
        world["a"].handle("plan", wire.encode(a.plan_for(world["a"].org)))
    assert world["a"].store.get(f"{sim.STUDY.hex()}/1/{a.ctx.digest().hex()}", "upload") is None


def test_a_copied_commitment() -> None:
    world = sim.build()
    a, b, c = attempt(world).greet().gather(), world["b"], world["c"]
    bad = header(a.ready[b.org].header)
    bad.commitment = header(a.ready[c.org].header).commitment
    a.ready[b.org].header.CopyFrom(resign(a.ready[b.org].header, bad, b.agent))
    with stopped(Hostile, "commitment.duplicate"):
        world["a"].handle("plan", wire.encode(a.plan_for(world["a"].org)))


def test_somebody_elses_dataset() -> None:
    world = sim.build()
    a, b, c = attempt(world).greet().gather(), world["b"], world["c"]
    bad = header(a.ready[b.org].header)
    bad.uses[0].dataset = c.dataset
    a.ready[b.org].header.CopyFrom(resign(a.ready[b.org].header, bad, b.agent))
    with stopped(Hostile, "wire.order"):
        world["a"].handle("plan", wire.encode(a.plan_for(world["a"].org)))


@pytest.mark.parametrize("offset", [-1, 0, MAX_LOCK_WAIT + 1])
def test_a_deadline_in_the_past_or_far_away(offset: int) -> None:
    world = sim.build()
    a = attempt(world).greet().gather()
    a.lock_by = world.now() + offset
    with stopped(Hostile, "plan.deadline"):
        world["a"].handle("plan", wire.encode(a.plan_for(world["a"].org)))


def test_boxes_of_others_or_in_another_order() -> None:
    world = sim.build()
    a, me = attempt(world).greet().gather(), world["a"].org
    peer = next(o for o in world.orgs if o != me)
    foreign = next(s for s in a.ready[peer].boxes if wire.parse(pb.Box, s.payload).to != me)

    def swap(plan: pb.Plan) -> None:
        plan.boxes[0].CopyFrom(foreign)

    def turn(plan: pb.Plan) -> None:
        boxes = list(plan.boxes)[::-1]
        del plan.boxes[:]
        plan.boxes.extend(boxes)

    def drop(plan: pb.Plan) -> None:
        del plan.boxes[0]

    for change in (swap, turn, drop):
        with stopped(Hostile, "plan.boxes"):
            world.hand(me, "plan", altered(a, me, change))


def test_two_plans_get_one_upload_and_can_never_be_locked() -> None:
    """Deadlines differ, so the plans' hashes do: nobody signs a receipt for the other's plan."""
    world = sim.build()
    a, other = attempt(world).greet().gather(), world.orgs[0]
    first = wire.encode(a.plan_for(other))
    upload = world.hand(other, "plan", first)
    a.lock_by += 1
    assert world.hand(other, "plan", wire.encode(a.plan_for(other))) == upload
    a.load()
    with stopped(Hostile, "signature.wrong_signer"):
        a.lock_call()
    plan = a.plan()
    root = digests.receipts_root(
        plan.orgs, [digests.upload_hash(r.ciphertext_digest, r.rho_box) for r in a.receipts()]
    )
    locked = pb.Locked(
        lock_id=digests.lock_id(plan.plan_hash, root), plan_hash=plan.plan_hash, receipts=a.receipts()
    )
    with stopped(Hostile, "signature.wrong_signer"):
        world.hand(world.orgs[1], "locked", wire.encode(locked))
    with stopped(Hostile, "round.unknown"):  # it knows the other plan only
        world.hand(other, "locked", wire.encode(locked))


def test_a_plan_before_hellos_and_hellos_before_a_task() -> None:
    world = sim.build()
    a = attempt(world)
    body = wire.encode(pb.Plan(ctx_hash=a.ctx.digest(), lock_by=world.now() + 1))
    for kind, message in (
        ("plan", body),
        ("hellos", wire.encode(pb.Hellos(ctx_hash=a.ctx.digest()))),
    ):
        with stopped(Hostile, "round.out_of_order"):
            world["a"].handle(kind, message)
    a.greet()
    with stopped(Hostile, "round.out_of_order"):
        world["a"].handle("plan", body)
