"""Steps 5 and 6: Plan → Upload, or a Complaint that shows the secret of a dead attempt."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from consent_contracts.plan import Plan, open_box
from consent_contracts.signed import opened, sign
from consilium_errors import Hostile, Refused
from crypto import envelopes
from crypto.secure_sum import masks
from participants.round import by_committee, secrets
from participants.round.desk import Desk, as_fields
from participants.round.joining import check_company
from participants.round.words import Record, Step
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb

MAX_LOCK_WAIT = 7 * 86_400


class Boxes(NamedTuple):
    """What the peers sent me: every g in the order of organisations, mine among them; the rest by peer."""

    gs: list[bytes]
    pairs: dict[bytes, bytes]
    shares: dict[bytes, bytes]


class BadBoxError(Exception):
    def __init__(self, box: pb.Signed) -> None:
        self.box = box


def on_plan(desk: Desk, body: bytes) -> Step:
    message = wire.parse(pb.Plan, body)
    ctx_hash = message.ctx_hash
    scope = desk.attempt_scope(ctx_hash)
    if (known := desk.records.get(scope, "upload")) is not None:
        return Step(send=(("upload", custody.UploadRecord.FromString(known).message),))
    if (known := desk.records.get(scope, "complaint")) is not None:
        return Step(send=(("complaint", known),))
    hello, ready = desk.hello(ctx_hash), desk.ready(ctx_hash)
    plan = desk.check(hello.ctx, message.headers, message.lock_by)
    _check_plan(desk, plan, ready, message)
    try:
        boxes = _open_boxes(desk, plan, hello, ready, message)
    except BadBoxError as bad:
        return _complain(desk, ctx_hash, hello, bad.box)
    desk.check_consent()
    return _upload(desk, plan, ready, message, boxes)


def _check_plan(desk: Desk, plan: Plan, ready: custody.ReadyRecord, message: pb.Plan) -> None:
    own = pb.Ready.FromString(ready.message).header
    if own not in list(message.headers):
        raise Hostile("plan.mine", "my own ready header is missing or altered")
    if plan.headers[0].hellos_hash != ready.hellos_hash:
        raise Hostile("plan.hellos", "the plan stands on other hellos than mine")
    # Whoever said hello holds a box with every g. One left out would have the key of a sum it is no part of.
    if set(plan.orgs) != {signed.sender for signed in ready.hellos}:
        raise Hostile("plan.set", "the plan is not made of those who said hello")
    check_company(desk, plan.orgs)
    if not desk.view.now < message.lock_by <= desk.view.now + MAX_LOCK_WAIT:
        raise Hostile("plan.deadline", "the deadline of the lock has passed or is too far away")
    desk.ports.check_commitments(plan.commitments)
    check_fixed_set(desk, plan)


def check_fixed_set(desk: Desk, plan: Plan) -> None:
    """In exact mode an analysis keeps the set of its first opening; a difference of sets shows a hospital.

    Raises:
        Refused: ``set.changed``.
    """
    if desk.view.study.mode == digests.DP:
        return
    name = desk.hello(plan.ctx.digest()).analysis
    fixed = desk.records.get(desk.study_scope, f"set-{name}")
    agreed = all(use.leave_site_out for use in plan.uses)
    if fixed is not None and fixed != set_hash(plan) and not agreed:
        raise Refused("set.changed", "an exact analysis keeps the set of its first opening")


def set_hash(plan: Plan) -> bytes:
    """The datasets, in the versions used; a consent given anew does not change the set."""
    return digests.tagged("set", *(u.dataset + u.version.to_bytes(4, "big") for u in plan.uses))


def _open_boxes(
    desk: Desk, plan: Plan, hello: custody.HelloRecord, ready: custody.ReadyRecord, message: pb.Plan
) -> Boxes:
    me, ctx_hash = desk.site.org, message.ctx_hash
    boxes = {signed.sender: signed for signed in message.boxes}
    if [s.sender for s in message.boxes] != [o for o in plan.orgs if o != me]:
        raise Hostile("plan.boxes", "the boxes are not those of the planned hospitals")
    found, place = Boxes([], {}, {}), (plan.orgs.index(me) + 1, len(plan.orgs))
    opener = envelopes.Opener(hello.hpke_secret)
    for header in plan.headers:
        if header.org == me:
            found.gs.append(ready.g)
            continue
        signed = boxes[header.org]
        box = opened(signed, "box", pb.Box, desk.view.agents)
        if (box.ctx_hash, box.to, box.hellos_hash) != (ctx_hash, me, ready.hellos_hash):
            raise Hostile("plan.boxes", "a box was made for another recipient or attempt")
        try:
            content = open_box(opener, box, header, place)
        except Hostile:
            raise BadBoxError(signed) from None
        found.gs.append(content.g)
        found.pairs[header.org], found.shares[header.org] = content.pair, content.piece
    return found


def _complain(desk: Desk, ctx_hash: bytes, hello: custody.HelloRecord, box: pb.Signed) -> Step:
    """The box is signed, so whoever reads the complaint sees which side lied."""
    complaint = pb.Complaint(
        ctx_hash=ctx_hash,
        org=desk.site.org,
        against=box.sender,
        hpke_secret=hello.hpke_secret,
        box=box,
    )
    message = wire.encode(sign("complaint", complaint, org=desk.site.org, key=desk.site.agent))
    record = Record(desk.attempt_scope(ctx_hash), "complaint", message)
    return Step(records=(record,), send=(("complaint", message),), progress="complaint")


def _upload(
    desk: Desk,
    plan: Plan,
    ready: custody.ReadyRecord,
    message: pb.Plan,
    boxes: Boxes,
) -> Step:
    me, ports = desk.site.org, desk.ports
    source = desk.input(plan.ctx.release)
    if source is None:
        raise Hostile("round.out_of_order", "no input of ours precedes this plan")
    group = secrets.group_secret(boxes.gs, plan.plan_hash)
    keys: dict[bytes, bytes] = {}
    if ports.committee:
        ciphertext, rho_box = by_committee.share(desk, plan, source)
    else:
        mine = {pair.org: pair.secret for pair in ready.pairs}
        keys = secrets.pair_keys(me, mine, boxes.pairs, plan.plan_hash)
        ciphertext, rho_box = _encrypt(desk, plan, ready, source, group, secrets.signs(me, keys))
    upload_hash = digests.upload_hash(hashlib.sha256(ciphertext).digest(), rho_box)
    digest = digests.receipt_digest(digests.ledger_domain(plan.ctx), plan.plan_hash, me, upload_hash)
    upload = wire.encode(
        pb.Upload(
            plan_hash=plan.plan_hash,
            org=me,
            ciphertext=ciphertext,
            rho_box=rho_box,
            signature=desk.site.agent.sign(digest),
        )
    )
    record = custody.UploadRecord(
        plan_hash=plan.plan_hash,
        group=group,
        headers=list(message.headers),
        lock_by=message.lock_by,
        message=upload,
        shares=[custody.PairSecret(org=o, secret=s) for o, s in sorted(boxes.shares.items())],
        pairs=[custody.PairSecret(org=o, secret=k) for o, k in keys.items()],
    )
    return Step(
        records=(
            Record(desk.attempt_scope(message.ctx_hash), "upload", wire.encode(record)),
            Record(desk.round_scope, f"index-{plan.plan_hash.hex()}", message.ctx_hash),
        ),
        send=(("upload", upload),),
        progress="upload",
    )


def _encrypt(
    desk: Desk,
    plan: Plan,
    ready: custody.ReadyRecord,
    source: custody.InputRecord,
    group: bytes,
    pairs: tuple[list[bytes], list[bytes]],
) -> tuple[bytes, bytes]:
    """The ciphertext, and the blinded randomness sealed under the own self-mask."""
    ports, (add, subtract) = desk.ports, pairs
    packed = desk.packing(plan.length, source.fields).pack(as_fields(source.values))
    if ports.scheme.masked:
        own = secrets.self_mask_key(ready.self_mask, plan.plan_hash)
        packed = masks.apply(packed, masks.mask([*add, own], subtract, len(packed)))
    ciphertext = ports.scheme.encrypt(secrets.cipher_seed(group), packed)
    rho = secrets.blinded(int.from_bytes(source.randomness, "big"), add, subtract)
    key = secrets.rho_key(group, ready.self_mask, plan.plan_hash)
    return ciphertext, envelopes.seal_once(key, plan.plan_hash, rho.to_bytes(32, "big"))
