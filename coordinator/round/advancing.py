"""What to do next, from what is recorded and from the chain."""

from __future__ import annotations

import hashlib

from consent_contracts.plan import Plan, check_plan, check_receipts
from consilium_errors import Hostile, Unavailable
from coordinator.round import checking, meeting
from coordinator.round.desk import Desk
from coordinator.round.judging import odd_ones
from coordinator.round.recovering import recover, recovered
from coordinator.round.resending import boxes_of, plan_for
from coordinator.round.words import AttestCall, LockCall, Record, Step
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb


def advance(desk: Desk) -> Step:
    """The next step of the round, or an empty one while there is something to wait for."""
    if desk.view.study.closed or not desk.next_analysis():
        return Step()
    attempt = desk.attempt()
    if attempt is None:
        return _begin(desk, 1, _first_members(desk))
    if (failure := desk.slot("failed")) is not None:
        return _begin_again(desk, attempt, custody.Failure.FromString(failure))
    if desk.slot("hellos") is None:
        return _gather_hellos(desk, attempt)
    if desk.slot("plan") is None:
        return _gather_ready(desk, attempt)
    try:
        plan = desk.plan()
    except Hostile:  # an agent was replaced since: its signatures are void, and so is the attempt
        return fail(desk, "attempt.agents", [])
    if plan is None:
        raise AssertionError("the plan is recorded")
    if desk.slot("locked") is None:
        return _gather_uploads(desk, attempt, plan)
    if desk.slot("sum") is None:
        return meeting.advance(desk, plan) if desk.facts.committee else _gather_unlocks(desk, plan)
    sealing = _gather_seals(desk, plan)
    return sealing if sealing.progress else checking.advance(desk, plan)


# attempts ----------------------------------------------------------------------------------------------


def _first_members(desk: Desk) -> tuple[bytes, ...]:
    """Those of the analysis's fixed set; else those of the last opened set; else all of the roster."""
    fixed = desk.fixed_set(desk.next_analysis())
    last = desk.records.get(desk.study_scope, f"members-{desk.view.head.attested}") or b""
    return fixed or tuple(last[i : i + 20] for i in range(0, len(last), 20)) or desk.view.study.roster


def _begin(desk: Desk, number: int, members: tuple[bytes, ...]) -> Step:
    view, facts, name = desk.view, desk.facts, desk.next_analysis()
    lock = view.head.lock
    locked = lock.release if lock is not None and lock.round == desk.round else 0
    ctx = digests.Ctx(
        chain_id=facts.chain_id,
        registry=facts.registry,
        ledger=facts.ledger,
        study=facts.study,
        analysis=digests.analysis_id(name),
        spec_hash=facts.spec_hash,
        code_hash=facts.code_hash,
        round=desk.round,
        release=max(locked, 1),
        attempt=number,
        prev_seal=view.head.tip,
        state_commit=view.head.state_commit if view.head.attested else facts.genesis_commit,
        mode=view.study.mode,
        rho=view.analysis.rho,
        delta=view.analysis.delta,
        noise=view.analysis.noise,
    )
    record = custody.AttemptRecord(
        ctx=wire.ctx_to(ctx), analysis=name, members=list(members), opened_at=view.now
    )
    task = wire.encode(pb.Task(ctx=wire.ctx_to(ctx), analysis=name))
    return Step(
        records=(Record(desk.round_scope, f"attempt-{number}", wire.encode(record)),),
        send=tuple((org, "task", task) for org in members),
        progress=f"round {desk.round} attempt {number}",
    )


def _begin_again(desk: Desk, attempt: custody.AttemptRecord, failure: custody.Failure) -> Step:
    if not failure.without and desk.view.now < failure.at + desk.rules.retry_s:
        return Step()
    members = tuple(m for m in attempt.members if m not in failure.without)
    fixed = desk.fixed_set(attempt.analysis)
    if fixed and desk.view.study.mode == digests.EXACT:
        members = fixed  # nobody may be left out: the analysis waits for all of them
        if desk.view.now < failure.at + desk.rules.answer_s and failure.without:
            return Step()
    if len(members) < max(3, desk.view.study.min_sites):
        return _halt(desk, "halted.too_few", failure)
    return _begin(desk, attempt.ctx.attempt + 1, members)


