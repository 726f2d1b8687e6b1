"""The chain of rounds once more, in plain Python: what may be locked, sealed, recovered and abandoned, in which order.

A study's rounds are counted 1, 2, 3 … by its seals. A lock of the current round is lawful iff all receipts
name one set whose consent is live, and of what was locked before in this round:

* nothing: release 1
* the same analysis, set, inputs and state: the same release, no charge
* anything else: the next release; another analysis only after `abandon`.

Attempts grow within a round. Under DP every new release is charged in full. In exact mode an analysis is
charged when it is first locked, and keeps that set of (dataset, version); with the same set another input is
never opened in one round; another set is lawful only if every use of all its locks so far, and of the new
set, accepted it (``leaveSiteOut``), and is charged again.

A hospital of the lock is recovered once for it, and not in the first half of the window. What its round locked
then may be opened without it, so until the seal nothing is abandoned and only the same opening is locked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from consent_contracts.auditor.gate import EXACT, ZERO, Broken, Registry, Study
from consent_contracts.chain import Addresses
from consent_contracts.index import Event
from protos import digests

Set = tuple[tuple[bytes, int], ...]


@dataclass(frozen=True)
class Lock:
    """A lock as the chain has it, hashes recomputed."""

    event: Event
    ctx: digests.Ctx
    uses: tuple[digests.Use, ...]
    orgs: tuple[bytes, ...]
    uploads: tuple[bytes, ...]
    ready_root: bytes
    inputs_root: bytes
    lock_by: int
    time: int

    @classmethod
    def of(cls, event: Event) -> Lock:
        a = event.args
        return cls(
            event=event,
            ctx=digests.Ctx(*a["ctx"].values()),
            uses=tuple(digests.Use(*u.values()) for u in a["uses"]),
            orgs=a["orgs"],
            uploads=a["uploadHashes"],
            ready_root=a["readyRoot"],
            inputs_root=a["inputsRoot"],
            lock_by=a["lockBy"],
            time=a["time"],
        )

    @property
    def plan_hash(self) -> bytes:
        uses = digests.uses_hash(self.uses)
        return digests.plan_hash(self.ctx.digest(), uses, self.ready_root, self.inputs_root, self.lock_by)

    @property
    def receipts_root(self) -> bytes:
        return digests.receipts_root(self.orgs, self.uploads)

    @property
    def lock_id(self) -> bytes:
        return digests.lock_id(self.plan_hash, self.receipts_root)

    @property
    def set(self) -> Set:
        return tuple((u.dataset, u.version) for u in self.uses)

    @property
    def opens(self) -> tuple[object, ...]:
        """Two locks that agree in this open the same sum."""
        return self.ctx.analysis, self.set, self.inputs_root, self.ctx.state_commit

    @property
    def may_leave(self) -> bool:
        return all(u.leave_site_out for u in self.uses)


@dataclass
class Bound:
    """Exact mode: the set that an analysis is bound to."""

    set: Set
    may_leave: bool


@dataclass
class Progress:
    """One study's chain."""

    attested: int = 0
    tip: bytes = ZERO
    state: bytes | None = None
    lock: Lock | None = None
    dead: bool = False
    release: int = 0
    attempt: int = 0
    in_round: set[bytes] = field(default_factory=set)  # analyses locked in this round
    recovered: set[bytes] = field(default_factory=set)  # organisations, of this lock
    only: tuple[object, ...] | None = None  # what this round may open, once somebody was recovered
    bound: dict[bytes, Bound] = field(default_factory=dict)


