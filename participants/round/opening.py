"""Steps 8 to 12: Locked → Unlock, Sum or Outputs → State → Seal. Only the set that the chain locked is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import structlog

from consent_contracts.plan import Plan, check_receipts, receipts_root
from consent_contracts.signed import sign
from consilium_errors import Hostile, Refused, Unavailable
from crypto import envelopes
from crypto.commitments import Q
from crypto.secure_sum import masks
from participants.round import by_committee, secrets
from participants.round.desk import Desk, as_bytes
from participants.round.recovering import released_masks
from participants.round.uploading import check_fixed_set, set_hash
from participants.round.words import Fields, Record, Step
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb

TRIES = 3

log = structlog.get_logger(__name__)


def on_locked(desk: Desk, body: bytes) -> Step:
    message = wire.parse(pb.Locked, body)
    ctx_hash = desk.find(message.plan_hash)
    scope = desk.attempt_scope(ctx_hash)
    if (known := desk.records.get(scope, "unlock")) is not None:
        said = custody.UnlockRecord.FromString(known).message
        return Step(send=(("unlock", said),) if said else ())
    plan, upload = desk.planned(ctx_hash)
    _check_lock(desk, plan, upload, message)
    check_fixed_set(desk, plan)
    unlocked = custody.UnlockedRecord(
        set_hash=set_hash(plan), inputs_root=plan.inputs_root, plan_hash=plan.plan_hash
    )
    records = _only_this(desk, plan, unlocked)
    signed = b"" if desk.ports.committee else _unlock(desk, message.lock_id, ctx_hash, upload.group)
    record = custody.UnlockRecord(lock_id=message.lock_id, receipts=list(message.receipts), message=signed)
    return Step(
        records=(
            *records,
            Record(scope, "unlock", wire.encode(record)),
            Record(desk.round_scope, f"index-{message.lock_id.hex()}", ctx_hash),
        ),
        send=(("unlock", signed),) if signed else (),
        progress="unlock",
    )


def _unlock(desk: Desk, lock_id: bytes, ctx_hash: bytes, group: bytes) -> bytes:
    """This hospital's self-mask for the holders of the group secret."""
    unlock = pb.Unlock(
        lock_id=lock_id,
        org=desk.site.org,
        sealed=envelopes.seal_once(
            secrets.unlock_key(group, desk.site.org, lock_id), lock_id, desk.ready(ctx_hash).self_mask
        ),
    )
    return wire.encode(sign("unlock", unlock, org=desk.site.org, key=desk.site.agent))


def _check_lock(desk: Desk, plan: Plan, upload: custody.UploadRecord, message: pb.Locked) -> None:
    """The chain's lock is final, it is my plan, and it covers these receipts, mine among them.

    Raises:
        Unavailable: ``lock.not_final`` while the chain does not show it yet.
        Hostile: ``lock.other``, ``lock.receipt``.
    """
    _, lock_id = check_receipts(plan, message.receipts, desk.view.agents)
    if lock_id != message.lock_id:
        raise Hostile("lock.other", "the lock is not made of these receipts")
    lock = desk.view.head.lock
    if lock is None or lock.round != desk.round or lock.attempt < plan.ctx.attempt:
        raise Unavailable("lock.not_final", "the chain does not show this lock as final yet")
    if lock.abandoned or lock.lock_id != lock_id:
        raise Hostile("lock.other", "the chain locked something else")
    mine = pb.Upload.FromString(upload.message)
    receipt = next(r for r in message.receipts if r.org == desk.site.org)
    expected = (hashlib.sha256(mine.ciphertext).digest(), mine.rho_box)
    if (receipt.ciphertext_digest, receipt.rho_box) != expected:
        raise Hostile("lock.receipt", "my own receipt is altered")


def _only_this(desk: Desk, plan: Plan, unlocked: custody.UnlockedRecord) -> list[Record]:
    """One opening for each (round, release); in exact mode one for the round, however it is retried.

    Raises:
        Refused: ``unlock.second_set``.
    """
    dp = desk.view.study.mode == digests.DP or desk.site.leave_site_out
    slot = f"unlocked-{plan.ctx.release if dp else 0}"
    known = desk.records.get(desk.round_scope, slot)
    if known is not None:
        before = custody.UnlockedRecord.FromString(known)
        same = (before.set_hash, before.inputs_root) == (unlocked.set_hash, unlocked.inputs_root)
        if not same:
            raise Refused("unlock.second_set", "another set of this round is already opened")
        records = []
    else:
        records = [Record(desk.round_scope, slot, wire.encode(unlocked)), *_spend(desk, plan.ctx)]
    name = desk.hello(plan.ctx.digest()).analysis
    if desk.records.get(desk.study_scope, f"set-{name}") is None:
        records.append(Record(desk.study_scope, f"set-{name}", unlocked.set_hash))
        if desk.view.study.mode == digests.EXACT:
            # The hospital's own book of openings, over all studies.
            records.append(Record("ledger", f"{desk.study_scope}/{name}", desk.view.now.to_bytes(8, "big")))
    return records