def _halt(desk: Desk, code: str, failure: custody.Failure) -> Step:
    """Say so once, and try again with everybody after a while."""
    if desk.view.now >= failure.at + desk.rules.answer_s:
        attempt = desk.attempt()
        number = attempt.ctx.attempt + 1 if attempt is not None else 1
        return _begin(desk, number, _first_members(desk))
    if desk.slot("halted") is not None:
        return Step()
    return Step(records=(Record(desk.scope(), "halted", code.encode()),), progress=code)


def fail(desk: Desk, code: str, without: list[bytes]) -> Step:
    failure = custody.Failure(code=code, without=without, at=desk.view.now)
    return Step(records=(Record(desk.scope(), "failed", wire.encode(failure)),), progress=code)


def _late(desk: Desk, attempt: custody.AttemptRecord) -> bool:
    return desk.view.now >= attempt.opened_at + desk.rules.answer_s


def _missing(wanted: tuple[bytes, ...], got: set[bytes]) -> list[bytes]:
    return [org for org in wanted if org not in got]


# steps 2 to 6 ------------------------------------------------------------------------------------------


def _gather_hellos(desk: Desk, attempt: custody.AttemptRecord) -> Step:
    members, refused = tuple(attempt.members), desk.who("refusal")
    waiting = [o for o in _missing(members, desk.who("hello")) if o not in refused]
    if waiting and not _late(desk, attempt):
        return Step()
    got = desk.got("hello")
    orgs = tuple(sorted(o for o in got if o not in refused))
    fixed = desk.fixed_set(attempt.analysis)
    changed = bool(fixed) and desk.view.study.mode == digests.EXACT and set(orgs) != set(fixed)
    if len(orgs) < max(3, desk.view.study.min_sites) or changed:
        return fail(desk, "attempt.too_few", _missing(members, set(orgs)))
    message = pb.Hellos(ctx_hash=desk.ctx().digest(), hellos=[pb.Signed.FromString(got[o]) for o in orgs])
    body = wire.encode(message)
    return Step(
        records=(Record(desk.scope(), "hellos", b"".join(orgs)),),
        send=tuple((org, "hellos", body) for org in orgs),
        progress="hellos",
    )


def _gather_ready(desk: Desk, attempt: custody.AttemptRecord) -> Step:
    orgs = desk.greeted()
    if missing := _missing(orgs, desk.who("ready")):
        return _wait_or_fail(desk, attempt, missing)
    got = desk.got("ready")
    ready = {org: wire.parse(pb.Ready, got[org]) for org in orgs}
    headers = [ready[org].header for org in orgs]
    if odd := odd_ones(desk, {org: pb.ReadyHeader.FromString(ready[org].header.payload) for org in orgs}):
        return fail(desk, "attempt.ready", odd)
    lock_by = desk.view.now + desk.rules.lock_s
    plan = check_plan(desk.ctx(), headers, lock_by, desk.view.agents)
    record = custody.PlanRecord(headers=headers, lock_by=lock_by, plan_hash=plan.plan_hash)
    boxes = {org: boxes_of(its) for org, its in ready.items()}
    return Step(
        records=(Record(desk.scope(), "plan", wire.encode(record)),),
        send=tuple((org, "plan", plan_for(plan, boxes, headers, org)) for org in orgs),
        progress="plan",
    )


def _wait_or_fail(desk: Desk, attempt: custody.AttemptRecord, missing: list[bytes]) -> Step:
    refused = sorted(desk.who("refusal") & set(missing))
    if refused:
        return fail(desk, "attempt.refused", refused)
    if _late(desk, attempt):
        return fail(desk, "attempt.late", missing)
    return Step()


