"""What a member decides: pure functions of its records, one letter and one view of the chain.

Rules
* Nothing is stored for a lock that is not final on the member's own nodes, and not of plan, hellos and receipts as
  they hash to it. The opening is computed after, so a revocation before the lock stops it.
* A share is stored when its bytes are those that the hospital's receipt names.
* For each number the three meet once. What a meeting came to, an output or a code, is recorded with the letter
  that says it; a killed process meets again under the same number, or under the next when it is told one.
* When the chain shows the round's seal, everything of the round is forgotten but which hospitals the analysis's
  first result was made of.

Scopes: ``<study>`` (what the first result of an analysis was made of), ``<study>/<round>/<lock>`` (inputs, shares,
meetings), ``<study>/<round>/release-<k>`` (the job's journal, see `crypto.mpc.job`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from analytics.study import StudySpec
from consent_contracts.chain import HeadView, StudyView
from consent_contracts.plan import Plan, check_hellos, check_plan, check_receipts
from consent_contracts.signed import sign
from consilium_errors import Hostile, Refused, Unavailable
from crypto.identity import AgentKey
from participants.committee.terms import rule_of, terms_of
from participants.round.words import Record, Records, Step
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb


@dataclass(frozen=True)
class View:
    """One final view of the chain, agreed by the member's own nodes."""

    study: StudyView
    head: HeadView
    agents: Mapping[bytes, bytes]


@dataclass(frozen=True)
class Seat:
    """Who this member is, and the code it runs."""

    key: AgentKey
    code_hash: bytes

    @property
    def org(self) -> bytes:
        return self.key.address


@dataclass(frozen=True)
class Locked:
    """Inputs that are what the chain locked."""

    spec: StudySpec
    plan: Plan
    lock_id: bytes
    receipts: tuple[pb.Receipt, ...]
    readers: Mapping[bytes, bytes]  # hospital → the HPKE key of its hello

    @property
    def scope(self) -> str:
        return lock_scope(self.plan.ctx.study, self.plan.ctx.round, self.lock_id)

    @property
    def analysis(self) -> str:
        """Name of the analysis.

        Raises:
            Hostile: ``task.analysis`` for one that the spec does not have.
        """
        for entry in self.spec.analysis:
            if digests.analysis_id(entry.id) == self.plan.ctx.analysis:
                return entry.id
        raise Hostile("task.analysis", "the study has no such analysis")


def check_offer(offer: pb.StudyOffer, spec: StudySpec, on_chain: StudyView, org: bytes, key: bytes) -> None:
    """A study is served if the chain pins it and it names this member with this key.

    Raises:
        Hostile: ``offer.unpinned``. Refused: ``offer.not_invited``.
    """
    if spec.spec_hash != on_chain.spec_hash:
        raise Hostile("offer.unpinned", "the chain knows another spec")
    if (org, key) not in [(member.address, member.key) for member in spec.committee]:
        raise Refused("offer.not_invited", "this study's committee does not name us with our key")


def on_inputs(spec: StudySpec, body: bytes, seat: Seat, records: Records, view: View) -> Step:
    message = wire.parse(pb.Inputs, body)
    locked = check_inputs(spec, message, view)
    if locked.plan.ctx.code_hash != seat.code_hash:
        raise Refused("task.code", "the study runs other code than is installed here")
    rule = rule_of(spec, locked.analysis)
    terms_of(
        rule,
        [m.address for m in spec.committee],
        locked.plan,
        locked.lock_id,
        locked.receipts,
        view.study.min_sites,
        None,
    )
    if records.get(locked.scope, "inputs") is not None:
        return Step()
    plan = Record(locked.scope, "plan", locked.plan.plan_hash)
    return Step(records=(plan, Record(locked.scope, "inputs", body)), progress="inputs")


def check_inputs(spec: StudySpec, message: pb.Inputs, view: View) -> Locked:
    """What the message says, if it is what the chain locked.

    Raises:
        Unavailable: ``lock.not_final`` while the chain does not show the lock.
        Hostile: ``lock.other``, ``task.context``, ``plan.*``, ``hellos.set``, ``signed.*``, ``signature.*``.
    """
    ctx = wire.ctx_from(message.ctx)
    lock = view.head.lock
    if ctx.round == view.head.attested + 1 and (lock is None or lock.attempt < ctx.attempt):
        raise Unavailable("lock.not_final", "the chain does not show this lock as final yet")
    plan = check_plan(ctx, message.headers, message.lock_by, view.agents)
    _, lock_id = check_receipts(plan, message.receipts, view.agents)
    of_chain = None if lock is None or lock.abandoned else lock.lock_id
    if of_chain != lock_id or lock_id != message.lock_id:
        raise Hostile("lock.other", "the chain locked something else")
    if ctx.spec_hash != spec.spec_hash or not set(plan.orgs) <= set(view.study.roster):
        raise Hostile("task.context", "the lock belongs to another study")
    hellos, hellos_hash = check_hellos(message.hellos, ctx.digest(), view.agents)
    if tuple(hellos) != plan.orgs or plan.headers[0].hellos_hash != hellos_hash:
        raise Hostile("hellos.set", "the hellos are not those that the plan stands on")
    for header, receipt in zip(plan.headers, message.receipts, strict=True):
        if receipt.rho_box != header.commitment:
            raise Hostile("lock.receipt", "a receipt names another commitment than the plan")
    readers = {org: bytes(hello.hpke_key) for org, hello in hellos.items()}
    return Locked(spec, plan, lock_id, tuple(message.receipts), readers)


