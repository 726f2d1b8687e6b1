"""After a dispute: everybody's masked openings to everybody, and what hospitals then find. Blind as ever."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Literal, NamedTuple

from consent_contracts.plan import Plan
from consent_contracts.signed import opened
from consilium_errors import Hostile
from coordinator.round.desk import Desk
from coordinator.round.words import Record, Records, Step
from crypto.commitments import generators_needed, masked
from crypto.envelopes import ONCE_OVERHEAD
from protos import wire
from protos.consilium.v1 import round_pb2 as pb

_VERDICT = "verdict-"
_SIGNED = 256  # bytes around an opening: ids, signature, lengths


def advance(desk: Desk, plan: Plan) -> Step:
    """The next step of the check; empty while there is something to wait for, or nothing disputed."""
    disputes = {org: body for org, body in desk.got("dispute").items() if org in plan.orgs}
    if not disputes or desk.facts.committee or not desk.scheme.masked:
        return Step()
    lock_id = wire.parse(pb.Locked, desk.slot("locked") or b"").lock_id
    if desk.slot("check") is None:
        return _ask(
            desk,
            plan,
            pb.CheckRequest(lock_id=lock_id, disputes=map(pb.Signed.FromString, disputes.values())),
        )
    checked = desk.got("checked")
    if desk.slot("all-checked") is None:
        if any(org not in checked for org in plan.orgs):
            return Step()
        return _tell_all(desk, plan, lock_id, checked)
    return _ranges(desk, plan, lock_id) if desk.slot("ranges") is None else Step()


def _ask(desk: Desk, plan: Plan, request: pb.CheckRequest) -> Step:
    if desk.slot("unchecked") is not None:
        return Step()
    if len(plan.orgs) * (_sealed_bytes(plan) + _SIGNED) > wire.MAX_BLOB:
        return Step(records=(Record(desk.scope(), "unchecked", b"check.size"),), progress="check.size")
    body = wire.encode(request)
    return Step(
        records=(Record(desk.scope(), "check", body),),
        send=tuple((org, "check", body) for org in plan.orgs),
        progress="check",
    )


def _sealed_bytes(plan: Plan) -> int:
    slots: Literal[22, 44] = 22 if plan.fields == 2 else 44
    return masked.size(generators_needed(plan.length, slots), len(plan.orgs) - 1) + ONCE_OVERHEAD


def _tell_all(desk: Desk, plan: Plan, lock_id: bytes, checked: dict[bytes, bytes]) -> Step:
    summed = pb.Sum.FromString(desk.slot("sum") or b"")
    message = pb.CheckedAll(
        lock_id=lock_id,
        checked=[pb.Signed.FromString(checked[org]) for org in plan.orgs],
        unlocks=summed.unlocks,
        recovered=summed.recovered,
    )
    body = wire.encode(message)
    return Step(
        records=(Record(desk.scope(), "all-checked", body),),
        send=tuple((org, "checked-all", body) for org in plan.orgs),
        progress="checked-all",
    )


def _ranges(desk: Desk, plan: Plan, lock_id: bytes) -> Step:
    """All proofs that came; whoever is silent for long is named by the others."""
    got = desk.got("range")
    if not got:
        return Step()
    since = desk.slot("ranging")
    if since is None:
        return Step(records=(Record(desk.scope(), "ranging", desk.view.now.to_bytes(8, "big")),))
    late = desk.view.now >= int.from_bytes(since, "big") + desk.rules.answer_s
    if not late and any(org not in got for org in plan.orgs):
        return Step()
    proofs = [pb.Signed.FromString(got[org]) for org in plan.orgs if org in got]
    body = wire.encode(pb.Ranges(lock_id=lock_id, proofs=proofs))
    return Step(
        records=(Record(desk.scope(), "ranges", body),),
        send=tuple((org, "ranges", body) for org in plan.orgs),
        progress="ranges",
    )


# what comes in ------------------------------------------------------------------------------------------------


def on_checked(desk: Desk, body: bytes) -> Step:
    signed = wire.parse(pb.Signed, body)
    checked = opened(signed, "checked", pb.Checked, desk.members())
    desk.about_the_lock(checked.lock_id)
    plan = desk.plan()
    if plan is None or desk.slot("check") is None:
        raise Hostile("checked.unasked", "nobody asked for this opening")
    if len(checked.sealed) != _sealed_bytes(plan):
        raise Hostile("checked.length", "the opening has another length than the layout")
    return _once(desk, "checked", signed.sender, body)


def on_range(desk: Desk, body: bytes) -> Step:
    signed = wire.parse(pb.Signed, body)
    proof = opened(signed, "range", pb.RangeProof, desk.members())
    desk.about_the_lock(proof.lock_id)
    if desk.slot("all-checked") is None:
        raise Hostile("range.unasked", "nobody asked for this proof")
    return _once(desk, "range", signed.sender, body)


def on_verdict(desk: Desk, body: bytes) -> Step:
    """Kept with the study: who stood against a sum is worth knowing when its round is over."""
    signed = wire.parse(pb.Signed, body)
    verdict = opened(signed, "verdict", pb.Verdict, desk.members())
    desk.about_the_lock(verdict.lock_id)
    if verdict.about not in (_digest(desk, "all-checked"), _digest(desk, "ranges")):
        raise Hostile("verdict.unasked", "a verdict about something else")
    for accused in verdict.accused:
        wire.ascending(accused.orgs, "organisations")
        if not set(accused.orgs) <= set(desk.greeted()):
            raise Hostile("verdict.accused", "who is accused is not of the set")
    slot = _slot(desk, verdict.about, signed.sender)
    if desk.records.get(desk.study_scope, slot) is not None:
        return Step()
    return Step(records=(Record(desk.study_scope, slot, body),), progress="verdict")


def _once(desk: Desk, kind: str, org: bytes, body: bytes) -> Step:
    slot = f"{kind}-{org.hex()}"
    if desk.slot(slot) is not None:
        return Step()
    return Step(records=(Record(desk.scope(), slot, body),), progress=kind)


def _digest(desk: Desk, slot: str) -> bytes:
    return hashlib.sha256(desk.slot(slot) or b"").digest()


def _slot(desk: Desk, about: bytes, org: bytes) -> str:
    return f"{_VERDICT}{desk.round}-{about.hex()[:16]}-{org.hex()}"


# what is shown, and said again --------------------------------------------------------------------------------


class Accusation(NamedTuple):
    """What the hospitals ``by`` signed about one organisation, two, or none."""

    round: int
    code: str
    orgs: tuple[bytes, ...]
    by: tuple[bytes, ...]


def accusations(records: Records, study_scope: str) -> tuple[Accusation, ...]:
    """Of all checks of a study, by round, code and accused."""
    found: defaultdict[tuple[int, str, tuple[bytes, ...]], set[bytes]] = defaultdict(set)
    for slot, body in records.slots(study_scope, _VERDICT).items():
        number = int(slot.removeprefix(_VERDICT).split("-")[0])
        signed = pb.Signed.FromString(body)
        for accused in pb.Verdict.FromString(signed.payload).accused:
            found[number, accused.code, tuple(accused.orgs)].add(signed.sender)
    return tuple(Accusation(*what, tuple(sorted(by))) for what, by in sorted(found.items()))


def waiting_for(desk: Desk) -> tuple[str, tuple[bytes, ...]] | None:
    """What the check waits for, and from whom; None where there is no check, or nothing more to come of it."""
    if desk.slot("check") is None:
        return None
    orgs = desk.greeted()
    if desk.slot("all-checked") is None:
        return "checked", tuple(o for o in orgs if o not in desk.got("checked"))
    done, ranged = set(desk.got("seal")), desk.got("range")
    if desk.slot("ranges") is not None:
        kind, done = "verdict", done | _judged(desk, "ranges")
    elif ranged:
        kind, done = "range", done | set(ranged)
    else:
        kind, done = "seal", done | _judged(desk, "all-checked")
    missing = tuple(o for o in orgs if o not in done)
    return (kind, missing) if missing else None


def _judged(desk: Desk, slot: str) -> set[bytes]:
    """Whose verdict on a message says that no seal of theirs follows."""
    found, about = set(), _digest(desk, slot)
    for org in desk.greeted():
        body = desk.records.get(desk.study_scope, _slot(desk, about, org))
        if body is not None and not pb.Verdict.FromString(pb.Signed.FromString(body).payload).sealed:
            found.add(org)
    return found


def again(desk: Desk) -> tuple[tuple[bytes, str, bytes], ...] | None:
    """To those who have not answered; None where there is no check. One that was away needs the lock first, and
    may still seal by the ciphers' sum."""
    asked = desk.slot("check")
    if asked is None:
        return None
    kind, orgs = waiting_for(desk) or ("", ())
    sealed, unlocked, disputed = desk.got("seal"), desk.got("unlock"), desk.got("dispute")
    letters: list[tuple[bytes, str, bytes]] = []
    for org in orgs:
        if org not in unlocked:
            letters.append((org, "locked", desk.slot("locked") or b""))
        if org not in sealed and org not in disputed:
            letters.append((org, "sum", desk.slot("sum") or b""))
        if kind == "checked":
            letters.append((org, "check", asked))
        elif kind == "verdict":
            letters.append((org, "ranges", desk.slot("ranges") or b""))
        else:
            letters.append((org, "checked-all", desk.slot("all-checked") or b""))
    return tuple(letters)
