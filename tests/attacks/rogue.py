"""A coordinator that a test steers by hand: it makes every message itself and may change any of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

from consent_contracts.plan import Plan, check_plan, check_receipts
from consent_contracts.signed import sign
from coordinator.round import LockCall
from crypto.identity import AgentKey
from crypto.secure_sum import schemes
from crypto.secure_sum.packing import Packing
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb

LOCK_S = 600


class Room(Protocol):
    """Where an attempt is played: in memory, or over a real chain."""

    @property
    def orgs(self) -> tuple[bytes, ...]: ...

    def hand(self, org: bytes, kind: str, body: bytes) -> list[tuple[str, bytes]]: ...

    def lock(self, call: LockCall) -> bytes: ...

    def agents(self) -> Mapping[bytes, bytes]: ...

    def now(self) -> int: ...


@dataclass
class Attempt:
    """One attempt, step by step. Each step fills a field, which the test may alter before the next."""

    room: Room
    ctx: digests.Ctx
    analysis: str
    members: tuple[bytes, ...]
    hello: dict[bytes, pb.Signed] = field(default_factory=dict)
    ready: dict[bytes, pb.Ready] = field(default_factory=dict)
    upload: dict[bytes, pb.Upload] = field(default_factory=dict)
    unlock: dict[bytes, pb.Signed] = field(default_factory=dict)
    seal: dict[bytes, pb.Signed] = field(default_factory=dict)
    lock_by: int = 0

    # what is sent -------------------------------------------------------------------------------------

    def task(self) -> bytes:
        return wire.encode(pb.Task(ctx=wire.ctx_to(self.ctx), analysis=self.analysis))

    def hellos(self, orgs: Sequence[bytes] | None = None) -> bytes:
        chosen = [self.hello[o] for o in sorted(orgs or self.hello)]
        return wire.encode(pb.Hellos(ctx_hash=self.ctx.digest(), hellos=chosen))

    def plan_for(self, org: bytes, orgs: Sequence[bytes] | None = None) -> pb.Plan:
        chosen = sorted(orgs or self.ready)
        return pb.Plan(
            ctx_hash=self.ctx.digest(),
            headers=[self.ready[o].header for o in chosen],
            boxes=[box_for(self.ready[o], org) for o in chosen if o != org],
            lock_by=self.lock_by or self.room.now() + LOCK_S,
        )

    def receipts(self) -> list[pb.Receipt]:
        return [
            pb.Receipt(
                org=u.org,
                ciphertext_digest=hashlib.sha256(u.ciphertext).digest(),
                rho_box=u.rho_box,
                signature=u.signature,
            )
            for _, u in sorted(self.upload.items())
        ]

    def locked(self, receipts: Sequence[pb.Receipt] | None = None) -> pb.Locked:
        receipts = self.receipts() if receipts is None else receipts
        uploads = [digests.upload_hash(r.ciphertext_digest, r.rho_box) for r in receipts]
        root = digests.receipts_root([r.org for r in receipts], uploads)
        plan_hash = self.plan().plan_hash
        return pb.Locked(
            lock_id=digests.lock_id(plan_hash, root), plan_hash=plan_hash, receipts=list(receipts)
        )

    def total(self, orgs: Sequence[bytes] | None = None) -> bytes:
        plan = self.plan()
        packing = Packing(plan.length, len(self.room.orgs), 2 if plan.fields == 2 else 1)
        adder = schemes.fhe().adder(packing.coefficients)
        for org in sorted(orgs or self.upload):
            adder.add(self.upload[org].ciphertext)
        return adder.total()

    def sum(self, total: bytes | None = None) -> pb.Sum:
        unlocks = [self.unlock[o] for o in sorted(self.unlock)]
        return pb.Sum(lock_id=self.locked().lock_id, total=total or self.total(), unlocks=unlocks)

    # the steps ----------------------------------------------------------------------------------------

    def greet(self) -> Attempt:
        for org in self.members:
            self.hello[org] = wire.parse(pb.Signed, self.ask(org, "task", self.task(), "hello"))
        return self

    def gather(self) -> Attempt:
        body = self.hellos()
        for org in sorted(self.hello):
            self.ready[org] = wire.parse(pb.Ready, self.ask(org, "hellos", body, "ready"))
        self.lock_by = self.lock_by or self.room.now() + LOCK_S
        return self

    def load(self) -> Attempt:
        for org in sorted(self.ready):
            body = wire.encode(self.plan_for(org))
            self.upload[org] = wire.parse(pb.Upload, self.ask(org, "plan", body, "upload"))
        return self

    def lock(self) -> Attempt:
        self.room.lock(self.lock_call())
        return self

    def open(self) -> Attempt:
        body = wire.encode(self.locked())
        for org in sorted(self.upload):
            self.unlock[org] = wire.parse(pb.Signed, self.ask(org, "locked", body, "unlock"))
        return self

    def finish(self) -> Attempt:
        body = wire.encode(self.sum())
        for org in sorted(self.unlock):
            self.seal[org] = wire.parse(pb.Signed, self.ask(org, "sum", body, "seal"))
        return self

    def plan(self) -> Plan:
        headers = [self.ready[o].header for o in sorted(self.ready)]
        return check_plan(self.ctx, headers, self.lock_by, self.room.agents())

    def lock_call(self) -> LockCall:
        plan, receipts = self.plan(), self.receipts()
        check_receipts(plan, receipts, self.room.agents())
        return LockCall(
            ctx=plan.ctx,
            uses=plan.uses,
            orgs=plan.orgs,
            ready_root=plan.ready_root,
            inputs_root=plan.inputs_root,
            lock_by=plan.lock_by,
            upload_hashes=tuple(digests.upload_hash(r.ciphertext_digest, r.rho_box) for r in receipts),
            signatures=tuple(r.signature for r in receipts),
            plan_hash=plan.plan_hash,
        )

    def sealed(self) -> digests.Seal:
        first = next(iter(self.seal.values()))
        return wire.seal_from(wire.parse(pb.SealShare, first.payload).seal)

    def ask(self, org: bytes, kind: str, body: bytes, answer: str) -> bytes:
        answers = self.room.hand(org, kind, body)
        found = [b for k, b in answers if k == answer]
        assert found, f"expected {answer}, got {[k for k, _ in answers]}"
        return found[-1]


def box_for(ready: pb.Ready, org: bytes) -> pb.Signed:
    return next(s for s in ready.boxes if wire.parse(pb.Box, s.payload).to == org)


def resign(signed: pb.Signed, payload: Message, key: AgentKey) -> pb.Signed:
    """The same kind of message with another payload, signed anew."""
    return sign(signed.kind, payload, org=signed.sender, key=key)