def _spend(desk: Desk, ctx: digests.Ctx) -> list[Record]:
    """The hospital's own book of privacy, over all studies: one entry for each noisy sum that it helps to open."""
    if desk.view.study.mode != digests.DP:
        return []
    body = b"".join(n.to_bytes(8, "big") for n in (ctx.rho, ctx.delta, desk.view.now))
    return [Record("ledger-dp", f"{desk.round_scope}/{ctx.release}", body)]


class Opened(NamedTuple):
    """What a round's sum opened to. ``accepted``: see `Opening` of the protocol; empty under FHE."""

    total: Fields
    randomness: int
    plan: Plan
    group: bytes
    accepted: bytes = b""


def on_sum(desk: Desk, body: bytes) -> Step:
    message = wire.parse(pb.Sum, body)
    if desk.ports.committee:
        raise Hostile("round.kind", "a committee's result comes as outputs")

    def opener(ctx_hash: bytes) -> Opened:
        return Opened(*open_sum(desk, message, ctx_hash))

    return _try(desk, body, message.lock_id, opener)


def on_outputs(desk: Desk, body: bytes) -> Step:
    message = wire.parse(pb.Outputs, body)
    if not desk.ports.committee:
        raise Hostile("round.kind", "this study has no committee")
    by_committee.await_lock(desk, message.lock_id)

    def opener(ctx_hash: bytes) -> Opened:
        plan, upload = desk.planned(ctx_hash)
        total, randomness, accepted = by_committee.open_outputs(desk, message, plan, ctx_hash)
        return Opened(total, randomness, plan, upload.group, accepted)

    return _try(desk, body, message.lock_id, opener)


def _try(desk: Desk, body: bytes, lock_id: bytes, opener: Callable[[bytes], Opened]) -> Step:
    ctx_hash = desk.find(lock_id)
    scope = desk.attempt_scope(ctx_hash)
    if (known := desk.records.get(scope, "seal")) is not None:
        return Step(send=(("seal", custody.SealRecord.FromString(known).message),))
    unlock = desk.unlock(ctx_hash)
    if unlock.lock_id != lock_id:
        raise Hostile("sum.lock", "the sum belongs to another lock than the one I opened")
    digest, marks = hashlib.sha256(body).digest(), []
    for n in range(1, TRIES + 1):
        if (mark := desk.records.get(scope, f"try-{n}")) is not None:
            marks.append(mark)
    if digest not in marks:
        if len(marks) == TRIES:
            raise Refused("sum.tries", "this attempt's sum was refused three times")
        # Written before the key touches the bytes, so that a crash cannot buy a fourth decryption.
        return Step(records=(Record(scope, f"try-{len(marks) + 1}", digest),), again=True)
    return _seal_or_dispute(desk, lock_id, ctx_hash, marks.index(digest) + 1, opener)


def _seal_or_dispute(
    desk: Desk, lock_id: bytes, ctx_hash: bytes, number: int, opener: Callable[[bytes], Opened]
) -> Step:
    scope = desk.attempt_scope(ctx_hash)
    if (known := desk.records.get(scope, f"dispute-{number}")) is not None:
        return Step(send=(("dispute", known),))
    try:
        return seal(desk, opener(ctx_hash), desk.unlock(ctx_hash))
    except Hostile as error:
        # One code for every cause: a crafted sum must not learn why it failed. The cause stays at home.
        log.warning("sum refused", code=error.code)
        dispute = pb.Dispute(lock_id=lock_id, org=desk.site.org, code="sum.refused")
        signed = wire.encode(sign("dispute", dispute, org=desk.site.org, key=desk.site.agent))
        return Step(
            records=(Record(scope, f"dispute-{number}", signed),),
            send=(("dispute", signed),),
            progress="dispute",
        )


def open_sum(desk: Desk, message: pb.Sum, ctx_hash: bytes) -> tuple[Fields, int, Plan, bytes]:
    """The opened and verified sum, its randomness, the plan and the group secret.

    Raises:
        Hostile: the sum, an unlock or the ciphertext is not what the locked set makes.
    """
    plan, upload = desk.planned(ctx_hash)
    self_masks = released_masks(desk, message, plan, upload.group)
    packing = desk.packing(plan.length, plan.fields)
    scheme = desk.ports.scheme
    if len(message.total) != scheme.total_size(packing.coefficients):
        raise Hostile("ciphertext.length", "the sum has another length than the layout")
    coefficients = _decrypted(desk, secrets.cipher_seed(upload.group), message.total, packing.coefficients)
    if scheme.masked:
        keys = [secrets.self_mask_key(b, plan.plan_hash) for b in self_masks]
        coefficients = masks.apply(coefficients, masks.mask([], keys, len(coefficients)))
    total = packing.unpack(coefficients)
    packing.check_total(total, len(plan.orgs))
    randomness = _randomness(desk, plan, upload.group, self_masks, ctx_hash)
    bits = packing.field_bits
    desk.ports.verify_sum(total, bits, randomness, plan.commitments)
    return total, randomness, plan, upload.group


