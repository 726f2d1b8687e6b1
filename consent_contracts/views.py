"""What the contracts say, as values. Addresses are 20 bytes; rho in 1e-9 zCDP, delta in 1e-18, seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consilium_errors import Hostile

#: `GateView.status` → reason; the registry's constants.
REASONS = (
    "live",
    "no_consent",
    "expired",
    "purpose",
    "condition",
    "closed",
    "withdrawals",
    "suspended",
    "paused",
)


@dataclass(frozen=True)
class StudyView:
    """A registered study. ``analyses`` are ids; `AnalysisView` has their prices."""

    spec_hash: bytes
    sponsor: bytes
    coordinator: bytes
    purposes: int
    satisfies: int
    scope: bytes
    mode: int
    min_sites: int
    collusion: int
    window: int
    sponsor_key: bytes
    roster: tuple[bytes, ...]
    closed: bool
    analyses: tuple[bytes, ...]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> StudyView:
        return cls(
            spec_hash=found["specHash"],
            sponsor=found["sponsor"],
            coordinator=found["coordinator"],
            purposes=found["purposes"],
            satisfies=found["satisfies"],
            scope=found["scope"],
            mode=found["mode"],
            min_sites=found["minSites"],
            collusion=found["collusion"],
            window=found["window"],
            sponsor_key=found["sponsorKey"],
            roster=found["roster"],
            closed=found["closed"],
            analyses=found["analyses"],
        )


@dataclass(frozen=True)
class AnalysisView:
    """Price of one release."""

    rho: int
    delta: int
    noise: bytes


@dataclass(frozen=True)
class GateView:
    """One dataset at the gate. ``status`` 0 is live; left: the lesser of consent's and dataset's rest."""

    dataset: bytes
    status: int
    reason: str
    version: int
    epoch: int
    expiry: int
    steward: bytes
    rho_left: int
    delta_left: int
    exact_left: int

    @classmethod
    def of(cls, dataset: bytes, found: Mapping[str, Any]) -> GateView:
        status = found["status"]
        if status >= len(REASONS):
            raise Hostile("chain.gate", f"unknown status {status}")
        return cls(
            dataset=dataset,
            status=status,
            reason=REASONS[status],
            version=found["version"],
            epoch=found["epoch"],
            expiry=found["expiry"],
            steward=found["steward"],
            rho_left=found["rhoLeft"],
            delta_left=found["deltaLeft"],
            exact_left=found["exactLeft"],
        )


@dataclass(frozen=True)
class LockView:
    """The current lock of the round that is under way; once ``abandoned`` it is dead. Its id binds plan and receipts.

    ``recovered``: organisations whose peers may show their shares, in the order in which the chain said so. A lock
    with any is never abandoned.
    """

    lock_id: bytes
    locked_at: int
    round: int
    release: int
    attempt: int
    analysis: bytes
    abandoned: bool
    recovered: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class HeadView:
    """Where a study's chain of seals stands. ``state_commit`` is zero before the first seal."""

    attested: int
    tip: bytes
    state_commit: bytes
    lock: LockView | None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> HeadView:
        lock = LockView(
            lock_id=found["lockId"],
            locked_at=found["lockedAt"],
            round=found["round"],
            release=found["release"],
            attempt=found["attempt"],
            analysis=found["analysis"],
            abandoned=found["abandoned"],
            recovered=found["recovered"],
        )
        locked = lock if any(lock.lock_id) else None
        return cls(found["attested"], found["tip"], found["stateCommit"], locked)


@dataclass(frozen=True)
class JournalView:
    """Count of a contract's events, and its running hash."""

    seq: int
    head: bytes
