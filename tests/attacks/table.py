"""The laptop council under attack: letters can be heard and held up, calls to the chain intercepted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from analytics.study import StudySpec
from analytics.table import Table
from consent_contracts.chain import Chain
from consilium_errors import Misuse, Unavailable
from consilium_records import RecordStore
from coordinator.round import Call, LockCall
from deploy.council import Council, Seat
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import MemoryMailbox
from tests.conftest import tiny_table

NAMES = "abcd"


class HeardMailbox(MemoryMailbox):
    """Tells whoever wants to know what is posted, before it is."""

    def __init__(self) -> None:
        super().__init__()
        self.ears: list[Callable[[bytes, pb.Mail], None]] = []

    def post(self, to: bytes, body: bytes) -> None:
        mail = wire.parse(pb.Mail, body)
        for ear in list(self.ears):
            ear(to, mail)
        super().post(to, body)


@dataclass
class Reads:
    """Who read data, for which study."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def table_of(self, name: str, seed: int) -> Callable[[StudySpec], Table]:
        table = tiny_table(seed)

        def read(spec: StudySpec) -> Table:
            self.rows.append((name, spec.id))
            return table(spec)

        return read

    def of(self, spec: StudySpec) -> str:
        return "".join(sorted(name for name, study in self.rows if study == spec.id))


def written(store: RecordStore) -> list[tuple[str, str, bytes]]:
    """From now on, everything that is written to a store, kept though the store forgets."""
    rows: list[tuple[str, str, bytes]] = []
    commit = store.commit

    def listening(records: object = (), send: object = (), forget: object = ()) -> None:
        kept = list(records)  # type: ignore[call-overload]
        rows.extend(kept)
        commit(kept, send, forget)  # type: ignore[arg-type]

    store.commit = listening  # type: ignore[method-assign,assignment]
    return rows