def _decrypted(desk: Desk, seed: bytes, total: bytes, m: int) -> Fields:
    """A decryptor that dies once may have been killed from outside, for want of memory say; twice, it is the sum."""
    try:
        return desk.ports.open_total(seed, total, m)
    except Hostile as error:
        if error.code != "ciphertext.crashed_decryptor":
            raise
    return desk.ports.open_total(seed, total, m)


def _randomness(desk: Desk, plan: Plan, group: bytes, self_masks: list[bytes], ctx_hash: bytes) -> int:
    total = 0
    for receipt, self_mask in zip(desk.unlock(ctx_hash).receipts, self_masks, strict=True):
        key = secrets.rho_key(group, self_mask, plan.plan_hash)
        rho = envelopes.open_once(key, plan.plan_hash, receipt.rho_box)
        total += int.from_bytes(rho, "big")
    return total % Q


def seal(desk: Desk, its: Opened, unlock: custody.UnlockRecord) -> Step:
    """The next state and this hospital's signature under it.

    Raises:
        Hostile: the analysis refuses the total, because no honest hospitals give it.
    """
    plan, group, total = its.plan, its.group, its.total
    ctx, held = plan.ctx, desk.state()
    source = desk.input(ctx.release)
    if source is None:
        raise Hostile("round.out_of_order", "no input of ours precedes this sum")
    parties = sum(its.accepted) if its.accepted else len(plan.orgs)
    moved = desk.ports.analyst.move(held.state, total, parties)
    salt, total_bytes, r = secrets.salt(group), as_bytes(total), its.randomness.to_bytes(32, "big")
    if desk.view.head.lock is None:
        raise Unavailable("lock.not_final", "the chain does not show the lock")
    made = digests.Seal(
        lock_id=unlock.lock_id,
        plan_hash=plan.plan_hash,
        receipts_root=receipts_root(unlock.receipts),
        state_before=ctx.state_commit,
        state_after=digests.state_commit(salt, moved.state),
        result_hash=digests.result_hash(salt, total_bytes, r, its.accepted),
        rho=ctx.rho,
        delta=ctx.delta,
        method=_method(desk, held.state),
        params=digests.tagged("params", source.params),
        code_hash=ctx.code_hash,
        prev_seal=ctx.prev_seal,
    )
    seal_id = made.digest(digests.ledger_domain(ctx))
    share = pb.SealShare(
        seal=wire.seal_to(made),
        org=desk.site.org,
        signature=desk.site.agent.sign(seal_id),
        next_analysis=moved.next_analysis,
    )
    signed = wire.encode(sign("seal", share, org=desk.site.org, key=desk.site.agent))
    record = custody.SealRecord(
        seal=wire.seal_to(made),
        seal_id=seal_id,
        state=moved.state,
        salt=salt,
        sum=total_bytes,
        randomness=r,
        next_analysis=moved.next_analysis,
        message=signed,
        accepted=its.accepted,
    )
    scope = desk.attempt_scope(ctx.digest())
    return Step(
        records=(
            Record(scope, "seal", wire.encode(record)),
            # Never two seals for one lock: the second write of this slot would be refused.
            Record(desk.round_scope, f"sealed-{unlock.lock_id.hex()}", seal_id),
            Record(desk.round_scope, f"index-{seal_id.hex()}", ctx.digest()),
            Record(desk.round_scope, f"outcome-{ctx.release}", digests.tagged("outcome", moved.state)),
            *_accepted(desk, its),
        ),
        send=(("seal", signed),),
        progress="seal",
    )


def _method(desk: Desk, state: bytes) -> bytes:
    if desk.ports.committee:
        return desk.ports.analyst.shared(state).rule.method_id
    return desk.ports.scheme.method_id


def _accepted(desk: Desk, its: Opened) -> list[Record]:
    """What the first result of an exact analysis was made of; later ones may not be made of others."""
    slot = by_committee.accepted_slot(desk, its.plan.ctx.digest())
    if not its.accepted or desk.records.get(desk.study_scope, slot) is not None:
        return []
    orgs = (org for org, yes in zip(its.plan.orgs, its.accepted, strict=True) if yes)
    return [Record(desk.study_scope, slot, b"".join(orgs))]
