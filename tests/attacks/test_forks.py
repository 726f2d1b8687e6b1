"""State that differs, and states handed over by others."""

from __future__ import annotations

from dataclasses import replace

from consent_contracts.plan import receipts_root
from consent_contracts.signed import sign
from consilium_errors import Hostile, Refused
from crypto import envelopes
from crypto.identity import AgentKey
from participants.round.closing import handover_info
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt

STATE = f"{sim.STUDY.hex()}"


def played(world: sim.World, members: tuple[bytes, ...] | None = None) -> Attempt:
    a = Attempt(world, world.ctx(), world.analysis(), members or world.orgs)
    return a.greet().gather().load().lock().open().finish()


def behind() -> tuple[sim.World, sim.Member, pb.Signed]:
    """Three hospitals have sealed a round without d, which asks for the state."""
    world = sim.build(rounds=2)
    a = played(world, tuple(m.org for m in world if m.name != "d"))
    world.chain.attest(a.sealed())
    for member in world:
        if member.name != "d":
            member.settle()
    [(kind, body)] = world["d"].settle()
    assert kind == "catch-up-request"
    return world, world["d"], wire.parse(pb.Signed, body)


def answer(world: sim.World, request: pb.Signed, handed: bytes, by: str = "a", **changes: object) -> bytes:
    """A catch-up as a hostile peer may make it."""
    asked = wire.parse(pb.CatchUpRequest, request.payload)
    peer, head = world[by], world.chain.head
    info = handover_info(sim.STUDY, head.tip, peer.org, asked.org)
    fields: dict[str, object] = {
        "study": sim.STUDY,
        "org": peer.org,
        "to": asked.org,
        "seal_id": head.tip,
        "sealed": envelopes.seal(asked.hpke_key, info, handed),
    }
    message = pb.CatchUp(**(fields | changes))  # type: ignore[arg-type]
    return wire.encode(sign("catch-up", message, org=peer.org, key=peer.agent))


def test_a_hospital_that_missed_a_round_goes_on() -> None:
    world, d, request = behind()
    assert d.settle() == [("catch-up-request", wire.encode(request))]  # the recorded one, with one key
    [(kind, body)] = world["a"].handle("catch-up-request", wire.encode(request))
    assert kind == "catch-up"
    d.handle("catch-up", body)
    assert d.store.get(STATE, "state-1") == world["a"].store.get(STATE, "state-1")
    assert len(played(world).seal) == 4


def test_a_hospital_that_unlocked_and_missed_the_seal_forgets_the_rounds_secrets() -> None:
    world = sim.build(rounds=2)
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock().open()
    d = world["d"]
    body = wire.encode(a.sum())
    for member in world:
        if member.name != "d":
            a.seal[member.org] = wire.parse(pb.Signed, a.ask(member.org, "sum", body, "seal"))
    world.chain.attest(a.sealed())
    for member in world:
        request = member.settle()
    assert d.store.get(f"{STATE}/1", "input-1") is not None
    [(_, handed)] = world["a"].handle("catch-up-request", request[0][1])
    d.handle("catch-up", handed)
    assert d.store.get(f"{STATE}/1", "input-1") is None
    assert d.store.get(f"{STATE}/1/{a.ctx.digest().hex()}", "ready") is None


def test_a_forged_state() -> None:
    world, d, request = behind()
    forged = pb.StateHandover(state=world.genesis.state, salt=bytes(32))
    with stopped(Hostile, "catch_up.state"):
        d.handle("catch-up", answer(world, request, wire.encode(forged)))
    honest = wire.parse(pb.StateHandover, world["a"].store.get(STATE, "state-1") or b"")
    honest.salt = bytes(32)
    with stopped(Hostile, "catch_up.state"):
        d.handle("catch-up", answer(world, request, wire.encode(honest)))
    with stopped(Hostile, "wire.malformed", "wire.not_canonical", "wire.length"):
        d.handle("catch-up", answer(world, request, b"\xff\xff"))
    assert d.store.get(STATE, "state-1") is None


def test_a_state_for_another_recipient_seal_or_study_is_not_taken() -> None:
    world, d, request = behind()
    good = world["a"].store.get(STATE, "state-1") or b""
    for change in ({"to": world["b"].org}, {"seal_id": bytes(32)}, {"study": bytes(32)}):
        assert d.handle("catch-up", answer(world, request, good, **change)) == []
        assert d.store.get(STATE, "state-1") is None
    with stopped(Hostile, "envelope.open"):  # another's envelope under one's own name
        sealed = wire.parse(
            pb.CatchUp, wire.parse(pb.Signed, answer(world, request, good, "b")).payload
        ).sealed
        d.handle("catch-up", answer(world, request, good, "a", sealed=sealed))


def test_only_the_roster_is_handed_a_state() -> None:
    world, _, request = behind()
    stranger = AgentKey.generate()
    asked = wire.parse(pb.CatchUpRequest, request.payload)
    asked.org = stranger.address
    forged = sign("catch-up-request", asked, org=stranger.address, key=stranger)
    with stopped(Hostile, "signed.unknown_sender"):
        world["a"].handle("catch-up-request", wire.encode(forged))
    asked.org = world["d"].org
    forged = sign("catch-up-request", asked, org=world["d"].org, key=stranger)
    with stopped(Hostile, "signature.wrong_signer"):
        world["a"].handle("catch-up-request", wire.encode(forged))


def test_a_request_for_another_seal_gets_nothing() -> None:
    world, d, request = behind()
    asked = wire.parse(pb.CatchUpRequest, request.payload)
    asked.seal_id = bytes(32)
    old = sign("catch-up-request", asked, org=d.org, key=d.agent)
    assert world["a"].handle("catch-up-request", wire.encode(old)) == []


def test_a_hospital_whose_state_was_not_attested_follows_no_further() -> None:
    """It asks the others, sees that they sealed another state than it did, and stops."""
    world = sim.build(rounds=2)
    a = played(world)
    odd = world["d"]
    scope = f"{STATE}/1"
    others = played_elsewhere(world, a)
    world.chain.attest(others)
    for member in world:
        if member is not odd:
            pretend_sealed(member, a, others)
    [(kind, request)] = odd.settle()
    assert kind == "catch-up-request"
    handed = pb.StateHandover(state=OTHER_STATE, salt=OTHER_SALT)
    odd.handle("catch-up", answer(world, wire.parse(pb.Signed, request), wire.encode(handed)))
    assert odd.store.get(scope, "outcome-1") is not None
    assert odd.store.get(STATE, "state-1") is None
    for _ in range(2):
        with stopped(Refused, "round.forked"):
            odd.settle()


OTHER_STATE, OTHER_SALT = b"another state", b"\x5a" * 32


def played_elsewhere(world: sim.World, a: Attempt) -> digests.Seal:
    """What a quorum of the others signed instead."""
    lock = a.locked()
    seal = digests.Seal(
        lock.lock_id,
        lock.plan_hash,
        receipts_root(lock.receipts),
        world.ctx().state_commit,
        digests.state_commit(OTHER_SALT, OTHER_STATE),
        bytes(32),
        0,
        0,
        bytes(32),
        bytes(32),
        sim.CODE,
        bytes(32),
    )
    return replace(seal, prev_seal=world.chain.head.tip)


def pretend_sealed(member: sim.Member, a: Attempt, seal: digests.Seal) -> None:
    held = pb.StateHandover(state=OTHER_STATE, salt=OTHER_SALT)
    assert digests.state_commit(held.salt, held.state) == seal.state_after
    assert a.seal[member.org]
    member.store.commit([(STATE, "state-1", wire.encode(held))])
