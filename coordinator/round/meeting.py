"""The committee's meetings: who is invited with which shares, whose output came, when they meet again.

Rules
* All three get the locked plan, every upload and a number; they meet once for each number.
* A member that cannot finish says so with a code. All are then invited under the next number: at once for a peer
  that is away, after `Rules.answer_s` for anything that a person has to look at.
* The first run of which all three outputs came goes to the hospitals. Outputs are sealed to them.
"""

from __future__ import annotations

from collections.abc import Sequence

from consent_contracts.plan import Plan
from consent_contracts.signed import opened
from consilium_errors import Hostile
from coordinator.round.desk import Desk
from coordinator.round.words import Record, Step
from protos import wire
from protos.consilium.v1 import round_pb2 as pb

#: What passes by itself; met again at once, until `PATIENCE` numbers are used up.
PASSING = ("mpc.silent_peer", "mpc.peer_lost", "mpc.job")
PATIENCE = 50
MOST_RUNS = 16

Send = tuple[tuple[bytes, str, bytes], ...]


def invitations(desk: Desk, plan: Plan, receipts: Sequence[pb.Receipt], lock_id: bytes) -> Send:
    """To each member; nothing without a committee."""
    if not desk.facts.committee:
        return ()
    greeted = [pb.Signed.FromString(body) for org, body in desk.got("hello").items() if org in plan.orgs]
    inputs = pb.Inputs(
        ctx=wire.ctx_to(plan.ctx),
        hellos=greeted,
        headers=[
            pb.Ready.FromString(body).header for org, body in desk.got("ready").items() if org in plan.orgs
        ],
        lock_by=plan.lock_by,
        lock_id=lock_id,
        receipts=receipts,
    )
    uploads = desk.got("upload")
    letters = [
        ("inputs", wire.encode(inputs)),
        *(("share", uploads[org]) for org in plan.orgs),
        ("compute", wire.encode(pb.Compute(lock_id=lock_id, number=number(desk)))),
    ]
    return tuple((member, *letter) for member in desk.facts.committee for letter in letters)


def again(desk: Desk, members: Sequence[bytes]) -> Send:
    """The invitations once more, to those who have not answered."""
    plan, locked = desk.plan(), wire.parse(pb.Locked, desk.slot("locked") or b"")
    if plan is None:
        raise AssertionError("what is locked was planned")
    every = invitations(desk, plan, list(locked.receipts), locked.lock_id)
    return tuple(letter for letter in every if letter[0] in members)


def number(desk: Desk) -> int:
    """Of the meeting at hand."""
    found = desk.records.slots(desk.scope(), "compute-")
    return max((int(slot.removeprefix("compute-")) for slot in found), default=1)


def on_output(desk: Desk, body: bytes) -> Step:
    signed, member = _from_member(desk, body)
    output = opened(signed, "output", pb.Output, {member: member})
    desk.about_the_lock(output.lock_id)
    prefix = f"output-{member.hex()}-"
    known = desk.records.slots(desk.scope(), prefix)
    slot = f"{prefix}{output.run.hex()}"
    if slot in known:
        return Step()
    if len(known) >= MOST_RUNS:
        raise Hostile("output.runs", "a member has sent outputs of too many runs")
    return Step(records=(Record(desk.scope(), slot, body),), progress="output")


def on_job_failed(desk: Desk, body: bytes) -> Step:
    signed, member = _from_member(desk, body)
    failed = opened(signed, "job-failed", pb.JobFailed, {member: member})
    desk.about_the_lock(failed.lock_id)
    if failed.number != number(desk):
        return Step()
    slot = f"job-failed-{failed.number}-{member.hex()}"
    if desk.records.get(desk.scope(), slot) is not None:
        return Step()
    told = desk.view.now.to_bytes(8, "big") + failed.code.encode()
    return Step(records=(Record(desk.scope(), slot, told),), progress=failed.code)


def advance(desk: Desk, plan: Plan) -> Step:
    """Hand out a run that is whole, or meet again."""
    for outputs in _runs(desk).values():
        if set(outputs) == set(desk.facts.committee):
            locked = wire.parse(pb.Locked, desk.slot("locked") or b"")
            message = wire.encode(
                pb.Outputs(
                    lock_id=locked.lock_id,
                    outputs=[pb.Signed.FromString(outputs[member]) for member in desk.facts.committee],
                )
            )
            return Step(
                records=(Record(desk.scope(), "sum", message),),
                send=tuple((org, "outputs", message) for org in plan.orgs),
                progress="outputs",
            )
    return _meet_again(desk)


def missing(desk: Desk) -> tuple[bytes, ...]:
    """Members without an output of the run that most have sent."""
    fullest = max(_runs(desk).values(), key=len, default={})
    return tuple(member for member in desk.facts.committee if member not in fullest)


def _meet_again(desk: Desk) -> Step:
    at_hand = number(desk)
    failures = desk.records.slots(desk.scope(), f"job-failed-{at_hand}-")
    if not failures:
        return Step()
    codes = sorted({body[8:].decode() for body in failures.values()})
    since = min(int.from_bytes(body[:8], "big") for body in failures.values())
    # Where one found a fault, the others see a peer that is gone.
    lasting = [code for code in codes if code not in PASSING]
    wait = desk.rules.answer_s if lasting or at_hand > PATIENCE else desk.rules.retry_s
    if desk.view.now < since + wait:
        if lasting and desk.slot("halted") is None:
            return Step(records=(Record(desk.scope(), "halted", lasting[0].encode()),), progress=lasting[0])
        return Step()
    locked = wire.parse(pb.Locked, desk.slot("locked") or b"")
    message = wire.encode(pb.Compute(lock_id=locked.lock_id, number=at_hand + 1))
    return Step(
        records=(Record(desk.scope(), f"compute-{at_hand + 1}", b"\1"),),
        send=tuple((member, "compute", message) for member in desk.facts.committee),
        progress="compute",
    )


def _runs(desk: Desk) -> dict[str, dict[bytes, bytes]]:
    """Run → member → its signed output."""
    found: dict[str, dict[bytes, bytes]] = {}
    for slot, body in desk.records.slots(desk.scope(), "output-").items():
        _, member, run = slot.split("-")
        found.setdefault(run, {})[bytes.fromhex(member)] = body
    return found


def _from_member(desk: Desk, body: bytes) -> tuple[pb.Signed, bytes]:
    signed = wire.parse(pb.Signed, body)
    if signed.sender not in desk.facts.committee:
        raise Hostile("signed.unknown_sender", "the sender is not of this study's committee")
    return signed, signed.sender