class Rounds:
    """State after the ledger's events so far; as in `Registry`, an unlawful event is reported and applied."""

    def __init__(self, registry: Registry, addresses: Addresses) -> None:
        self._registry, self._addresses = registry, addresses
        self.studies: dict[bytes, Progress] = {}

    def progress(self, study: bytes) -> Progress:
        return self.studies.setdefault(study, Progress())

    # lock -----------------------------------------------------------------------------------------------

    def lock(self, event: Event, entry: Event | None) -> Broken:
        """``entry``: the registry's ``Charged`` just before, in the same transaction."""
        lock = Lock.of(event)
        study = self._registry.studies.get(lock.ctx.study)
        if study is None:
            return ["an unknown study"]
        progress = self.progress(lock.ctx.study)
        broken = self._context(lock, study, progress) + self._members(lock, study)
        broken += self._registry.gate(lock.ctx.study, event.args["uses"], lock.orgs, lock.time)
        charged, why = self._admit(lock, study, progress)
        broken += why + _entry(lock, entry, charged)
        place = (event.args["registrySeq"], event.args["registryHead"])
        broken += _differs("journal", self._registry.place, place)
        if charged:
            datasets = [u.dataset for u in lock.uses]
            broken += self._registry.charge(
                lock.ctx.study, datasets, lock.ctx.mode, lock.ctx.rho, lock.ctx.delta
            )
        progress.lock, progress.dead, progress.recovered = lock, False, set()
        progress.release, progress.attempt = lock.ctx.release, lock.ctx.attempt
        progress.in_round.add(lock.ctx.analysis)
        return broken

    def _context(self, lock: Lock, study: Study, progress: Progress) -> Broken:
        ctx, terms, price = lock.ctx, study.terms, study.price(lock.ctx.analysis)
        here = (self._addresses.chain_id, self._addresses.registry, self._addresses.ledger)
        registered = (terms["specHash"], terms["mode"])
        broken = _differs("place", here, (ctx.chain_id, ctx.registry, ctx.ledger))
        broken += _differs("plan", registered, (ctx.spec_hash, ctx.mode))
        if price is None:
            broken.append("an analysis that is not registered")
        else:
            expected = (price["rho"], price["delta"], price["noise"])
            broken += _differs("price", expected, (ctx.rho, ctx.delta, ctx.noise))
        broken += _differs("round", progress.attested + 1, ctx.round)
        broken += _differs("previous seal", progress.tip, ctx.prev_seal)
        if progress.state is not None:
            broken += _differs("state", progress.state, ctx.state_commit)
        broken += _differs("lock id", lock.lock_id, lock.event.args["lockId"])
        if not self._registry.is_("coordinator", terms["coordinator"]):
            broken.append("the coordinator has lost its role")
        return broken + ([] if lock.time <= lock.lock_by else ["after its deadline"])

    def _members(self, lock: Lock, study: Study) -> Broken:
        roster, orgs = study.terms["roster"], lock.orgs
        broken = [] if list(orgs) == sorted(set(orgs)) else ["organisations are not ascending"]
        broken += [] if set(orgs) <= set(roster) else ["an organisation is not on the roster"]
        broken += [] if len(orgs) >= study.terms["minSites"] else ["too few hospitals"]
        return broken + _differs("uploads", len(orgs), len(lock.uploads))

    def _admit(self, lock: Lock, study: Study, progress: Progress) -> tuple[bool, Broken]:
        """Must it be charged, and what does it break."""
        before, broken = progress.lock, Broken()
        same = before is not None and before.opens == lock.opens
        release = 1 if before is None else progress.release if same else progress.release + 1
        broken += _differs("release", release, lock.ctx.release)
        if before is not None and lock.ctx.attempt <= progress.attempt:
            broken.append("an attempt out of turn")
        if before is not None and not progress.dead and before.ctx.analysis != lock.ctx.analysis:
            broken.append("another analysis while one is locked")
        if progress.only is not None and progress.only != lock.opens:
            broken.append("another opening after a recovery")
        if study.terms["mode"] != EXACT:
            return not same, broken
        charged, why = _admit_exact(lock, progress, same)
        return charged, broken + why

    # attest, recover, abandon ---------------------------------------------------------------------------

    def attest(self, event: Event) -> Broken:
        """Checks the seal against its lock and moves the chain to it."""
        seal, study_id = digests.Seal(*event.args["seal"].values()), event.args["study"]
        progress, study = self.progress(study_id), self._registry.studies.get(study_id)
        lock = progress.lock
        if lock is None or study is None:
            return ["a seal without a lock"]
        broken = ["the lock was abandoned"] if progress.dead else []
        expected = (lock.lock_id, lock.plan_hash, lock.receipts_root, lock.ctx.state_commit)
        broken += _differs(
            "lock", expected, (seal.lock_id, seal.plan_hash, seal.receipts_root, seal.state_before)
        )
        spend = (lock.ctx.rho, lock.ctx.delta, lock.ctx.code_hash)
        broken += _differs("spend and code", spend, (seal.rho, seal.delta, seal.code_hash))
        broken += _differs("previous seal", progress.tip, seal.prev_seal)
        domain = digests.ledger_domain(lock.ctx)
        broken += _differs("seal id", seal.digest(domain), event.args["sealId"])
        broken += _absences(lock, study, event)
        self.studies[study_id] = Progress(
            progress.attested + 1, event.args["sealId"], seal.state_after, bound=progress.bound
        )
        return broken

    def recover(self, event: Event) -> Broken:
        """That the organisation is of the set the contract cannot see: only here it is a rule."""
        progress, org = self.progress(event.args["study"]), event.args["org"]
        lock, study = progress.lock, self._registry.studies.get(event.args["study"])
        if lock is None or study is None:
            return ["nothing is locked"]
        broken = self._of_lock(event, lock, study, "recovered")
        broken += ["recovered after it was abandoned"] if progress.dead else []
        broken += [] if org in lock.orgs else ["recovered, but not of the lock"]
        broken += ["recovered twice"] if org in progress.recovered else []
        if event.args["time"] < lock.time + study.terms["window"] // 2:
            broken.append("recovered in the first half of the window")
        progress.recovered.add(org)
        progress.only = lock.opens
        return broken

    def abandon(self, event: Event) -> Broken:
        progress = self.progress(event.args["study"])
        study = self._registry.studies.get(event.args["study"])
        if progress.lock is None or study is None:
            return ["nothing is locked"]
        broken = self._of_lock(event, progress.lock, study, "abandoned")
        broken += ["abandoned twice"] if progress.dead else []
        broken += ["abandoned after a recovery"] if progress.only is not None else []
        progress.dead = True
        return broken

    def _of_lock(self, event: Event, lock: Lock, study: Study, what: str) -> Broken:
        """The current lock, by one who may end its wait."""
        by = event.args["by"]
        may = by in (study.sponsor, study.terms["coordinator"]) or self._registry.is_("regulator", by)
        broken = [] if may else [f"{what} by a stranger"]
        return broken + _differs("lock id", lock.lock_id, event.args["lockId"])


