"""What comes in: checked strictly, attributed to its signer, recorded once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from consent_contracts.plan import check_hellos
from consent_contracts.signed import opened, verify_typed
from consilium_errors import Hostile
from coordinator.round import checking, meeting
from coordinator.round.desk import Desk
from coordinator.round.judging import box_is_bad, check_commitment, commitment_slot
from coordinator.round.recovering import on_mask_share
from coordinator.round.words import Record, Step
from crypto import envelopes
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb


def on_hello(desk: Desk, body: bytes) -> Step:
    """A key to which nothing can be sealed is refused here: it would stop every peer of its owner."""
    signed = wire.parse(pb.Signed, body)
    if desk.attempt() is None:
        raise Hostile("hello.early", "no attempt is under way")
    hellos, _ = check_hellos([signed], desk.ctx().digest(), desk.members())
    envelopes.check_public(hellos[signed.sender].hpke_key)
    return _once(desk, "hello", signed.sender, body)


def on_ready(desk: Desk, body: bytes) -> Step:
    message = wire.parse(pb.Ready, body)
    header = opened(message.header, "ready", pb.ReadyHeader, desk.members())
    orgs = desk.greeted()
    hellos = [pb.Signed.FromString(b) for o, b in desk.got("hello").items() if o in orgs]
    expected = digests.hellos_hash([s.payload for s in hellos])
    if header.ctx_hash != desk.ctx().digest() or header.hellos_hash != expected:
        raise Hostile("ready.context", "the ready belongs to another attempt")
    if header.fields not in (1, 2) or not 1 <= header.length <= 1 << 26:
        raise Hostile("ready.layout", "the layout is out of bounds")
    if not wire.uses_from(header.uses):
        raise Hostile("ready.uses", "a hospital without a dataset")
    if desk.scheme.masked:
        check_commitment(desk, header)
    peers = [o for o in orgs if o != header.org]
    sender = {header.org: desk.members()[header.org]}
    boxes = [opened(s, "box", pb.Box, sender) for s in message.boxes]
    if [b.to for b in boxes] != peers or any(
        (b.ctx_hash, b.hellos_hash) != (header.ctx_hash, expected) for b in boxes
    ):
        raise Hostile("ready.boxes", "the boxes are not one for each peer")
    step = _once(desk, "ready", header.org, body)
    if not (step.records and desk.scheme.masked):
        return step
    posted = Record(desk.round_scope, commitment_slot(header), header.org)
    return replace(step, records=(*step.records, posted))


def on_upload(desk: Desk, body: bytes) -> Step:
    message = wire.parse(pb.Upload, body)
    plan = desk.plan()
    if plan is None or message.plan_hash != plan.plan_hash or message.org not in plan.orgs:
        raise Hostile("upload.plan", "the upload belongs to another plan")
    upload = digests.upload_hash(hashlib.sha256(message.ciphertext).digest(), message.rho_box)
    digest = digests.receipt_digest(digests.ledger_domain(plan.ctx), plan.plan_hash, message.org, upload)
    verify_typed(digest, message.signature, message.org, desk.view.agents)
    if desk.facts.committee:
        desk.scheme.check(message.ciphertext, plan.length)
        if message.rho_box != plan.headers[plan.orgs.index(message.org)].commitment:
            raise Hostile("upload.commitment", "the receipt names another commitment than the plan")
    else:
        desk.scheme.check(message.ciphertext, desk.packing(plan).coefficients)
    return _once(desk, "upload", message.org, body)


def on_unlock(desk: Desk, body: bytes) -> Step:
    signed = wire.parse(pb.Signed, body)
    unlock = opened(signed, "unlock", pb.Unlock, desk.members())
    desk.about_the_lock(unlock.lock_id)
    return _once(desk, "unlock", signed.sender, body)


def on_seal(desk: Desk, body: bytes) -> Step:
    signed = wire.parse(pb.Signed, body)
    share = opened(signed, "seal", pb.SealShare, desk.members())
    desk.about_the_lock(share.seal.lock_id)
    seal_id = wire.seal_from(share.seal).digest(digests.ledger_domain(desk.ctx()))
    verify_typed(seal_id, share.signature, signed.sender, desk.view.agents)
    return _once(desk, "seal", signed.sender, body)


def on_dispute(desk: Desk, body: bytes) -> Step:
    signed = wire.parse(pb.Signed, body)
    dispute = opened(signed, "dispute", pb.Dispute, desk.members())
    desk.about_the_lock(dispute.lock_id)
    return _once(desk, "dispute", signed.sender, body)


def on_refusal(desk: Desk, body: bytes) -> Step:
    signed = wire.parse(pb.Signed, body)
    refusal = opened(signed, "refusal", pb.Refusal, desk.members())
    if refusal.study != desk.facts.study or refusal.about != desk.ctx().digest():
        raise Hostile("refusal.context", "the refusal belongs to another attempt")
    return _once(desk, "refusal", signed.sender, body)


def on_complaint(desk: Desk, body: bytes) -> Step:
    """Judge it: the shown secret either opens the signed box to what its sender promised, or it does not."""
    signed = wire.parse(pb.Signed, body)
    complaint = opened(signed, "complaint", pb.Complaint, desk.members())
    if complaint.ctx_hash != desk.ctx().digest():
        raise Hostile("complaint.context", "the complaint belongs to another attempt")
    orgs = desk.greeted()
    if desk.slot("plan") is None:
        raise Hostile("complaint.early", "no box was handed out yet")
    if complaint.org == complaint.against or not {complaint.org, complaint.against} <= set(orgs):
        raise Hostile("complaint.against", "the accused is not a peer in this attempt")
    if complaint.org in desk.who("upload"):
        raise Hostile("complaint.late", "whoever uploads has found its boxes good")
    guilty = complaint.against if box_is_bad(desk, complaint) else complaint.org
    failure = custody.Failure(code="attempt.complaint", without=[guilty], at=desk.view.now)
    return Step(
        records=(
            Record(desk.scope(), f"complaint-{signed.sender.hex()}", body),
            Record(desk.scope(), "failed", wire.encode(failure)),
        ),
        progress="complaint",
    )


# beside the round --------------------------------------------------------------------------------------


def on_catch_up_request(desk: Desk, body: bytes) -> Step:
    signed = wire.parse(pb.Signed, body)
    request = opened(signed, "catch-up-request", pb.CatchUpRequest, desk.view.agents)
    peers = [o for o in desk.view.study.roster if o != request.org]
    return Step(send=tuple((peer, "catch-up-request", body) for peer in peers))


def on_catch_up(desk: Desk, body: bytes) -> Step:
    signed = wire.parse(pb.Signed, body)
    answer = opened(signed, "catch-up", pb.CatchUp, desk.view.agents)
    if answer.to not in desk.view.study.roster:
        raise Hostile("catch_up.recipient", "the recipient is not of this study")
    return Step(send=((answer.to, "catch-up", body),))


def on_release(desk: Desk, body: bytes) -> Step:
    """Kept for the sponsor, who fetches it: it is sealed to its key."""
    signed = wire.parse(pb.Signed, body)
    opened(signed, "release", pb.Release, desk.view.agents)
    slot = f"release-{signed.sender.hex()}"
    if desk.records.get(desk.study_scope, slot) is not None:
        return Step()
    return Step(records=(Record(desk.study_scope, slot, body),), progress="released")


RECEIVERS: Mapping[str, Callable[[Desk, bytes], Step]] = {
    "hello": on_hello,
    "ready": on_ready,
    "upload": on_upload,
    "unlock": on_unlock,
    "mask-share": on_mask_share,
    "seal": on_seal,
    "dispute": on_dispute,
    "checked": checking.on_checked,
    "range": checking.on_range,
    "verdict": checking.on_verdict,
    "refusal": on_refusal,
    "complaint": on_complaint,
    "catch-up-request": on_catch_up_request,
    "catch-up": on_catch_up,
    "release": on_release,
    "output": meeting.on_output,
    "job-failed": meeting.on_job_failed,
}


def _once(desk: Desk, kind: str, org: bytes, body: bytes) -> Step:
    """The first one counts; a repeat is dropped, whatever it says."""
    slot = f"{kind}-{org.hex()}"
    if desk.records.get(desk.scope(), slot) is not None:
        return Step()
    return Step(records=(Record(desk.scope(), slot, body),), progress=kind)