def on_share(study: bytes, body: bytes, records: Records, view: View) -> Step:
    message = wire.parse(pb.Upload, body)
    scope, inputs = _at_hand(study, records, view)
    if records.get(scope, "plan") != message.plan_hash:
        raise Hostile("lock.other", "the message belongs to another lock")
    receipt = next((r for r in inputs.receipts if r.org == message.org), None)
    if receipt is None or hashlib.sha256(message.ciphertext).digest() != receipt.ciphertext_digest:
        raise Hostile("share.receipt", "these are not the bytes that the hospital signed")
    slot = f"share-{message.org.hex()}"
    if records.get(scope, slot) is not None:
        return Step()
    return Step(records=(Record(scope, slot, message.ciphertext),), progress="share")


def on_compute(study: bytes, body: bytes, records: Records, view: View) -> Step:
    message = wire.parse(pb.Compute, body)
    scope, _ = _at_hand(study, records, view, message.lock_id)
    slot = f"compute-{message.number}"
    if not 1 <= message.number <= 1 << 20:
        raise Hostile("compute.number", "the number is out of range")
    if records.get(scope, slot) is not None:
        return Step(send=_said(records, scope, message.number))
    return Step(records=(Record(scope, slot, b"\1"),), progress="compute")


def _said(records: Records, scope: str, number: int) -> tuple[tuple[str, bytes], ...]:
    """What this number came to, for a coordinator that asks again."""
    for kind in ("output", "job-failed"):
        if (known := records.get(scope, f"{kind}-{number}")) is not None:
            return ((kind, known),)
    return ()


def _at_hand(
    study: bytes, records: Records, view: View, lock_id: bytes | None = None
) -> tuple[str, pb.Inputs]:
    """Scope and inputs of the chain's lock.

    Args:
        lock_id: the lock that the message is about, if it says so.

    Raises:
        Unavailable: ``inputs.awaited``. Hostile: ``lock.other``.
    """
    lock = view.head.lock
    if lock is None:
        raise Unavailable("inputs.awaited", "the chain has not told us of this lock yet")
    if lock.abandoned or lock_id not in (None, lock.lock_id):
        raise Hostile("lock.other", "the message belongs to another lock, or to an abandoned one")
    scope = lock_scope(study, lock.round, lock.lock_id)
    inputs = records.get(scope, "inputs")
    if inputs is None:
        raise Unavailable("inputs.awaited", "the coordinator has not told us of this lock yet")
    return scope, pb.Inputs.FromString(inputs)


def lock_scope(study: bytes, round_: int, lock_id: bytes) -> str:
    return f"{study.hex()}/{round_}/{lock_id.hex()}"


@dataclass(frozen=True)
class Due:
    """A meeting to go to."""

    study: bytes
    round: int
    lock_id: bytes
    number: int


def due(study: bytes, numbers: Mapping[str, bytes], records: Records, view: View) -> Due | None:
    """The latest meeting of the chain's lock that came to nothing yet, once every share is here.

    Args:
        numbers: slots ``compute-…`` of the lock's scope.
    """
    lock = view.head.lock
    if lock is None or lock.abandoned or lock.round != view.head.attested + 1 or not numbers:
        return None
    scope = lock_scope(study, lock.round, lock.lock_id)
    body = records.get(scope, "inputs")
    if body is None:
        return None
    orgs = [receipt.org for receipt in pb.Inputs.FromString(body).receipts]
    if any(records.get(scope, f"share-{org.hex()}") is None for org in orgs):
        return None
    number = max(int(slot.removeprefix("compute-")) for slot in numbers)
    return None if _said(records, scope, number) else Due(study, lock.round, lock.lock_id, number)


def came_to(its: Due, output: pb.Output | None, code: str, seat: Seat) -> Step:
    """Record the end of a meeting, and say it.

    Args:
        output: None if it failed with ``code``.
    """
    scope = lock_scope(its.study, its.round, its.lock_id)
    if output is not None:
        kind, said = "output", wire.encode(sign("output", output, org=seat.org, key=seat.key))
    else:
        failed = pb.JobFailed(lock_id=its.lock_id, org=seat.org, number=its.number, code=code)
        kind, said = "job-failed", wire.encode(sign("job-failed", failed, org=seat.org, key=seat.key))
    return Step(
        records=(Record(scope, f"{kind}-{its.number}", said),), send=((kind, said),), progress=code or kind
    )


def declined(lock_id: bytes, code: str, seat: Seat) -> Step:
    """This member will not compute what was locked; nothing is recorded, and it may be asked again."""
    failed = pb.JobFailed(lock_id=lock_id, org=seat.org, number=1, code=code)
    said = wire.encode(sign("job-failed", failed, org=seat.org, key=seat.key))
    return Step(send=(("job-failed", said),), progress=code)


def tidy(study: bytes, records: Records, view: View) -> Step:
    """Forget the round that the chain's last seal closed."""
    attested = view.head.attested
    if not attested or records.get(study.hex(), f"done-{attested}") is not None:
        return Step()
    done = Record(study.hex(), f"done-{attested}", b"\1")
    return Step(records=(done,), forget=(f"{study.hex()}/{attested}",), progress="forgotten")
