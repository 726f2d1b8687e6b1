"""Both journals, event by event, through the models: each lock and seal with what was in force then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from consent_contracts import abi
from consent_contracts.auditor.gate import Registry
from consent_contracts.auditor.rounds import Lock, Rounds
from consent_contracts.auditor.verdict import Findings, short
from consent_contracts.chain import Addresses
from consent_contracts.index import Event
from protos import digests


@dataclass(frozen=True)
class SealedLock:
    """One attested round: its lock, its seal, and the agents in force at each."""

    lock: Lock
    seal: digests.Seal
    seal_id: bytes
    absent: tuple[bytes, ...]
    event: Event
    lock_agents: Mapping[bytes, bytes]
    seal_agents: Mapping[bytes, bytes]


@dataclass(frozen=True)
class Locking:
    """One lock, sealed or not."""

    lock: Lock
    agents: Mapping[bytes, bytes]


@dataclass
class History:
    """What the chain says about one study."""

    locks: list[Locking]
    sealed: list[SealedLock]


class Replay:
    """Feeds the models and reports. ``study``: list locks and seals of this study only (all are replayed)."""

    def __init__(self, addresses: Addresses, findings: Findings, study: bytes | None) -> None:
        self.registry = Registry(addresses.ledger)
        self._rounds = Rounds(self.registry, addresses)
        self._findings, self._study = findings, study
        self._charged: Event | None = None
        self.histories: dict[bytes, History] = {}

    def run(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._charged is not None and (event.name != "Locked" or event.tx != self._charged.tx):
                self._report(self._charged, ["consent was consumed without a lock"])
                self._charged = None
            if event.contract == abi.REGISTRY:
                self._report(event, self.registry.apply(event))
                self._charged = event if event.name == "Charged" else None
            else:
                self._ledger(event)
        if self._charged is not None:
            self._report(self._charged, ["consent was consumed without a lock"])

    def _ledger(self, event: Event) -> None:
        if event.name == "Locked":
            self._lock(event)
        elif event.name == "Attested":
            self._attest(event)
        elif event.name == "Recovered":
            self._recover(event)
        elif event.name == "Abandoned":
            self._report(event, self._rounds.abandon(event))
        else:
            self._report(event, [f"no rule for {event.name}"])

    def wanted(self, study: bytes) -> bool:
        return self._study is None or self._study == study

    def _lock(self, event: Event) -> None:
        charged, self._charged = self._charged, None
        broken = self._rounds.lock(event, charged)
        lock = Lock.of(event)
        self._history(lock.ctx.study).locks.append(Locking(lock, dict(self.registry.agents)))
        if self.wanted(lock.ctx.study):
            self._findings.locks += 1
            self._findings.rules("gate", _round(lock), broken, "audit.gate")
        else:
            self._report(event, broken)

    def _attest(self, event: Event) -> None:
        study, seal = event.args["study"], digests.Seal(*event.args["seal"].values())
        lock = self._rounds.progress(study).lock
        broken = self._rounds.attest(event)
        if lock is None:
            self._report(event, broken)
            return
        locking = next(x for x in reversed(self._history(study).locks) if x.lock is lock or x.lock == lock)
        sealed = SealedLock(
            lock=lock,
            seal=seal,
            seal_id=event.args["sealId"],
            absent=event.args["absent"],
            event=event,
            lock_agents=locking.agents,
            seal_agents=dict(self.registry.agents),
        )
        self._history(study).sealed.append(sealed)
        if self.wanted(study):
            self._findings.seals += 1
            self._findings.rules("seal", _round(lock), broken, "audit.seal")
        else:
            self._report(event, broken)

    def _recover(self, event: Event) -> None:
        study, broken = event.args["study"], self._rounds.recover(event)
        lock = self._rounds.progress(study).lock
        if lock is None or not self.wanted(study):
            self._report(event, broken)
            return
        subject = f"{_round(lock)} {short(event.args['org'])}"
        self._findings.rules("recovery", subject, broken, "audit.recovery")

    def _history(self, study: bytes) -> History:
        return self.histories.setdefault(study, History([], []))

    def _report(self, event: Event, broken: list[str]) -> None:
        """Lawful registry events are counted, not listed: there are many."""
        if broken:
            name = f"{event.name} {event.contract}#{event.seq}"
            self._findings.failed("event", name, "audit.event", "; ".join(broken))


def _round(lock: Lock) -> str:
    return f"{short(lock.ctx.study)} round {lock.ctx.round}"
