"""Steps 1 to 4: Task → Hello, Hellos → Ready. Nothing of the data is read before the checks pass."""

from __future__ import annotations

from consent_contracts.plan import box_info, check_hellos
from consent_contracts.signed import sign
from consilium_errors import Hostile, Refused
from crypto import envelopes
from crypto.commitments import Q
from crypto.secure_sum import sharing
from participants.round.desk import Desk, as_bytes
from participants.round.words import Record, Step
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb

ATTEMPT_LIMIT = 10_000


def on_task(desk: Desk, body: bytes) -> Step:
    task = wire.parse(pb.Task, body)
    ctx = wire.ctx_from(task.ctx)
    scope = desk.attempt_scope(ctx.digest())
    if (known := desk.records.get(scope, "hello")) is not None:
        return Step(send=(("hello", custody.HelloRecord.FromString(known).message),))
    desk.await_seal(ctx.prev_seal)
    _check_context(desk, ctx, task.analysis)
    desk.check_consent()
    secret, public = desk.ports.generate_hpke()
    hello = pb.Hello(ctx_hash=ctx.digest(), org=desk.site.org, hpke_key=public)
    message = wire.encode(sign("hello", hello, org=desk.site.org, key=desk.site.agent))
    record = custody.HelloRecord(ctx=task.ctx, analysis=task.analysis, hpke_secret=secret, message=message)
    return Step(
        records=(
            Record(scope, "hello", wire.encode(record)),
            Record(desk.round_scope, f"attempt-{ctx.attempt}", ctx.digest()),
        ),
        send=(("hello", message),),
        progress="hello",
    )


def _check_context(desk: Desk, ctx: digests.Ctx, analysis: str) -> None:
    """The coordinator chooses the release and the attempt; all else is the chain's or ours."""
    view, held = desk.view, desk.state()
    if desk.ports.analyst.current(held.state) != analysis:
        raise Hostile("task.analysis", "the state asks for another analysis")
    expected = digests.Ctx(
        chain_id=desk.facts.chain_id,
        registry=desk.facts.registry,
        ledger=desk.facts.ledger,
        study=desk.facts.study,
        analysis=digests.analysis_id(analysis),
        spec_hash=desk.facts.spec_hash,
        code_hash=desk.site.code_hash,
        round=desk.round,
        release=ctx.release,
        attempt=ctx.attempt,
        prev_seal=view.head.tip,
        state_commit=digests.state_commit(held.salt, held.state),
        mode=view.study.mode,
        rho=view.analysis.rho,
        delta=view.analysis.delta,
        noise=view.analysis.noise,
    )
    if ctx.code_hash != expected.code_hash:
        raise Refused("task.code", "the study would run other code than is installed here")
    if ctx != expected:
        raise Hostile("task.context", "the task is not the round that the chain awaits")
    if not 1 <= ctx.attempt <= ATTEMPT_LIMIT:
        raise Hostile("task.attempt", "the attempt's number is out of range")
    if desk.records.get(desk.round_scope, f"attempt-{ctx.attempt}") is not None:
        raise Hostile("task.attempt", "this attempt was begun in another context")
    _check_release(desk, ctx.release)


def _check_release(desk: Desk, release: int) -> None:
    lock = desk.view.head.lock
    locked = lock.release if lock is not None and lock.round == desk.round else 0
    allowed = {max(locked, 1)}
    if locked and (desk.view.study.mode == digests.DP or desk.site.leave_site_out):
        allowed.add(locked + 1)
    if release not in allowed:
        raise Hostile("task.release", "the release is not the one that the chain's lock allows")


def on_hellos(desk: Desk, body: bytes) -> Step:
    message = wire.parse(pb.Hellos, body)
    scope = desk.attempt_scope(message.ctx_hash)
    if (known := desk.records.get(scope, "ready")) is not None:
        return Step(send=(("ready", custody.ReadyRecord.FromString(known).message),))
    mine = desk.hello(message.ctx_hash)
    hellos, hellos_hash = check_hellos(message.hellos, message.ctx_hash, desk.view.agents)
    own = pb.Signed.FromString(mine.message)
    if own not in list(message.hellos):
        raise Hostile("hellos.mine", "my own hello is missing or altered")
    check_company(desk, tuple(hellos))
    desk.check_consent()
    ctx = wire.ctx_from(mine.ctx)
    records, contribution = _contribution(desk, ctx, mine.analysis)
    return _ready(desk, ctx, message, hellos, hellos_hash, contribution, records)


