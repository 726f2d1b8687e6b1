"""Steps 13 and 14, and what stands beside a round: settling on the chain's word, catch-up, release."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from consent_contracts.signed import opened, sign, verify_typed
from consilium_errors import Hostile, Refused
from crypto import envelopes
from participants.round.desk import Desk
from participants.round.words import Record, Step
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb


def settle(desk: Desk) -> Step:
    """Make the chain's last seal ours: adopt our state, or ask a peer for it.

    Safe to call at any time; does nothing once everything is settled.

    Raises:
        Refused: ``round.forked`` once a state was attested that is not the one we sealed.
    """
    head = desk.view.head
    if desk.records.get(desk.study_scope, "forked") is not None:
        raise Refused("round.forked", "another state than ours was attested", "ask for an inquiry")
    if head.attested == 0 or desk.held(head.attested) is not None:
        return Step()
    past = replace(desk, at=head.attested)
    ctx_hash = desk.records.get(past.round_scope, f"index-{head.tip.hex()}")
    if ctx_hash is None:
        return _catch_up_request(past)
    record = custody.SealRecord.FromString(_need(past, past.attempt_scope(ctx_hash), "seal"))
    held = pb.StateHandover(state=record.state, salt=record.salt)
    return Step(
        records=(
            Record(desk.study_scope, f"state-{head.attested}", wire.encode(held)),
            Record(desk.study_scope, f"round-{head.attested}", _public_part(past, ctx_hash, record)),
            Record(desk.study_scope, f"opening-{head.attested}", _opening(record)),
        ),
        forget=(past.round_scope,),
        progress="settled",
    )


def _need(desk: Desk, scope: str, slot: str) -> bytes:
    body = desk.records.get(scope, slot)
    if body is None:
        raise AssertionError(f"{slot} was recorded with its index")
    return body


def _public_part(desk: Desk, ctx_hash: bytes, record: custody.SealRecord) -> bytes:
    upload, hello, unlock = desk.upload(ctx_hash), desk.hello(ctx_hash), desk.unlock(ctx_hash)
    sealed = pb.SealedRound(
        ctx=hello.ctx,
        headers=list(upload.headers),
        lock_by=upload.lock_by,
        receipts=list(unlock.receipts),
        shares=[pb.Signed.FromString(record.message)],
    )
    return wire.encode(sealed)


def _opening(record: custody.SealRecord) -> bytes:
    """Without the states before and after, which are records of their own; `bundles.openings` puts them in."""
    opening = pb.Opening(
        seal_id=record.seal_id, sum=record.sum, randomness=record.randomness, accepted=record.accepted
    )
    return wire.encode(opening)


# the others' signatures, for the bundle ----------------------------------------------------------------


def on_attested(desk: Desk, body: bytes) -> Step:
    """Keep the other hospitals' signatures of the last seal."""
    message = wire.parse(pb.Attested, body)
    head = desk.view.head
    slot = f"shares-{head.attested}"
    desk.await_seal(message.seal_id)
    if message.seal_id != head.tip or desk.records.get(desk.study_scope, slot) is not None:
        return Step()
    wire.ascending((s.sender for s in message.shares), "organisations")
    for signed in message.shares:
        share = opened(signed, "seal", pb.SealShare, desk.view.agents)
        verify_typed(head.tip, share.signature, signed.sender, desk.view.agents)
    return Step(records=(Record(desk.study_scope, slot, body),))


# catch-up ----------------------------------------------------------------------------------------------


def _catch_up_request(past: Desk) -> Step:
    head = past.view.head
    slot = f"catch-up-{head.attested}"
    if (known := past.records.get(past.study_scope, slot)) is not None:
        return Step(send=(("catch-up-request", custody.HelloRecord.FromString(known).message),))
    secret, public = past.ports.generate_hpke()
    request = pb.CatchUpRequest(study=past.facts.study, org=past.site.org, seal_id=head.tip, hpke_key=public)
    message = wire.encode(sign("catch-up-request", request, org=past.site.org, key=past.site.agent))
    record = custody.HelloRecord(hpke_secret=secret, message=message)
    return Step(
        records=(Record(past.study_scope, slot, wire.encode(record)),),
        send=(("catch-up-request", message),),
        progress="behind",
    )


def handover_info(study: bytes, seal_id: bytes, sender: bytes, recipient: bytes) -> bytes:
    return digests.tagged("catch-up", study, seal_id, sender, recipient)


