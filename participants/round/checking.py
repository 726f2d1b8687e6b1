"""Step 10 after a dispute: the sum from the commitments themselves, or the name of whoever stands against it.

Check → Checked shows this hospital's committed scalars under masks that cancel over the locked set. CheckedAll →
Seal, if all openings hold: their sum is what the ciphers' sum should have been. Else Verdict, which names. Where
all openings hold and the sum is out of range, RangeProof clears this hospital, and Ranges → Verdict names the rest.

Nothing is opened that the lock does not open: a Checked leaves only after this hospital's own unlock, while the
lock lives, and says nothing without those of all others (`crypto.commitments.masked`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import structlog

from consent_contracts.plan import Plan
from consent_contracts.signed import opened, sign
from consilium_errors import Hostile, Misuse, Refused, Unavailable
from crypto import envelopes
from crypto.commitments import Pedersen, masked, ranges
from crypto.commitments.ranges import Range
from participants.round import judging, secrets
from participants.round.desk import Desk, as_fields
from participants.round.judging import Accusation
from participants.round.opening import Opened, seal
from participants.round.words import Fields, Record, Step
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb

VERDICTS = 3  # of one lock: CheckedAll, Ranges, and one spare for a CheckedAll that was mended

log = structlog.get_logger(__name__)


def on_check(desk: Desk, body: bytes) -> Step:
    """My masked opening, for the locked set's eyes; once, and always the same.

    Raises:
        Hostile: ``check.scheme``, ``check.lock``, ``check.dispute``, ``round.unknown``, ``round.out_of_order``.
        Unavailable: ``check.not_final``.
    """
    message = wire.parse(pb.CheckRequest, body)
    ctx_hash = _locked(desk, message.lock_id)
    scope = desk.attempt_scope(ctx_hash)
    if (known := desk.records.get(scope, "checked")) is not None:
        return Step(send=(("checked", known),))
    plan, upload = desk.planned(ctx_hash)
    _check_disputes(desk, message, plan)
    me, pedersen = desk.site.org, _pedersen(desk, plan)
    values, r = _input(desk, plan)
    pairs = [(secrets.checked_pair_key(p.secret, message.lock_id), me < p.org) for p in upload.pairs]
    opening = masked.mask(pedersen, pedersen.scalars(values), r, pairs)
    key = secrets.checked_key(upload.group, me, message.lock_id)
    sealed = envelopes.seal_once(key, message.lock_id, opening.to_bytes())
    answer = pb.Checked(lock_id=message.lock_id, org=me, sealed=sealed)
    signed = wire.encode(sign("checked", answer, org=me, key=desk.site.agent))
    return Step(records=(Record(scope, "checked", signed),), send=(("checked", signed),), progress="checked")


def _locked(desk: Desk, lock_id: bytes) -> bytes:
    """The context of a lock that lives and that I unlocked."""
    if desk.ports.committee or desk.ports.pedersen is None:
        raise Hostile("check.scheme", "the sums of this study have no ciphers that could be garbled")
    ctx_hash = desk.find(lock_id)
    if desk.unlock(ctx_hash).lock_id != lock_id:
        raise Hostile("check.lock", "this is another lock than the one I opened")
    lock = desk.view.head.lock
    if lock is None or lock.round != desk.round:
        raise Unavailable("check.not_final", "the chain does not show this lock")
    if lock.lock_id != lock_id or lock.abandoned:
        raise Hostile("check.lock", "the lock is not the one that the chain holds")
    return ctx_hash


def _check_disputes(desk: Desk, message: pb.CheckRequest, plan: Plan) -> None:
    wire.ascending((s.sender for s in message.disputes), "disputes")
    if not message.disputes:
        raise Hostile("check.dispute", "nobody disputes this sum")
    for signed in message.disputes:
        dispute = opened(signed, "dispute", pb.Dispute, desk.view.agents)
        if dispute.lock_id != message.lock_id or signed.sender not in plan.orgs:
            raise Hostile("check.dispute", "a dispute belongs elsewhere")


def _pedersen(desk: Desk, plan: Plan) -> Pedersen:
    if desk.ports.pedersen is None:
        raise AssertionError("asked for before")
    return desk.ports.pedersen(plan.length, plan.fields)


def _input(desk: Desk, plan: Plan) -> tuple[Fields, int]:
    source = desk.input(plan.ctx.release)
    if source is None:
        raise Hostile("round.out_of_order", "no input of ours precedes this check")
    return as_fields(source.values), int.from_bytes(source.randomness, "big")


# the openings of all ------------------------------------------------------------------------------------------


def on_checked_all(desk: Desk, body: bytes) -> Step:
    """Seal, Verdict or RangeProof.

    Raises:
        Hostile: ``checked.set``, as `on_check`, or as a signature says: the coordinator's doing.
        Refused: ``check.verdicts`` beyond `VERDICTS`. Unavailable: ``check.not_final``.
    """
    message = wire.parse(pb.CheckedAll, body)
    ctx_hash = _locked(desk, message.lock_id)
    scope, about = desk.attempt_scope(ctx_hash), hashlib.sha256(body).digest()
    if known := _said(desk, scope, message.lock_id, about):
        return Step(send=known)
    plan, upload = desk.planned(ctx_hash)
    pedersen = _pedersen(desk, plan)
    unlock = desk.unlock(ctx_hash)
    accused, opening = judging.judge(desk, pedersen, message, plan, upload.group, unlock)
    if opening is None:
        return _judged(desk, message.lock_id, about, accused)
    total, beyond = pedersen.fields(opening.values)
    what = _out_of_field(desk, pedersen, plan, total, beyond)
    if what is None:
        try:
            sealing = _seal(desk, Opened(total, opening.blind, plan, upload.group), unlock)
        except Hostile as error:
            log.warning("checked sum refused", code=error.code)
            what = _out_of_layout(desk, pedersen, plan, total)
            if what is None:
                return _judged(desk, message.lock_id, about, (*accused, Accusation("checked.state")))
        else:
            log.warning("the sum was opened by the check", round=desk.round)
            if not accused and desk.records.get(scope, "dispute-1") is not None:
                accused = (Accusation("sum.unopened"),)
            return _joined(_verdict(desk, message.lock_id, about, accused, sealed=True), sealing)
    return _prove(desk, pedersen, plan, what, message.lock_id, accused)


def _said(desk: Desk, scope: str, lock_id: bytes, about: bytes) -> tuple[tuple[str, bytes], ...]:
    """What I answered already: a seal and a proof are made once for a lock, a verdict once for each message."""
    found: list[tuple[str, bytes]] = []
    for signed, verdict in _verdicts(desk, lock_id):
        if verdict.about == about:
            found.append(("verdict", signed))
    if (known := desk.records.get(scope, "range")) is not None:
        found.append(("range", custody.RangeRecord.FromString(known).message))
    if (known := desk.records.get(scope, "seal")) is not None:
        found.append(("seal", custody.SealRecord.FromString(known).message))
    return tuple(found)


def _seal(desk: Desk, its: Opened, unlock: custody.UnlockRecord) -> Step:
    bits = desk.packing(its.plan.length, its.plan.fields).field_bits
    desk.ports.verify_sum(its.total, bits, its.randomness, its.plan.commitments)
    return seal(desk, its, unlock)


# out of range -------------------------------------------------------------------------------------------------


def _out_of_field(
    desk: Desk, pedersen: Pedersen, plan: Plan, total: Fields, beyond: np.ndarray
) -> Range | None:
    """The first scalar that no sum of fields in range gives."""
    packing = desk.packing(plan.length, plan.fields)
    rows = np.flatnonzero(total > np.uint64(len(plan.orgs) * packing.max_value)) // pedersen.slots
    first = min([*rows[:1].tolist(), *np.flatnonzero(beyond)[:1].tolist()], default=None)
    return None if first is None else Range((first,), packing.value_bits)


def _out_of_layout(desk: Desk, pedersen: Pedersen, plan: Plan, total: Fields) -> Range | None:
    """The first value that the analysis's own bounds refuse."""
    found = desk.ports.analyst.beyond(desk.state().state, total, len(plan.orgs))
    if found is None:
        return None
    fields, most = found
    rows = tuple(sorted({field // pedersen.slots for field in fields}))
    what = Range(rows, desk.packing(plan.length, plan.fields).value_bits, fields, most)
    try:
        what.check(pedersen)
    except Misuse:  # a value wider than the proof can carry
        return None
    return what


def range_context(lock_id: bytes, org: bytes) -> bytes:
    return digests.tagged("range", lock_id, org)


def _prove(
    desk: Desk,
    pedersen: Pedersen,
    plan: Plan,
    what: Range,
    lock_id: bytes,
    accused: Sequence[Accusation],
) -> Step:
    me = desk.site.org
    proof = ranges.prove(pedersen, what, range_context(lock_id, me), _input(desk, plan), desk.ports.random)
    message = pb.RangeProof(lock_id=lock_id, org=me, proof=proof)
    signed = wire.encode(sign("range", message, org=me, key=desk.site.agent))
    record = custody.RangeRecord(
        message=signed,
        rows=what.rows,
        value_bits=what.value_bits,
        limbs=what.limbs,
        most=what.most.to_bytes(32, "big"),
        accused=_told(accused),
    )
    scope = desk.attempt_scope(plan.ctx.digest())
    return Step(
        records=(Record(scope, "range", wire.encode(record)),), send=(("range", signed),), progress="range"
    )


def on_ranges(desk: Desk, body: bytes) -> Step:
    """Who did not prove what I proved.

    Raises:
        Hostile: ``ranges.set``, as `on_check`, or as a signature says.
        Refused: ``check.verdicts``. Unavailable: ``check.not_final``.
    """
    message = wire.parse(pb.Ranges, body)
    ctx_hash = _locked(desk, message.lock_id)
    about = hashlib.sha256(body).digest()
    for signed, verdict in _verdicts(desk, message.lock_id):
        if verdict.about == about:
            return Step(send=(("verdict", signed),))
    mine = desk.records.get(desk.attempt_scope(ctx_hash), "range")
    if mine is None:
        raise Hostile("round.out_of_order", "no proof of ours precedes this message")
    record = custody.RangeRecord.FromString(mine)
    most = int.from_bytes(record.most, "big")
    what = Range(tuple(record.rows), record.value_bits, tuple(record.limbs), most)
    plan, _ = desk.planned(ctx_hash)
    before = tuple(Accusation(a.code, tuple(a.orgs)) for a in record.accused)
    accused = _unproven(desk, plan, what, message) or (Accusation("checked.range"),)
    return _judged(desk, message.lock_id, about, (*before, *accused))


def _unproven(desk: Desk, plan: Plan, what: Range, message: pb.Ranges) -> tuple[Accusation, ...]:
    proofs = {signed.sender: signed for signed in message.proofs}
    wire.ascending((s.sender for s in message.proofs), "proofs")
    if not set(proofs) <= set(plan.orgs):
        raise Hostile("ranges.set", "a proof of one that is not in the set")
    pedersen, accused = _pedersen(desk, plan), []
    for header in plan.headers:
        org = header.org
        if org not in proofs:
            if org != desk.site.org:
                accused.append(Accusation("range.missing", (org,)))
            continue
        shown = opened(proofs[org], "range", pb.RangeProof, desk.view.agents)
        if shown.lock_id != message.lock_id:
            raise Hostile("ranges.set", "a proof belongs to another lock")
        try:
            ranges.verify(pedersen, what, range_context(message.lock_id, org), header.commitment, shown.proof)
        except Hostile:
            accused.append(Accusation("range.proof", (org,)))
    return tuple(accused)


# verdicts -----------------------------------------------------------------------------------------------------


def _verdicts(desk: Desk, lock_id: bytes) -> list[tuple[bytes, pb.Verdict]]:
    found = []
    for number in range(1, VERDICTS + 1):
        if (body := desk.records.get(desk.study_scope, _slot(lock_id, number))) is not None:
            found.append((body, pb.Verdict.FromString(pb.Signed.FromString(body).payload)))
    return found


def _slot(lock_id: bytes, number: int) -> str:
    return f"verdict-{lock_id.hex()}-{number}"


def _told(accused: Sequence[Accusation]) -> list[pb.Accused]:
    return [pb.Accused(code=a.code, orgs=a.orgs) for a in accused]


def _verdict(
    desk: Desk, lock_id: bytes, about: bytes, accused: Sequence[Accusation], *, sealed: bool = False
) -> Step:
    """Kept with the study, since it outlives the round. Empty where there is nothing to say, or enough was said:
    one that signs ever new openings must neither fill a disk nor keep a good sum from being sealed."""
    number = len(_verdicts(desk, lock_id)) + 1
    if not accused or number > VERDICTS:
        return Step()
    me = desk.site.org
    log.warning("verdict", accused=[f"{a.code} {' '.join(o.hex() for o in a.orgs)}".strip() for a in accused])
    verdict = pb.Verdict(
        lock_id=lock_id,
        org=me,
        about=about,
        accused=_told(accused),
        sealed=sealed,
    )
    signed = wire.encode(sign("verdict", verdict, org=me, key=desk.site.agent))
    return Step(
        records=(Record(desk.study_scope, _slot(lock_id, number), signed),),
        send=(("verdict", signed),),
        progress="verdict",
    )


def _judged(desk: Desk, lock_id: bytes, about: bytes, accused: Sequence[Accusation]) -> Step:
    """Nothing but a verdict."""
    step = _verdict(desk, lock_id, about, accused)
    if not step.records:
        raise Refused("check.verdicts", "of this lock enough was judged")
    return step


def _joined(first: Step, second: Step) -> Step:
    return Step(
        records=(*first.records, *second.records),
        send=(*first.send, *second.send),
        progress=second.progress,
    )
