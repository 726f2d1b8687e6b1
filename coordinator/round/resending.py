"""Whom the round waits for, and what to send them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consent_contracts.plan import Plan
from coordinator.round import checking, meeting
from coordinator.round.desk import Desk
from coordinator.round.recovering import held_back
from coordinator.round.words import Step
from protos import wire
from protos.consilium.v1 import round_pb2 as pb

_ANSWERS = (("sum", "seal"), ("locked", "unlock"), ("plan", "upload"), ("hellos", "ready"))


def waiting_for(desk: Desk) -> tuple[str, tuple[bytes, ...]]:
    """``(kind of message awaited, organisations)``."""
    attempt = desk.attempt()
    if attempt is None:
        return "", ()
    if (checked := checking.waiting_for(desk)) is not None:
        return checked
    for asked, answer in _ANSWERS:
        if desk.slot(asked) is not None:
            if answer == "unlock" and desk.facts.committee:
                return "output", meeting.missing(desk)
            got = desk.who(answer)
            return answer, tuple(o for o in desk.greeted() if o not in got)
    got = desk.who("hello") | desk.who("refusal")
    return "hello", tuple(o for o in attempt.members if o not in got)


def resend(desk: Desk) -> Step:
    attempt = desk.attempt()
    if attempt is None or desk.slot("failed") is not None:
        return Step()
    if (letters := checking.again(desk)) is not None:
        return Step(send=letters)
    kind, orgs = waiting_for(desk)
    if kind == "hello":
        task = wire.encode(pb.Task(ctx=attempt.ctx, analysis=attempt.analysis))
        return Step(send=tuple((org, "task", task) for org in orgs))
    if kind == "ready":
        hellos = [pb.Signed.FromString(b) for o, b in desk.got("hello").items() if o in desk.greeted()]
        body = wire.encode(pb.Hellos(ctx_hash=desk.ctx().digest(), hellos=hellos))
        return Step(send=tuple((org, "hellos", body) for org in orgs))
    if kind == "upload":
        return Step(send=tuple((org, "plan", _plan_for(desk, org)) for org in orgs))
    if kind == "output":
        return Step(send=meeting.again(desk, orgs))
    locked = tuple((org, "locked", desk.slot("locked") or b"") for org in orgs)
    if kind == "unlock":
        return Step(send=(*locked, *_recoveries(desk, orgs)))
    if desk.facts.committee:  # nothing answers "locked" there, and the outputs cannot be read without it
        outputs = desk.slot("sum") or b""
        return Step(send=(*locked, *((org, "outputs", outputs) for org in orgs)))
    # One whose mask was recovered meanwhile has not unlocked yet: the lock first.
    unlocked = desk.got("unlock")
    late = tuple(letter for letter in locked if letter[0] not in unlocked)
    return Step(send=(*late, *((org, "sum", desk.slot("sum") or b"") for org in orgs)))


def _recoveries(desk: Desk, missing: tuple[bytes, ...]) -> tuple[tuple[bytes, str, bytes], ...]:
    plan = desk.plan()
    if plan is None:
        raise AssertionError("the plan is recorded")
    lock_id = wire.parse(pb.Locked, desk.slot("locked") or b"").lock_id
    return tuple(
        (peer, "recover", wire.encode(pb.Recover(lock_id=lock_id, org=org)))
        for org, peers in held_back(desk, plan, list(missing)).items()
        for peer in peers
    )


def _plan_for(desk: Desk, org: bytes) -> bytes:
    plan = desk.plan()
    if plan is None:
        raise AssertionError("the plan is recorded")
    ready = {o: wire.parse(pb.Ready, b) for o, b in desk.got("ready").items() if o in plan.orgs}
    boxes = {o: boxes_of(its) for o, its in ready.items()}
    return plan_for(plan, boxes, [ready[o].header for o in plan.orgs], org)


def plan_for(
    plan: Plan,
    boxes: Mapping[bytes, Mapping[bytes, pb.Signed]],
    headers: Sequence[pb.Signed],
    org: bytes,
) -> bytes:
    """The Plan as one hospital gets it: all headers, only its own boxes.

    Args:
        boxes: sender → recipient → box.
    """
    message = pb.Plan(
        ctx_hash=plan.ctx.digest(),
        headers=headers,
        boxes=[boxes[o][org] for o in plan.orgs if o != org],
        lock_by=plan.lock_by,
    )
    return wire.encode(message)


def boxes_of(ready: pb.Ready) -> dict[bytes, pb.Signed]:
    """By recipient."""
    return {pb.Box.FromString(s.payload).to: s for s in ready.boxes}
