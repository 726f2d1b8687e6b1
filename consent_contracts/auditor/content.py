"""The bundle's public part against the chain: nothing in it may differ from what was locked and sealed."""

from __future__ import annotations

from consent_contracts.auditor.replay import SealedLock
from consent_contracts.auditor.verdict import Findings, expect, short
from consent_contracts.plan import Plan, check_plan, check_receipts
from consent_contracts.signed import opened, verify_typed
from consilium_errors import Hostile
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb


def bundle_info(study: bytes) -> bytes:
    """What the openings' envelope is bound to."""
    return digests.tagged("bundle", study)


def check_rounds(
    bundle: pb.Bundle, chain: list[SealedLock], spec_hash: bytes, findings: Findings
) -> list[Plan | None]:
    """One plan for each sealed round of the study, None where the bundle's does not fit the chain."""
    with findings.checking("spec", "bundle"):
        expect("audit.spec", "spec hash", spec_hash, digests.tagged("spec", bundle.spec))
    with findings.checking("rounds", "bundle", f"{len(chain)} rounds in the chain's order"):
        expect("audit.rounds", "sealed rounds", len(chain), len(bundle.rounds))
        pairs = zip(chain, bundle.rounds, strict=True)
        wrong = [i for i, (x, r) in enumerate(pairs, 1) if x.lock.ctx != wire.ctx_from(r.ctx)]
        if wrong:
            raise Hostile("audit.order", f"round {wrong[0]} is not the chain's round {wrong[0]}")
    plans: list[Plan | None] = []
    for sealed, public in zip(chain, bundle.rounds, strict=False):
        plans.append(None)
        subject = f"{short(sealed.lock.ctx.study)} round {sealed.lock.ctx.round}"
        with findings.checking("content", subject):
            plans[-1] = check_round(sealed, public, findings)
    return plans


def check_round(sealed: SealedLock, public: pb.SealedRound, findings: Findings) -> Plan:
    """Raises Hostile with a code of its own for each thing that differs."""
    lock = sealed.lock
    expect("audit.ctx", "context", lock.ctx, wire.ctx_from(public.ctx))
    plan = check_plan(lock.ctx, public.headers, public.lock_by, sealed.lock_agents)
    expect("audit.set", "organisations", lock.orgs, plan.orgs)
    expect("audit.uses", "datasets", lock.uses, plan.uses)
    expect("audit.ready_root", "ready headers", lock.ready_root, plan.ready_root)
    expect("audit.inputs_root", "commitments", lock.inputs_root, plan.inputs_root)
    expect("audit.lock_by", "deadline", lock.lock_by, public.lock_by)
    expect("audit.plan_hash", "plan", sealed.seal.plan_hash, plan.plan_hash)
    root, lock_id = check_receipts(plan, public.receipts, sealed.lock_agents)
    expect("audit.receipts_root", "receipts", sealed.seal.receipts_root, root)
    expect("audit.lock_id", "lock", sealed.seal.lock_id, lock_id)
    findings.signatures += len(public.headers) + len(public.receipts)
    _check_shares(sealed, public, findings)
    return plan


def _check_shares(sealed: SealedLock, public: pb.SealedRound, findings: Findings) -> None:
    """The hospitals' own statements of the seal; a bundle may hold fewer than all, but at least one."""
    if not public.shares:
        raise Hostile("audit.shares", "no hospital's seal is in the bundle")
    senders = [s.sender for s in public.shares]
    wire.ascending(senders, "organisations")
    if not set(senders) <= set(sealed.lock.orgs):
        raise Hostile("audit.shares", "a seal by an organisation that took no part")
    for signed in public.shares:
        share = opened(signed, "seal", pb.SealShare, sealed.seal_agents)
        expect("audit.share", "seal", sealed.seal, wire.seal_from(share.seal))
        verify_typed(sealed.seal_id, share.signature, signed.sender, sealed.seal_agents)
        findings.signatures += 2