def on_catch_up_request(desk: Desk, body: bytes) -> Step:
    """Hand the attested state to a hospital of the roster that has lost or missed it."""
    signed = wire.parse(pb.Signed, body)
    request = opened(signed, "catch-up-request", pb.CatchUpRequest, desk.view.agents)
    head, me = desk.view.head, desk.site.org
    desk.await_seal(request.seal_id)
    held = desk.held(head.attested)
    ours = (request.study, request.seal_id) == (desk.facts.study, head.tip)
    if not ours or held is None or request.org == me:
        return Step()
    sealed = envelopes.seal(
        request.hpke_key,
        handover_info(request.study, head.tip, me, request.org),
        wire.encode(held),
    )
    answer = pb.CatchUp(study=request.study, org=me, to=request.org, seal_id=head.tip, sealed=sealed)
    message = wire.encode(sign("catch-up", answer, org=me, key=desk.site.agent))
    return Step(send=(("catch-up", message),))


def on_catch_up(desk: Desk, body: bytes) -> Step:
    """Adopt a peer's state if it is what the chain's seal commits to, and forget the round's secrets.

    If it is not the state that we sealed ourselves, we follow no longer: it needs a person.

    Raises:
        Hostile: ``catch_up.state``.
    """
    signed = wire.parse(pb.Signed, body)
    answer = opened(signed, "catch-up", pb.CatchUp, desk.view.agents)
    head, me = desk.view.head, desk.site.org
    known = desk.records.get(desk.study_scope, f"catch-up-{head.attested}")
    wanted = (answer.study, answer.seal_id, answer.to) == (desk.facts.study, head.tip, me)
    if known is None or not wanted or desk.held(head.attested) is not None:
        return Step()
    plain = envelopes.open_sealed(
        custody.HelloRecord.FromString(known).hpke_secret,
        handover_info(answer.study, head.tip, answer.org, me),
        answer.sealed,
    )
    held = wire.parse(pb.StateHandover, plain)
    if digests.state_commit(held.salt, held.state) != head.state_commit:
        raise Hostile("catch_up.state", "the state handed over is not the attested one")
    past = replace(desk, at=head.attested)
    if _sealed_otherwise(past, held.state):
        return Step(records=(Record(desk.study_scope, "forked", head.tip),), progress="forked")
    record = Record(desk.study_scope, f"state-{head.attested}", plain)
    return Step(records=(record,), forget=(past.round_scope,), progress="caught up")


def _sealed_otherwise(past: Desk, state: bytes) -> bool:
    """Where a release can be retried with fresh noise or another set, an outcome of ours may lawfully be dead."""
    if past.view.study.mode == digests.DP or past.site.leave_site_out:
        return False
    mine = past.records.get(past.round_scope, "outcome-1")
    return mine is not None and mine != digests.tagged("outcome", state)


# release -----------------------------------------------------------------------------------------------


def release_info(study: bytes, seal_ids: list[bytes], sender: bytes) -> bytes:
    return digests.tagged("release", study, sender, *seal_ids)


def release(desk: Desk, result: bytes, recipient_key: bytes, seal_ids: list[bytes]) -> Step:
    """Seal the study's result to the key that the study registered for its sponsor.

    Args:
        result: canonical JSON, after disclosure control.

    Raises:
        Refused: ``release.unfinished``. Hostile: ``release.recipient`` for any other key.
    """
    if (known := desk.records.get(desk.study_scope, "release")) is not None:
        return Step(send=(("release", known),))
    if desk.ports.analyst.current(desk.state().state):
        raise Refused("release.unfinished", "the study is not finished")
    fingerprint = hashlib.sha256(recipient_key).digest()
    if fingerprint != desk.view.study.sponsor_key:
        raise Hostile("release.recipient", "not the key that the study registered")
    me = desk.site.org
    message = pb.Release(
        study=desk.facts.study,
        org=me,
        recipient=fingerprint,
        seal_ids=seal_ids,
        sealed=envelopes.seal(recipient_key, release_info(desk.facts.study, seal_ids, me), result),
    )
    signed = wire.encode(sign("release", message, org=me, key=desk.site.agent))
    return Step(
        records=(Record(desk.study_scope, "release", signed),),
        send=(("release", signed),),
        progress="released",
    )
