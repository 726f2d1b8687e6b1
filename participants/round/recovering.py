"""Step 9 for one that died after the lock: its self-mask, from the shares that it gave its peers with Ready.

A share leaves only when the chain's `Recovered` for this lock and this hospital is final, and never before the
holder's own unlock: what may be opened with it is then the locked set and nothing else, and the lock cannot be
abandoned any more. It takes as many holders as a seal takes signatures, which is more than may conspire.
"""

from __future__ import annotations

from contextlib import suppress

from consent_contracts.plan import Plan
from consent_contracts.signed import opened, sign
from consilium_errors import Hostile, Unavailable
from crypto import envelopes
from crypto.secure_sum import sharing
from participants.round import secrets
from participants.round.desk import Desk
from participants.round.words import Record, Step
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb


def on_recover(desk: Desk, body: bytes) -> Step:
    """My share of a missing hospital's self-mask, for the locked set's eyes.

    Raises:
        Unavailable: ``recover.not_final`` while the chain does not show it.
        Hostile: ``recover.lock``, ``recover.org``, ``round.unknown``, ``round.out_of_order``.
    """
    message = wire.parse(pb.Recover, body)
    ctx_hash = desk.find(message.lock_id)
    scope, slot = desk.attempt_scope(ctx_hash), f"mask-share-{message.org.hex()}"
    if (known := desk.records.get(scope, slot)) is not None:
        return Step(send=(("mask-share", known),))
    if desk.unlock(ctx_hash).lock_id != message.lock_id:
        raise Hostile("recover.lock", "this is another lock than the one I opened")
    _check_recovered(desk, message)
    _, upload = desk.planned(ctx_hash)
    share = next((held.secret for held in upload.shares if held.org == message.org), None)
    if share is None:
        raise Hostile("recover.org", "I hold no share of this organisation")
    me = desk.site.org
    key = secrets.share_key(upload.group, message.org, me, message.lock_id)
    answer = pb.MaskShare(
        lock_id=message.lock_id,
        org=me,
        of=message.org,
        sealed=envelopes.seal_once(key, message.lock_id, share),
    )
    signed = wire.encode(sign("mask-share", answer, org=me, key=desk.site.agent))
    return Step(records=(Record(scope, slot, signed),), send=(("mask-share", signed),), progress="mask-share")


def _check_recovered(desk: Desk, message: pb.Recover) -> None:
    lock = desk.view.head.lock
    if lock is None or lock.round != desk.round:
        raise Unavailable("recover.not_final", "the chain does not show this lock")
    if lock.lock_id != message.lock_id or lock.abandoned:
        raise Hostile("recover.lock", "the lock is not the one that the chain holds")
    if message.org not in lock.recovered:
        raise Unavailable("recover.not_final", "the chain does not show this recovery as final yet")


def released_masks(desk: Desk, message: pb.Sum, plan: Plan, group: bytes) -> list[bytes]:
    """The self-mask of every hospital of the set, unlocked by itself or recovered, each as it was promised.

    Raises:
        Hostile: ``sum.unlocks``, ``sum.recovered``, or as a signature, an envelope or a share says.
    """
    said = {s.sender: s for s in message.unlocks}
    recovered = {r.org: r for r in message.recovered}
    given = [*(s.sender for s in message.unlocks), *(r.org for r in message.recovered)]
    if tuple(sorted(given)) != plan.orgs:
        raise Hostile("sum.unlocks", "the self-masks are not those of the locked set")
    wire.ascending((s.sender for s in message.unlocks), "unlocks")
    wire.ascending((r.org for r in message.recovered), "recovered masks")
    found = []
    for header in plan.headers:
        org = header.org
        if org in said:
            mask = unlocked(desk, said[org], message.lock_id, group)
        else:
            mask = joined(desk, pieces(desk, recovered[org], message.lock_id, plan, group), plan)
        if mask is None or digests.mask_hash(plan.ctx.digest(), org, mask) != header.mask_hash:
            raise Hostile("sum.unlocks", "a self-mask is not the promised one")
        found.append(mask)
    if len(set(found)) != len(found):
        raise Hostile("sum.unlocks", "two hospitals show the same self-mask")
    return found


def unlocked(desk: Desk, signed: pb.Signed, lock_id: bytes, group: bytes) -> bytes | None:
    """The self-mask in an unlock; None if it does not open, which is its signer's doing.

    Raises:
        Hostile: ``sum.unlocks`` or as a signature says: it was shown in the wrong place.
    """
    unlock = opened(signed, "unlock", pb.Unlock, desk.view.agents)
    if unlock.lock_id != lock_id:
        raise Hostile("sum.unlocks", "an unlock belongs to another lock")
    with suppress(Hostile):
        return envelopes.open_once(secrets.unlock_key(group, signed.sender, lock_id), lock_id, unlock.sealed)
    return None


def pieces(
    desk: Desk, message: pb.RecoveredMask, lock_id: bytes, plan: Plan, group: bytes
) -> dict[int, bytes]:
    """Holder's number → its share, of those that are as they were dealt; a liar only wastes its own.

    Raises:
        Hostile: ``sum.recovered``, ``wire.order``, or as a signature says.
    """
    lock = desk.view.head.lock
    if lock is None or lock.lock_id != lock_id or message.org not in lock.recovered:
        raise Hostile("sum.recovered", "the chain allows no recovery of this self-mask")
    wire.ascending((s.sender for s in message.shares), "shares")
    header, parties = plan.headers[plan.orgs.index(message.org)], len(plan.orgs)
    found: dict[int, bytes] = {}
    for signed in message.shares:
        share = opened(signed, "mask-share", pb.MaskShare, desk.view.agents)
        holder = signed.sender
        if (share.lock_id, share.of) != (lock_id, message.org) or holder not in plan.orgs:
            raise Hostile("sum.recovered", "a share belongs elsewhere")
        key = secrets.share_key(group, message.org, holder, lock_id)
        place = plan.orgs.index(holder) + 1
        with suppress(Hostile):
            piece = envelopes.open_once(key, lock_id, share.sealed)
            sharing.check_piece(piece, place, parties, header.shares_root)
            found[place] = piece
    return found


def threshold(desk: Desk, plan: Plan) -> int:
    return sharing.threshold_for(len(plan.orgs), desk.view.study.collusion)


def joined(desk: Desk, found: dict[int, bytes], plan: Plan) -> bytes:
    """Raises Hostile ``sharing.too_few``."""
    return sharing.recover(found, threshold(desk, plan))