def _admit_exact(lock: Lock, progress: Progress, same: bool) -> tuple[bool, Broken]:
    analysis, bound = lock.ctx.analysis, progress.bound.get(lock.ctx.analysis)
    if bound is None:
        progress.bound[analysis] = Bound(lock.set, lock.may_leave)
        return True, []
    was_free, bound.may_leave = bound.may_leave, bound.may_leave and lock.may_leave
    if bound.set == lock.set:
        again = analysis in progress.in_round and not same
        return False, ["the same set with other inputs in one round"] if again else []
    bound.set = lock.set
    return True, [] if was_free and lock.may_leave else ["another set than the analysis is bound to"]


def _entry(lock: Lock, entry: Event | None, charged: bool) -> Broken:
    """Both journals tell of the same charge. A lock without one leaves no trace in the registry."""
    args, ctx = lock.event.args, lock.ctx
    broken = _differs("charge", charged, args["charged"])
    if entry is None:
        return broken + (["the registry knows of no such charge"] if charged else [])
    if not charged:
        broken.append("the registry charged a free lock")
    e = entry.args
    broken += _differs("entry", (e["study"], e["lockId"], e["mode"]), (ctx.study, args["lockId"], ctx.mode))
    return broken + _differs("spend", (e["rho"], e["delta"]), (ctx.rho, ctx.delta))


def _absences(lock: Lock, study: Study, event: Event) -> Broken:
    absent, n, terms = event.args["absent"], len(lock.orgs), study.terms
    if not absent:
        return []
    present = n - len(absent)
    broken = [] if set(absent) <= set(lock.orgs) else ["absent, but never present"]
    if event.args["time"] < lock.time + terms["window"]:
        broken.append("absences before the window has passed")
    if 2 * present <= n or present < terms["minSites"] or present < n - terms["collusion"]:
        broken.append("too few signatures for a quorum")
    return broken


def _differs(what: str, expected: Any, found: Any) -> Broken:
    return [] if expected == found else [f"{what}: expected {_show(expected)}, found {_show(found)}"]


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_show(v) for v in value) + ")"
    return "0x" + value.hex()[:12] if isinstance(value, bytes) else str(value)