# step 7, the gate --------------------------------------------------------------------------------------


def _gather_uploads(desk: Desk, attempt: custody.AttemptRecord, plan: Plan) -> Step:
    if missing := _missing(plan.orgs, desk.who("upload")):
        return _wait_or_fail(desk, attempt, missing)
    uploads = desk.got("upload")
    parsed = [pb.Upload.FromString(uploads[org]) for org in plan.orgs]
    receipts = [
        pb.Receipt(
            org=u.org,
            ciphertext_digest=hashlib.sha256(u.ciphertext).digest(),
            rho_box=u.rho_box,
            signature=u.signature,
        )
        for u in parsed
    ]
    _, lock_id = check_receipts(plan, receipts, desk.view.agents)
    lock = desk.view.head.lock
    if lock is not None and lock.lock_id == lock_id:
        return _locked(desk, attempt, plan, receipts, lock_id)
    if desk.view.now > plan.lock_by:
        return fail(desk, "attempt.lock_late", [])
    return Step(
        call=LockCall(
            ctx=plan.ctx,
            uses=plan.uses,
            orgs=plan.orgs,
            ready_root=plan.ready_root,
            inputs_root=plan.inputs_root,
            lock_by=plan.lock_by,
            upload_hashes=tuple(digests.upload_hash(r.ciphertext_digest, r.rho_box) for r in receipts),
            signatures=tuple(r.signature for r in receipts),
            plan_hash=plan.plan_hash,
        ),
        progress="lock",
    )


def _locked(
    desk: Desk, attempt: custody.AttemptRecord, plan: Plan, receipts: list[pb.Receipt], lock_id: bytes
) -> Step:
    message = wire.encode(pb.Locked(lock_id=lock_id, plan_hash=plan.plan_hash, receipts=receipts))
    records = [Record(desk.scope(), "locked", message)]
    if not desk.fixed_set(attempt.analysis):
        records.append(Record(desk.study_scope, f"set-{attempt.analysis}", b"".join(plan.orgs)))
    return Step(
        records=tuple(records),
        send=(
            *((org, "locked", message) for org in plan.orgs),
            *meeting.invitations(desk, plan, receipts, lock_id),
        ),
        progress="locked",
    )


def lock_refused(desk: Desk, code: str) -> Step:
    """The chain refused the set: leave out whoever's consent is not live, and begin anew without."""
    dead = {gate.steward for gate in desk.view.gates if gate.status != 0}
    plan = desk.plan()
    orgs = plan.orgs if plan is not None else ()
    return fail(desk, code, sorted(dead & set(orgs)))


# steps 9 to 13 -----------------------------------------------------------------------------------------


def _gather_unlocks(desk: Desk, plan: Plan) -> Step:
    locked = wire.parse(pb.Locked, desk.slot("locked") or b"")
    missing = _missing(plan.orgs, desk.who("unlock"))  # nobody can be left out any more
    masks = recovered(desk, plan, missing)
    if masks is None:
        return recover(desk, plan, locked.lock_id, missing)
    adder = desk.scheme.adder(desk.packing(plan).coefficients)
    unlocks, uploads = desk.got("unlock"), desk.got("upload")
    for org in plan.orgs:
        adder.add(pb.Upload.FromString(uploads[org]).ciphertext)
    message = wire.encode(
        pb.Sum(
            lock_id=locked.lock_id,
            total=adder.total(),
            unlocks=[pb.Signed.FromString(unlocks[org]) for org in plan.orgs if org in unlocks],
            recovered=masks,
        )
    )
    return Step(
        records=(Record(desk.scope(), "sum", message),),
        send=tuple((org, "sum", message) for org in plan.orgs),
        progress="sum",
    )


