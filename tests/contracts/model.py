"""The rules of both contracts once more, in plain Python: what each call must do, or why it must not."""

from __future__ import annotations

from dataclasses import dataclass, field

EXACT, DP = 1, 2
PURPOSES, SATISFIES = 0b101, 0b11
MIN_SITES, COLLUSION, WINDOW = 3, 1, 600
ROSTER = range(4)
PRICES = {EXACT: [(0, 0), (0, 0)], DP: [(10, 3), (20, 5)]}  # (rho, delta) by analysis


@dataclass
class Budget:
    """Caps and spending of rho, delta and exact releases."""

    caps: tuple[int, int, int] = (0, 0, 0)
    spent: tuple[int, int, int] = (0, 0, 0)

    @property
    def left(self) -> tuple[int, ...]:
        return tuple(max(0, c - s) for c, s in zip(self.caps, self.spent, strict=True))

    def add(self, charge: tuple[int, int, int]) -> None:
        rho, delta, exact = (s + c for s, c in zip(self.spent, charge, strict=True))
        self.spent = (rho, delta, exact)


@dataclass
class Consent:
    allowed: int = 0
    conditions: int = 0
    expiry: int = 0
    epoch: int = 0
    budget: Budget = field(default_factory=Budget)


@dataclass
class Dataset:
    steward: int
    version: int = 1
    tombstones: int = 0
    applied: int = 0
    budget: Budget = field(default_factory=Budget)


@dataclass
class Lock:
    analysis: int
    members: tuple[tuple[int, int], ...]  # dataset, version
    inputs: int
    release: int
    attempt: int
    at: int
    dead: bool = False
    recovered: list[int] = field(default_factory=list)  # hospitals

    @property
    def opening(self) -> object:
        return self.analysis, self.members, self.inputs


