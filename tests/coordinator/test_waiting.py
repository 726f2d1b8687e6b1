"""Silence, refusals and contradictions: who is waited for, and who is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent_contracts.signed import sign
from consilium_errors import Hostile
from coordinator.round import AttestCall
from crypto.identity import AgentKey
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import resign
from tests.attacks.tampering import failed, locked_orgs, only, silent

# silence and refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hello", "ready", "upload"])
def test_a_silent_hospital_is_left_out_before_the_lock(kind: str) -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    tamper = silent((d, kind))
    desk.drain(tamper)
    assert world.chain.head.attested == 0
    assert desk.machine.waiting_for(desk.store, desk.view()) == (kind, (d.org,))
    world.chain.now += 121
    desk.play(tamper)
    assert d.org not in locked_orgs(desk)


@pytest.mark.parametrize(
    ("kind", "patience"), [("unlock", 29), ("seal", 59)]
)  # then it is recovered, or absent
def test_after_the_lock_the_round_waits_for_everybody(kind: str, patience: int) -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    desk.drain(silent((d, kind)))
    world.chain.now += patience
    desk.drain(silent((d, kind)))
    assert world.chain.head.attested == 0
    assert desk.machine.waiting_for(desk.store, desk.view()) == (kind, (d.org,))
    desk._apply(desk.machine.resend(desk.store, desk.view()))
    desk.play()
    assert locked_orgs(desk) == world.orgs


def test_after_the_window_a_quorum_seals_and_names_who_is_absent() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    desk.drain(silent((d, "seal")))
    world.chain.now += 60
    desk.play(silent((d, "seal")))
    call = desk.calls[-1]
    assert isinstance(call, AttestCall)
    assert [o for o, s in zip(call.orgs, call.signatures, strict=True) if not s] == [d.org]


def test_two_silent_hospitals_of_four_are_no_quorum() -> None:
    world = sim.build()
    desk = coordination.coordinator(world)
    tamper = silent((world["c"], "seal"), (world["d"], "seal"))
    desk.drain(tamper)
    world.chain.now += 10_000
    desk.drain(tamper)
    assert not any(isinstance(call, AttestCall) for call in desk.calls)


def test_another_seal_than_the_others_is_an_absence() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]

    def lie(body: bytes) -> bytes:
        signed = wire.parse(pb.Signed, body)
        share = wire.parse(pb.SealShare, signed.payload)
        share.seal.state_after = bytes(32)
        seal_id = wire.seal_from(share.seal).digest(digests.ledger_domain(desk.ctx()))
        share.signature = d.agent.sign(seal_id)
        return wire.encode(resign(signed, share, d.agent))

    desk.drain(only(d, "seal", lie))
    assert len(desk.records("seal")) == 4
    assert world.chain.head.attested == 0
    world.chain.now += 60
    desk.play()
    call = desk.calls[-1]
    assert isinstance(call, AttestCall)
    assert [o for o, s in zip(call.orgs, call.signatures, strict=True) if not s] == [d.org]


def test_a_liar_about_what_comes_next_is_outvoted() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]

    def lie(body: bytes) -> bytes:
        signed = wire.parse(pb.Signed, body)
        share = wire.parse(pb.SealShare, signed.payload)
        share.next_analysis = "m7"
        return wire.encode(resign(signed, share, d.agent))

    desk.drain(only(d, "seal", lie))
    world.chain.now += 60
    desk.play()
    assert desk.machine.outlook(desk.store, desk.view())[0] == ""


def test_too_few_are_told_so_and_everybody_is_asked_again_later() -> None:
    world = sim.build()
    desk = coordination.coordinator(world)
    tamper = silent((world["c"], "hello"), (world["d"], "hello"))
    desk.drain(tamper)
    world.chain.now += 121
    desk.drain(tamper)
    assert desk.slot("halted") == b"halted.too_few"
    world.chain.now += 121
    desk.play()
    assert locked_orgs(desk) == world.orgs


def test_refusals_count_for_their_attempt_only() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    desk.advance()

    def refusal(**changes: object) -> bytes:
        made = {"study": sim.STUDY, "org": d.org, "code": "policy.sum", "about": desk.ctx().digest()}
        message = pb.Refusal(**(made | changes))  # type: ignore[arg-type]
        return wire.encode(sign("refusal", message, org=d.org, key=d.agent))

    for change in ({"about": bytes(32)}, {"study": bytes(32)}):
        with stopped(Hostile, "refusal.context"):
            desk.receive("refusal", refusal(**change))
    desk.receive("refusal", refusal())
    desk.play()
    assert d.org not in locked_orgs(desk)


# locks that the chain refuses -------------------------------------------------------------------------------


def at_lock(world: sim.World) -> coordination.Desk:
    desk = coordination.coordinator(world)
    desk.hold(lambda: len(desk.records("upload")) == 4)
    return desk


def test_a_lock_refused_for_consent_leaves_out_whose_consent_is_dead() -> None:
    world = sim.build()
    desk, d = at_lock(world), world["d"]
    world.chain.change_gate(d.dataset, status=1, reason="no_consent")
    desk._apply(desk.machine.lock_refused("chain.no_live_consent", desk.store, desk.view()))
    assert failed(desk) == ("chain.no_live_consent", [d.org])
    desk.play()
    assert locked_orgs(desk) == tuple(o for o in world.orgs if o != d.org)


def test_a_lock_refused_for_no_visible_reason_is_not_tried_in_a_rush() -> None:
    world = sim.build()
    desk = at_lock(world)
    desk._apply(desk.machine.lock_refused("chain.wrong_context", desk.store, desk.view()))
    desk.drain()
    assert desk.ctx().attempt == 1
    world.chain.now += desk.machine.rules.retry_s
    desk.play()
    assert desk.calls
    assert locked_orgs(desk) == world.orgs


def test_a_new_agent_in_the_middle_makes_a_new_attempt() -> None:
    world = sim.build()
    desk, d = at_lock(world), world["d"]
    key = AgentKey.generate()
    world.chain.agents[d.org] = key.address
    d.agent = key
    d.machine = replace(d.machine, site=replace(d.machine.site, agent=key))
    desk.drain()
    assert failed(desk)[0] == "attempt.agents"
    world.chain.now += desk.machine.rules.retry_s
    desk.play()
    assert locked_orgs(desk) == world.orgs


# words about another lock -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unlock", "seal", "dispute"])
def test_words_about_another_lock(kind: str) -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    said: dict[str, pb.Signed] = {}

    def listen(org: bytes, k: str, body: bytes) -> bytes | None:
        if org == d.org and k in ("unlock", "seal"):
            said[k] = wire.parse(pb.Signed, body)
        return body

    desk.play(listen, until="unlock")
    early = pb.Dispute(lock_id=bytes(32), org=d.org, code="sum.refused")
    message = {
        "unlock": lambda: pb.Unlock(lock_id=bytes(32), org=d.org, sealed=bytes(48)),
        "dispute": lambda: early,
        "seal": lambda: pb.SealShare(
            seal=pb.Seal(**{f.name: bytes(32) for f in pb.Seal.DESCRIPTOR.fields if f.type == f.TYPE_BYTES}),
            org=d.org,
            signature=bytes(65),
        ),
    }[kind]()
    with stopped(Hostile, "message.lock"):
        desk.receive(kind, wire.encode(sign(kind, message, org=d.org, key=d.agent)))
    fresh = coordination.coordinator(world)
    fresh.advance()
    with stopped(Hostile, "message.lock"):
        fresh.receive(kind, wire.encode(sign(kind, message, org=d.org, key=d.agent)))


def test_states_are_carried_to_the_roster_only() -> None:
    world = sim.build()
    desk, a = coordination.coordinator(world), world["a"]
    message = pb.CatchUp(study=sim.STUDY, org=a.org, to=b"\xee" * 20, seal_id=bytes(32), sealed=bytes(64))
    with stopped(Hostile, "catch_up.recipient"):
        desk.receive("catch-up", wire.encode(sign("catch-up", message, org=a.org, key=a.agent)))


def test_a_kind_that_nobody_sends() -> None:
    with stopped(Hostile, "round.kind"):
        coordination.coordinator(sim.build()).receive("gossip", b"")