def _gather_seals(desk: Desk, plan: Plan) -> Step:
    if len(desk.who("seal")) < _quorum(desk, plan):
        return Step()
    shares = {
        org: pb.SealShare.FromString(pb.Signed.FromString(b).payload) for org, b in desk.got("seal").items()
    }
    agreed = _agreed(desk, shares)
    if agreed is None:
        return Step()
    seal_message, present = agreed
    seal = wire.seal_from(seal_message)
    seal_id = seal.digest(digests.ledger_domain(plan.ctx))
    next_slot = f"next-{desk.round}"
    if desk.records.get(desk.study_scope, next_slot) is None:
        share = shares[present[0]]
        signed = [pb.Signed.FromString(desk.got("seal")[o]) for o in present]
        attested = pb.Attested(study=desk.facts.study, seal_id=seal_id, shares=signed)
        return Step(
            records=(
                Record(desk.study_scope, next_slot, share.next_analysis.encode()),
                Record(desk.study_scope, f"members-{desk.round}", b"".join(plan.orgs)),
                Record(desk.study_scope, f"attested-{desk.round}", wire.encode(attested)),
                Record(desk.study_scope, f"round-{desk.round}", wire.encode(_public(desk, signed))),
            ),
            progress="sealed",
        )
    return Step(
        call=AttestCall(
            study=desk.facts.study,
            seal=seal,
            orgs=plan.orgs,
            signatures=tuple(shares[o].signature if o in present else b"" for o in plan.orgs),
            seal_id=seal_id,
        ),
        progress="attest",
    )


def _public(desk: Desk, shares: list[pb.Signed]) -> pb.SealedRound:
    """What an auditor may see of this round; kept when its messages are forgotten."""
    plan = custody.PlanRecord.FromString(desk.slot("plan") or b"")
    locked = wire.parse(pb.Locked, desk.slot("locked") or b"")
    return pb.SealedRound(
        ctx=wire.ctx_to(desk.ctx()),
        headers=plan.headers,
        lock_by=plan.lock_by,
        receipts=locked.receipts,
        shares=shares,
    )


def _quorum(desk: Desk, plan: Plan) -> int:
    """The fewest hospitals whose seal the contract takes; all of them before the window has passed."""
    n, study = len(plan.orgs), desk.view.study
    return max(study.min_sites, n - study.collusion, n // 2 + 1)


def _agreed(desk: Desk, shares: dict[bytes, pb.SealShare]) -> tuple[pb.Seal, list[bytes]] | None:
    """The seal that all signed or, once the window has passed, the one that a quorum signed."""
    plan = desk.plan()
    lock = desk.view.head.lock
    if plan is None or lock is None:
        raise Unavailable("lock.not_final", "the chain does not show the lock")
    by_seal: dict[bytes, list[bytes]] = {}
    for org, share in sorted(shares.items()):
        by_seal.setdefault(wire.encode(share.seal) + share.next_analysis.encode(), []).append(org)
    n = len(plan.orgs)
    for orgs in by_seal.values():
        quorum = len(orgs) >= _quorum(desk, plan)
        late = desk.view.now >= lock.locked_at + desk.view.study.window
        if len(orgs) == n or (quorum and late):
            return shares[orgs[0]].seal, orgs
    return None


def tidy(desk: Desk) -> Step:
    """When the chain shows a new seal: tell the hospitals, and forget the round's messages."""
    head = desk.view.head
    if head.attested == 0 or desk.records.get(desk.study_scope, f"told-{head.attested}") is not None:
        return Step()
    body = desk.records.get(desk.study_scope, f"attested-{head.attested}")
    members = desk.records.get(desk.study_scope, f"members-{head.attested}") or b""
    if body is None:
        return Step()
    orgs = [members[i : i + 20] for i in range(0, len(members), 20)]
    return Step(
        records=(Record(desk.study_scope, f"told-{head.attested}", b"\1"),),
        send=tuple((org, "attested", body) for org in orgs),
        forget=(f"{desk.study_scope}/{head.attested}",),
        progress=f"round {head.attested} attested",
    )