@dataclass
class Study:
    mode: int
    closed: bool = False
    attested: int = 0
    lock: Lock | None = None
    locked: set[int] = field(default_factory=set)  # analyses locked in this round
    opening: object = None  # all that may still be opened in this round, once somebody was recovered
    sets: dict[int, tuple[tuple[tuple[int, int], ...], bool]] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One attempt to lock. ``leave``: per dataset. ``fault``: what the coordinator falsifies."""

    study: int
    analysis: int
    datasets: tuple[int, ...]
    leave: tuple[bool, ...]
    inputs: int
    release: int
    attempt: int
    fault: str = ""


FAULTS = {
    "signature": "BadSignature",
    "old agent": "BadSignature",
    "epoch": "StaleEpoch",
    "version": "StaleVersion",
    "tip": "WrongContext",
    "round": "WrongContext",
    "rho": "WrongContext",
    "late": "Late",
    "sender": "NotCoordinator",
    "unpaired": "NotInSet",
}


class Model:
    """Hospitals are numbers, datasets too: ``stewards[d]`` brings dataset ``d``."""

    def __init__(self, stewards: list[int], now: int) -> None:
        self.now, self.paused = now, False
        self.hospitals = set(stewards)
        self.datasets = [Dataset(s) for s in stewards]
        self.studies = [Study(EXACT), Study(DP)]
        self.consents = {(d, s): Consent() for d in range(len(stewards)) for s in range(2)}

    def status(self, d: int, s: int) -> int:
        data, study, consent = self.datasets[d], self.studies[s], self.consents[d, s]
        reasons = (
            (8, self.paused),
            (1, consent.expiry == 0),
            (2, self.now >= consent.expiry),
            (3, PURPOSES & ~consent.allowed),
            (4, consent.conditions & ~SATISFIES),
            (5, study.closed),
            (6, data.tombstones != data.applied),
            (7, data.steward not in self.hospitals),
        )
        return next((number for number, holds in reasons if holds), 0)

    def left(self, d: int, s: int) -> tuple[int, ...]:
        pair = zip(self.consents[d, s].budget.left, self.datasets[d].budget.left, strict=True)
        return tuple(min(p) for p in pair)

    def grant(self, d: int, s: int, terms: Consent) -> set[str]:
        bad = (
            {"BadTerms"}
            if terms.allowed == 0 or terms.expiry <= self.now or self.studies[s].closed
            else set()
        )
        bad |= {"EnforcedPause"} if self.paused else set()
        if not bad:
            old = self.consents[d, s]
            terms.epoch, terms.budget.spent = old.epoch + 1, old.budget.spent
            self.consents[d, s] = terms
        return bad

    def revoke(self, d: int, s: int) -> set[str]:
        consent = self.consents[d, s]
        if consent.expiry == 0:
            return {"NoLiveConsent"}
        consent.expiry, consent.epoch = 0, consent.epoch + 1
        return set()

    # --- rounds -------------------------------------------------------------------------------------------

    def lock(self, r: Request) -> set[str]:
        """The rules that it breaks; empty: it was done."""
        study = self.studies[r.study]
        members = tuple((d, self.datasets[d].version) for d in r.datasets)
        new = Lock(r.analysis, members, r.inputs, r.release, r.attempt, self.now)
        same = study.lock is not None and study.lock.opening == new.opening
        broken = {FAULTS[r.fault]} if r.fault else set()
        if len({self.datasets[d].steward for d in r.datasets}) < MIN_SITES:
            broken.add("TooFewSites")
        broken |= self._order(study, new, same)
        charge, why = self._price(study, new, same, all(r.leave))
        broken |= why
        if self.paused:
            broken.add("EnforcedPause")
        for d in r.datasets:
            if self.status(d, r.study):
                broken.add("NoLiveConsent")
            if any(c > have for c, have in zip(charge, self.left(d, r.study), strict=True)):
                broken.add("BudgetExceeded")
        if not broken:
            self._book(study, r, new, charge)
        return broken

    def _order(self, study: Study, new: Lock, same: bool) -> set[str]:
        old, broken = study.lock, set()
        want = 1 if old is None else old.release + (not same)
        if new.release != want:
            broken.add("BadRelease")
        if old is not None and new.attempt <= old.attempt:
            broken.add("StaleAttempt")
        if old is not None and not old.dead and old.analysis != new.analysis:
            broken.add("StillLocked")
        if study.opening not in (None, new.opening):
            broken.add("Recovering")
        return broken

    def _price(
        self, study: Study, new: Lock, same: bool, leave: bool
    ) -> tuple[tuple[int, int, int], set[str]]:
        if study.mode == DP:
            rho, delta = PRICES[DP][new.analysis]
            return ((0, 0, 0) if same else (rho, delta, 0)), set()
        bound, may_leave = study.sets.get(new.analysis, (None, False))
        if bound == new.members:
            again = not same and new.analysis in study.locked
            return (0, 0, 0), {"InputsChanged"} if again else set()
        lawful = bound is None or (may_leave and leave)
        return (0, 0, 1), set() if lawful else {"SetFixed"}

    def _book(self, study: Study, r: Request, new: Lock, charge: tuple[int, int, int]) -> None:
        for d in r.datasets:
            self.consents[d, r.study].budget.add(charge)
            self.datasets[d].budget.add(charge)
        if study.mode == EXACT:
            _, before = study.sets.get(r.analysis, (None, True))
            study.sets[r.analysis] = (new.members, before and all(r.leave))
        study.lock = new
        study.locked.add(r.analysis)

    def attest(self, s: int, absent: int) -> set[str]:
        study, lock = self.studies[s], self.studies[s].lock
        if lock is None or lock.dead:
            return {"NotLocked"}
        n = len({self.datasets[d].steward for d, _ in lock.members})
        broken = set()
        if absent and self.now < lock.at + WINDOW:
            broken.add("WindowOpen")
        if absent and (n - absent < MIN_SITES or 2 * (n - absent) <= n or absent > COLLUSION):
            broken.add("NoQuorum")
        if not broken:
            study.attested += 1
            study.lock, study.locked, study.opening = None, set(), None
        return broken

    def abandon(self, s: int) -> set[str]:
        lock = self.studies[s].lock
        if lock is None or lock.dead:
            return {"NotLocked"}
        if self.studies[s].opening is not None:
            return {"Recovering"}
        lock.dead = True
        return set()

    def recover(self, s: int, hospital: int, *, stranger: bool) -> set[str]:
        """``stranger``: sent by one who has no say."""
        study, lock = self.studies[s], self.studies[s].lock
        broken = {"NotAllowed"} if stranger else set()
        if lock is None or lock.dead:
            return broken | {"NotLocked"}
        if hospital not in ROSTER:
            broken.add("NotOnRoster")
        if hospital in lock.recovered:
            broken.add("AlreadyRecovered")
        if 2 * (self.now - lock.at) < WINDOW:
            broken.add("WindowOpen")
        if not broken:
            lock.recovered.append(hospital)
            study.opening = lock.opening
        return broken
