"""Writes ``tests/vectors/round.json``: one round of four hospitals, every message and every key. Run by hand:

python -m tests.vectors.make_round

Keys, tables and randomness come from fixed streams. HPKE encapsulations and the ciphers' own seeds cannot be
fixed: what holds them is recorded, and the check opens it instead of making it again (`FREE` names it).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256, shake_256
from pathlib import Path
from typing import Any

import numpy as np

from consent_contracts.signed import sign
from crypto import envelopes
from crypto.commitments import ranges
from crypto.commitments.ranges import Range
from participants import bundles
from participants.round.checking import range_context
from participants.round.closing import handover_info
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.rogue import Attempt

FILE = Path(__file__).with_name("round.json")
#: What another run makes differently, because HPKE and BFV draw for themselves.
FREE = {"messages", "lock_id", "receipts_root", "seal_id", "bundle"}


def stream(name: str) -> Callable[[int], bytes]:
    """Bytes that look random: the next ones at every call, the same on every run."""
    calls = 0

    def read(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return shake_256(f"consilium round vector {name} {calls}".encode()).digest(size)

    return read


def pair(name: str) -> tuple[bytes, bytes]:
    secret = shake_256(f"consilium round vector hpke {name}".encode()).digest(envelopes.SECRET_BYTES)
    return secret, envelopes.public_of(secret)


def fixed_world() -> sim.World:
    world = sim.build(rounds=1)
    sponsor = sha256(pair("sponsor")[1]).digest()
    world.chain.study = replace(world.chain.study, sponsor_key=sponsor)
    for member in world:
        fresh = stream(f"hpke {member.name}")

        def generate(fresh: Callable[[int], bytes] = fresh) -> tuple[bytes, bytes]:
            secret = fresh(envelopes.SECRET_BYTES)
            return secret, envelopes.public_of(secret)

        ports = replace(member.machine.ports, random=stream(member.name), generate_hpke=generate)
        member.machine = replace(member.machine, ports=ports)
    return world


def make() -> dict[str, Any]:
    world = fixed_world()
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()
    keys = {member.name: secrets_of(a, member) for member in world}
    group = upload_of(a, world["a"]).group
    before = world.held(0)
    a.open()
    recovery = recovered(world, a)
    check = checked(world, a)
    a.finish()
    records = {member.name: sealed(a, member) for member in world}
    tip = world.chain.attest(a.sealed())
    for member in world:
        member.settle()
    plan, held = a.plan(), world.held(1)
    first = records["a"]
    return {
        "about": "one round of the secure sum; all bytes are hexadecimal; lists ascend by organisation",
        "study": sim.STUDY.hex(),
        "spec": world.spec.canonical().decode(),
        "analysis": a.analysis,
        "hospitals": keys,
        "ctx_hash": a.ctx.digest().hex(),
        "hellos_hash": plan.headers[0].hellos_hash.hex(),
        "uses_hash": digests.uses_hash(plan.uses).hex(),
        "ready_root": plan.ready_root.hex(),
        "inputs_root": plan.inputs_root.hex(),
        "lock_by": a.lock_by,
        "plan_hash": plan.plan_hash.hex(),
        "group": group.hex(),
        "sum": first.sum.hex(),
        "randomness": first.randomness.hex(),
        "salt": first.salt.hex(),
        "state_before": before.state.hex(),
        "salt_before": before.salt.hex(),
        "state_after": held.state.hex(),
        "receipts_root": a.sealed().receipts_root.hex(),
        "lock_id": a.locked().lock_id.hex(),
        "seal_id": tip.hex(),
        "sponsor_secret": pair("sponsor")[0].hex(),
        "regulator_secret": pair("regulator")[0].hex(),
        "returning_secret": pair("returning")[0].hex(),
        "messages": [*messages(world, a, tip), *recovery, *check],
        "bundle": bundles.bundle(
            world["a"].store, sim.STUDY, world.spec.canonical(), pair("regulator")[1]
        ).hex(),
    }


def recovered(world: sim.World, a: Attempt) -> list[dict[str, str]]:
    """What would be said if the last hospital had not unlocked; the round itself goes on as if it had."""
    *holders, dead = world
    before, lock_id = world.chain.head, a.locked().lock_id
    world.chain.recover(dead.org)
    asked = wire.encode(pb.Recover(lock_id=lock_id, org=dead.org))
    shares = [member.handle("recover", asked)[0][1] for member in holders]
    world.chain.head = before
    message = a.sum()
    del message.unlocks[-1]
    message.recovered.append(pb.RecoveredMask(org=dead.org, shares=map(pb.Signed.FromString, shares)))
    return [
        _row("recover", "Recover", asked),
        *(_row("mask-share", "Signed", b, m.org) for m, b in zip(holders, shares, strict=True)),
        _row("recovered-sum", "Sum", wire.encode(message)),
    ]


#: What the range proof of the vector says: the fields of the first scalar, and the second of them is at most this.
RANGE = Range((0,), 42, (1,), (1 << 42) - 7)


def checked(world: sim.World, a: Attempt) -> list[dict[str, str]]:
    """What would be said if the sum had been disputed, and had been out of range."""
    lock_id, first = a.locked().lock_id, world["a"]
    dispute = pb.Dispute(lock_id=lock_id, org=first.org, code="sum.refused")
    signed = sign("dispute", dispute, org=first.org, key=first.agent)
    asked = wire.encode(pb.CheckRequest(lock_id=lock_id, disputes=[signed]))
    shown = [member.handle("check", asked)[0][1] for member in world]
    summed = a.sum()
    whole = pb.CheckedAll(lock_id=lock_id, checked=map(pb.Signed.FromString, shown), unlocks=summed.unlocks)
    proof = pb.RangeProof(lock_id=lock_id, org=first.org, proof=range_proof(a, first))
    proven = sign("range", proof, org=first.org, key=first.agent)
    ranges_ = wire.encode(pb.Ranges(lock_id=lock_id, proofs=[proven]))
    accused = [pb.Accused(code="range.missing", orgs=[org]) for org in world.orgs if org != first.org]
    verdict = pb.Verdict(
        lock_id=lock_id, org=first.org, about=sha256(ranges_).digest(), accused=accused, sealed=False
    )
    return [
        _row("check", "CheckRequest", asked),
        *(_row("checked", "Signed", b, m.org) for m, b in zip(world, shown, strict=True)),
        _row("checked-all", "CheckedAll", wire.encode(whole)),
        _row("range", "Signed", wire.encode(proven), first.org),
        _row("ranges", "Ranges", ranges_),
        _row(
            "verdict",
            "Signed",
            wire.encode(sign("verdict", verdict, org=first.org, key=first.agent)),
            first.org,
        ),
    ]


def range_proof(a: Attempt, member: sim.Member) -> bytes:
    source = custody.InputRecord.FromString(member.store.get(f"{sim.STUDY.hex()}/1", "input-1") or b"")
    values = np.frombuffer(source.values, "<u8").astype(np.uint64)
    make_ = member.machine.ports.pedersen
    assert make_ is not None
    pedersen, r = make_(len(values), source.fields), int.from_bytes(source.randomness, "big")
    context = range_context(a.locked().lock_id, member.org)
    return ranges.prove(pedersen, RANGE, context, (values, r), stream("range"))


def _row(kind: str, message: str, body: bytes, org: bytes = b"") -> dict[str, str]:
    return {"kind": kind, "message": message, "by_or_to": org.hex(), "body": body.hex()}


def scope(a: Attempt) -> str:
    return f"{sim.STUDY.hex()}/1/{a.ctx.digest().hex()}"


def upload_of(a: Attempt, member: sim.Member) -> custody.UploadRecord:
    return custody.UploadRecord.FromString(member.store.get(scope(a), "upload") or b"")


def secrets_of(a: Attempt, member: sim.Member) -> dict[str, Any]:
    """What one hospital keeps to itself."""
    hello = custody.HelloRecord.FromString(member.store.get(scope(a), "hello") or b"")
    ready = custody.ReadyRecord.FromString(member.store.get(scope(a), "ready") or b"")
    source = custody.InputRecord.FromString(member.store.get(f"{sim.STUDY.hex()}/1", "input-1") or b"")
    return {
        "org": member.org.hex(),
        "agent_secret": member.agent.secret.hex(),
        "agent": member.agent.address.hex(),
        "dataset": member.dataset.hex(),
        "hpke_secret": hello.hpke_secret.hex(),
        "values": source.values.hex(),
        "fields": source.fields,
        "r": source.randomness.hex(),
        "commitment": source.commitment.hex(),
        "params": source.params.hex(),
        "g": ready.g.hex(),
        "self_mask": ready.self_mask.hex(),
        "pairs": {pair.org.hex(): pair.secret.hex() for pair in ready.pairs},
    }


def sealed(a: Attempt, member: sim.Member) -> custody.SealRecord:
    return custody.SealRecord.FromString(member.store.get(scope(a), "seal") or b"")


def messages(world: sim.World, a: Attempt, tip: bytes) -> list[dict[str, str]]:
    """Every message in the order of the round, then those beside it."""
    rows: list[dict[str, str]] = []

    def row(kind: str, message: str, body: bytes, org: bytes = b"") -> None:
        rows.append(_row(kind, message, body, org))

    offer = pb.StudyOffer(study=sim.STUDY, spec=world.spec.canonical(), sponsor_key=pair("sponsor")[1])
    row("offer", "StudyOffer", wire.encode(offer))
    row("task", "Task", a.task())
    for org in world.orgs:
        row("hello", "Signed", wire.encode(a.hello[org]), org)
    row("hellos", "Hellos", a.hellos())
    for org in world.orgs:
        row("ready", "Ready", wire.encode(a.ready[org]), org)
    for org in world.orgs:
        row("plan", "Plan", wire.encode(a.plan_for(org)), org)
    for org in world.orgs:
        row("upload", "Upload", wire.encode(a.upload[org]), org)
    row("locked", "Locked", wire.encode(a.locked()))
    for org in world.orgs:
        row("unlock", "Signed", wire.encode(a.unlock[org]), org)
    row("sum", "Sum", wire.encode(a.sum()))
    for org in world.orgs:
        row("seal", "Signed", wire.encode(a.seal[org]), org)
    shares = [a.seal[org] for org in world.orgs]
    row("attested", "Attested", wire.encode(pb.Attested(study=sim.STUDY, seal_id=tip, shares=shares)))
    for kind, signed in beside(world, a, tip).items():
        row(kind, "Signed", wire.encode(signed), signed.sender)
    mail = pb.Mail(kind="task", study=sim.STUDY, sender=sim.COORDINATOR, body=a.task())
    row("mail", "Mail", wire.encode(mail))
    return rows


def beside(world: sim.World, a: Attempt, tip: bytes) -> dict[str, pb.Signed]:
    """What is said when something goes wrong, and at the end. The complaint is a false one."""
    me, peer = world["a"], world["b"]
    hello = wire.parse(pb.Hello, a.hello[me.org].payload)
    box = next(s for s in a.plan_for(me.org).boxes if s.sender == peer.org)
    accusation = pb.Complaint(
        ctx_hash=hello.ctx_hash,
        org=me.org,
        against=peer.org,
        hpke_secret=pair("returning")[0],
        box=box,
    )
    dispute = pb.Dispute(lock_id=a.locked().lock_id, org=me.org, code="sum.refused")
    refusal = pb.Refusal(study=sim.STUDY, org=me.org, code="consent.not_live", about=hello.ctx_hash)
    public = pair("returning")[1]
    asked = pb.CatchUpRequest(study=sim.STUDY, org=me.org, seal_id=tip, hpke_key=public)
    handed = envelopes.seal(
        public, handover_info(sim.STUDY, tip, peer.org, me.org), wire.encode(world.held(1))
    )
    answer = pb.CatchUp(study=sim.STUDY, org=peer.org, to=me.org, seal_id=tip, sealed=handed)
    result = me.machine.release(RESULT, pair("sponsor")[1], [tip], me.store, me.view())
    return {
        "complaint": sign("complaint", accusation, org=me.org, key=me.agent),
        "dispute": sign("dispute", dispute, org=me.org, key=me.agent),
        "refusal": sign("refusal", refusal, org=me.org, key=me.agent),
        "catch-up-request": sign("catch-up-request", asked, org=me.org, key=me.agent),
        "catch-up": sign("catch-up", answer, org=peer.org, key=peer.agent),
        "release": wire.parse(pb.Signed, result.send[0][1]),
    }


RESULT = b'{"m0":{"n":160}}'


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1) + "\n")
