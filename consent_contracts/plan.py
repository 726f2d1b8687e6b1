"""What one attempt binds together, recomputed alike by hospitals, coordinator and auditor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consent_contracts.signed import opened, verify_typed
from consilium_errors import Hostile
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb


@dataclass(frozen=True)
class Plan:
    """The set, inputs and deadline of one attempt; lists ascend by organisation, ``uses`` by dataset."""

    ctx: digests.Ctx
    orgs: tuple[bytes, ...]
    headers: tuple[pb.ReadyHeader, ...]
    uses: tuple[digests.Use, ...]
    ready_root: bytes
    inputs_root: bytes
    lock_by: int
    plan_hash: bytes

    @property
    def commitments(self) -> tuple[bytes, ...]:
        return tuple(h.commitment for h in self.headers)

    @property
    def fields(self) -> int:
        return self.headers[0].fields

    @property
    def length(self) -> int:
        return self.headers[0].length


def check_hellos(
    signed: Sequence[pb.Signed], ctx_hash: bytes, agents: Mapping[bytes, bytes]
) -> tuple[dict[bytes, pb.Hello], bytes]:
    """Organisation → Hello, and the hash that binds them all.

    Raises:
        Hostile: ``plan.context``, ``wire.order`` or a fault of a signature.
    """
    wire.ascending((s.sender for s in signed), "organisations")
    hellos = {s.sender: opened(s, "hello", pb.Hello, agents) for s in signed}
    if any(h.ctx_hash != ctx_hash for h in hellos.values()):
        raise Hostile("plan.context", "a hello belongs to another context")
    return hellos, digests.hellos_hash([s.payload for s in signed])


def check_plan(
    ctx: digests.Ctx, signed: Sequence[pb.Signed], lock_by: int, agents: Mapping[bytes, bytes]
) -> Plan:
    """The plan that these signed ready headers make.

    Raises:
        Hostile: ``plan.empty``, ``plan.context``, ``plan.hellos``, ``plan.layout``, ``wire.order``, or a
            fault of a signature.
    """
    if not signed:
        raise Hostile("plan.empty", "a plan without hospitals")
    orgs = tuple(s.sender for s in signed)
    wire.ascending(orgs, "organisations")
    headers = tuple(opened(s, "ready", pb.ReadyHeader, agents) for s in signed)
    first, ctx_hash = headers[0], ctx.digest()
    if any(h.ctx_hash != ctx_hash for h in headers):
        raise Hostile("plan.context", "a ready header belongs to another context")
    if any(h.hellos_hash != first.hellos_hash for h in headers):
        raise Hostile("plan.hellos", "hospitals were shown different hellos")
    if any((h.fields, h.length) != (first.fields, first.length) for h in headers):
        raise Hostile("plan.layout", "hospitals disagree on the layout of the sum")
    uses = tuple(sorted((u for h in headers for u in wire.uses_from(h.uses)), key=lambda u: u.dataset))
    wire.ascending((u.dataset for u in uses), "datasets")
    ready = digests.ready_root([s.payload for s in signed])
    inputs = digests.inputs_root(orgs, [h.commitment for h in headers])
    plan_hash = digests.plan_hash(ctx_hash, digests.uses_hash(uses), ready, inputs, lock_by)
    return Plan(ctx, orgs, headers, uses, ready, inputs, lock_by, plan_hash)


def check_receipts(
    plan: Plan, receipts: Sequence[pb.Receipt], agents: Mapping[bytes, bytes]
) -> tuple[bytes, bytes]:
    """``(receipts_root, lock_id)`` of one receipt from each hospital of the plan.

    Raises:
        Hostile: ``plan.receipts``, or a fault of a signature.
    """
    if tuple(r.org for r in receipts) != plan.orgs:
        raise Hostile("plan.receipts", "the receipts are not those of the planned hospitals")
    domain = digests.ledger_domain(plan.ctx)
    uploads = [digests.upload_hash(r.ciphertext_digest, r.rho_box) for r in receipts]
    for receipt, upload in zip(receipts, uploads, strict=True):
        digest = digests.receipt_digest(domain, plan.plan_hash, receipt.org, upload)
        verify_typed(digest, receipt.signature, receipt.org, agents)
    root = digests.receipts_root(plan.orgs, uploads)
    return root, digests.lock_id(plan.plan_hash, root)