def check_company(desk: Desk, orgs: tuple[bytes, ...]) -> None:
    """Enough hospitals, all on the roster, enough of them trusted here.

    Raises:
        Refused: ``set.too_small``, ``set.untrusted``. Hostile: ``set.foreign``.
    """
    if not set(orgs) <= set(desk.view.study.roster):
        raise Hostile("set.foreign", "an organisation is not on the study's roster")
    if len(orgs) < max(3, desk.view.study.min_sites):
        raise Refused("set.too_small", "too few hospitals for secrecy")
    if len(desk.site.trusted & set(orgs) - {desk.site.org}) < desk.site.min_trusted:
        raise Refused("set.untrusted", "too few hospitals that we trust")


def _contribution(desk: Desk, ctx: digests.Ctx, analysis: str) -> tuple[list[Record], custody.InputRecord]:
    """This hospital's input, made once for each (round, release) and reused by every attempt."""
    slot = f"input-{ctx.release}"
    if (known := desk.input(ctx.release)) is not None:
        if known.analysis != analysis:
            raise Hostile("task.analysis", "this release of the round served another analysis")
        return [], known
    state = desk.state().state
    length, fields, params = desk.ports.analyst.layout(state)
    contribution = desk.ports.analyst.contribute(state)
    if contribution.values.shape != (length,) or contribution.fields != fields:
        raise AssertionError("the analysis broke its own layout")
    randomness = int.from_bytes(desk.ports.random(64), "big") % Q
    record = custody.InputRecord(
        values=as_bytes(contribution.values),
        fields=fields,
        randomness=randomness.to_bytes(32, "big"),
        commitment=desk.ports.commit(contribution.values, fields, randomness),
        params=params,
        analysis=analysis,
    )
    return [Record(desk.round_scope, slot, wire.encode(record))], record


def _ready(
    desk: Desk,
    ctx: digests.Ctx,
    message: pb.Hellos,
    hellos: dict[bytes, pb.Hello],
    hellos_hash: bytes,
    contribution: custody.InputRecord,
    records: list[Record],
) -> Step:
    me, ctx_hash = desk.site.org, message.ctx_hash
    g, self_mask = desk.ports.random(32), sharing.random_secret(desk.ports.random)
    pairs = {peer: desk.ports.random(32) for peer in hellos if peer != me}
    threshold = sharing.threshold_for(len(hellos), desk.view.study.collusion)
    dealt = sharing.deal(self_mask, len(hellos), threshold, desk.ports.random)
    pieces = dict(zip(sorted(hellos), dealt.pieces, strict=True))
    gates = {gate.dataset: gate for gate in desk.view.gates}
    uses = [
        digests.Use(d, gates[d].version, gates[d].epoch, desk.site.leave_site_out) for d in desk.site.datasets
    ]
    header = pb.ReadyHeader(
        ctx_hash=ctx_hash,
        org=me,
        hellos_hash=hellos_hash,
        uses=[wire.use_to(u) for u in uses],
        commitment=contribution.commitment,
        g_hash=digests.g_hash(ctx_hash, me, g),
        fields=contribution.fields,
        length=len(contribution.values) // 8,
        mask_hash=digests.mask_hash(ctx_hash, me, self_mask),
        shares_root=dealt.root,
    )
    boxes = [
        pb.Box(
            ctx_hash=ctx_hash,
            hellos_hash=hellos_hash,
            org=me,
            to=peer,
            sealed=envelopes.seal(
                hellos[peer].hpke_key, box_info(ctx_hash, me, peer), g + secret + pieces[peer]
            ),
        )
        for peer, secret in sorted(pairs.items())
    ]
    key = desk.site.agent
    ready = wire.encode(
        pb.Ready(
            header=sign("ready", header, org=me, key=key),
            boxes=[sign("box", box, org=me, key=key) for box in boxes],
        )
    )
    record = custody.ReadyRecord(
        g=g,
        self_mask=self_mask,
        pairs=[custody.PairSecret(org=o, secret=s) for o, s in sorted(pairs.items())],
        hellos_hash=hellos_hash,
        hellos=list(message.hellos),
        message=ready,
    )
    records = [*records, Record(desk.attempt_scope(ctx_hash), "ready", wire.encode(record))]
    return Step(records=tuple(records), send=(("ready", ready),), progress="ready")