class Ring:
    """A council whose parts can be got at."""

    def __init__(self, folder: Path, url: str) -> None:
        folder.chmod(0o700)
        self.mailbox, self.reads = HeardMailbox(), Reads()
        data = {name: self.reads.table_of(name, i) for i, name in enumerate(NAMES)}
        self.council = Council(folder, url, data, mailbox=self.mailbox)
        self.refused: list[str] = []
        self.before: Callable[[Call], None] | None = None
        self.after: Callable[[Call], None] | None = None
        self._studies: list[bytes] = []
        self._carry_out = self.council.coordinator._calls
        self.council.coordinator._calls = self._call

    def _call(self, asked: Call) -> None:
        if self.before is not None:
            self.before(asked)
        try:
            self._carry_out(asked)
        except Misuse:
            raise
        except Exception as error:
            self.refused.append(getattr(error, "code", ""))
            raise
        if self.after is not None:
            self.after(asked)

    def register(self, spec: StudySpec) -> bytes:
        """A new study; those of earlier tests rest, or every look at the chain would be for all of them."""
        while self._studies:
            self._retire(self._studies.pop())
        study = self.council.register(spec)
        self._studies.append(study)
        return study

    def _retire(self, study: bytes) -> None:
        self.council.coordinator.cancel(study)
        for seat in self.council.seats.values():
            if seat.hospital.store.get(study.hex(), "release") is None:
                seat.hospital.store.commit([(study.hex(), "release", b"retired")])

    def seat(self, name: str) -> Seat:
        return self.council.seats[name]

    def org(self, name: str) -> bytes:
        return self.seat(name).desk.org

    def chains(self) -> list[Chain]:
        return [s.hospital.chain for s in self.council.seats.values()] + [self.council.coordinator.chain]

    def revoke(self, name: str, spec: StudySpec, study: bytes) -> None:
        """Revoked, and final for everybody who asks."""
        seat = self.seat(name)
        self.council.revoke(seat, spec, study)
        dataset = seat.datasets[spec.id]
        self.until(lambda: all(c.snapshot().gate(study, [dataset])[0].status for c in self.chains()))

    def on_letter(self, name: str, kind: str, act: Callable[[], None]) -> None:
        """Do something once, just before a letter of that kind is posted to a hospital."""

        def ear(to: bytes, mail: pb.Mail) -> None:
            if (to, mail.kind) == (self.org(name), kind):
                self.mailbox.ears.remove(ear)
                act()

        self.mailbox.ears.append(ear)

    def on_lock(self, act: Callable[[], None], *, after: bool = False) -> None:
        """Do something once, just before or just after the next lock is asked of the chain."""

        def call(asked: Call) -> None:
            if isinstance(asked, LockCall):
                self.before = self.after = None
                act()

        if after:
            self.after = call
        else:
            self.before = call

    def attested(self, study: bytes) -> int:
        return self.council.coordinator.chain.snapshot().head(study).attested

    def codes(self, name: str) -> list[tuple[str, str]]:
        return self.seat(name).hospital.refusals

    def until(self, done: Callable[[], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise Unavailable("ring.timeout", "waited too long")
            time.sleep(0.01)


@dataclass
class Rogue:
    """The room of `rogue.Attempt` over the real chain: its coordinator is the test, hospitals are real."""

    ring: Ring
    spec: StudySpec
    study: bytes
    ears: list[Callable[[str, bytes], None]] = field(default_factory=list)

    @property
    def orgs(self) -> tuple[bytes, ...]:
        return tuple(sorted(self.ring.org(name) for name in self.spec.sites))

    def name(self, org: bytes) -> str:
        return next(n for n in self.spec.sites if self.ring.org(n) == org)

    def hand(self, org: bytes, kind: str, body: bytes) -> list[tuple[str, bytes]]:
        """Post a letter and wait until the hospital has answered or refused it."""
        coordinator, mailbox = self.ring.council.coordinator.me, self.ring.mailbox
        self._hear(kind, body)
        mailbox.post(org, wire.encode(pb.Mail(kind=kind, study=self.study, sender=coordinator, body=body)))
        hospital = self.ring.seat(self.name(org)).hospital
        self.ring.until(lambda: bool(hospital.tick()) and not mailbox.fetch(org))
        answers = []
        for letter in mailbox.fetch(coordinator):
            mail = wire.parse(pb.Mail, letter.body)
            mailbox.acknowledge(coordinator, letter.number)
            answers.append((mail.kind, bytes(mail.body)))
            self._hear(mail.kind, mail.body)
        return answers

    def _hear(self, kind: str, body: bytes) -> None:
        for ear in self.ears:
            ear(kind, body)

    def lock(self, call: LockCall) -> bytes:
        self.ring._carry_out(call)
        root = digests.receipts_root(call.orgs, call.upload_hashes)
        lock_id = digests.lock_id(call.plan_hash, root)

        def final() -> bool:
            heads = [c.snapshot().head(self.study).lock for c in self.ring.chains()]
            return all(lock is not None and lock.lock_id == lock_id for lock in heads)

        self.ring.until(final)
        return lock_id

    def agents(self) -> Mapping[bytes, bytes]:
        return self.ring.council.agents()

    def now(self) -> int:
        return self.ring.council.coordinator.chain.snapshot().now()

    def ctx(self, **changes: object) -> digests.Ctx:
        """The context that the real coordinator would offer first."""
        coordinator = self.ring.council.coordinator
        machine, view = coordinator._machine(self.study), coordinator._view(self.study)
        facts, (analysis, _) = machine.facts, machine.outlook(coordinator.store, view)
        ctx = digests.Ctx(
            chain_id=facts.chain_id,
            registry=facts.registry,
            ledger=facts.ledger,
            study=self.study,
            analysis=digests.analysis_id(analysis),
            spec_hash=facts.spec_hash,
            code_hash=facts.code_hash,
            round=view.head.attested + 1,
            release=1,
            attempt=1,
            prev_seal=view.head.tip,
            state_commit=view.head.state_commit if view.head.attested else facts.genesis_commit,
            mode=digests.EXACT,
            rho=0,
            delta=0,
            noise=digests.ZERO32,
        )
        return replace(ctx, **changes)  # type: ignore[arg-type]
