"""What one attempt binds together, recomputed alike by hospitals, coordinator and auditor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consent_contracts.signed import opened, verify_typed
from consilium_errors import Hostile
from crypto import envelopes
from crypto.secure_sum import sharing
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


class BoxContent(NamedTuple):
    """What one hospital tells another: its part of the group's key, their pair's secret, a piece of its self-mask."""

    g: bytes
    pair: bytes
    piece: bytes


def box_info(ctx_hash: bytes, sender: bytes, recipient: bytes) -> bytes:
    return digests.tagged("box", ctx_hash, sender, recipient)


def open_box(
    opener: envelopes.Opener, box: pb.Box, header: pb.ReadyHeader, place: tuple[int, int]
) -> BoxContent:
    """The content of a box, if it is what its sender's ready header promised.

    Args:
        opener: of the recipient's HPKE secret of this attempt.
        place: the recipient's number in the set, from 1, and how many they are.

    Raises:
        Hostile: ``box.content``, or as the envelope and the piece say: the sender broke the protocol.
    """
    plain = opener.open(box_info(box.ctx_hash, box.org, box.to), box.sealed)
    if len(plain) < 96 or digests.g_hash(box.ctx_hash, box.org, plain[:32]) != header.g_hash:
        raise Hostile("box.content", "the box does not hold what was promised")
    sharing.check_piece(plain[64:], *place, header.shares_root)
    return BoxContent(plain[:32], plain[32:64], plain[64:])


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
    for receipt in receipts:
        upload = digests.upload_hash(receipt.ciphertext_digest, receipt.rho_box)
        digest = digests.receipt_digest(domain, plan.plan_hash, receipt.org, upload)
        verify_typed(digest, receipt.signature, receipt.org, agents)
    root = receipts_root(receipts)
    return root, digests.lock_id(plan.plan_hash, root)


def receipts_root(receipts: Sequence[pb.Receipt]) -> bytes:
    """What a lock binds of its receipts; they ascend by organisation."""
    uploads = [digests.upload_hash(r.ciphertext_digest, r.rho_box) for r in receipts]
    return digests.receipts_root([r.org for r in receipts], uploads)
