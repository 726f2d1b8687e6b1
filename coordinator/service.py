"""The coordinator at work: letters in, records, letters out, transactions. It holds no key but its own account's."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from analytics import registry
from analytics.study import StudySpec
from consent_contracts.chain import AnalysisView, Chain, own_node
from consilium_errors import Hostile, Misuse, Refused, Unavailable
from consilium_records import RecordStore
from coordinator.round import (
    Accusation,
    Call,
    CoordinatorRound,
    LockCall,
    Rules,
    Step,
    StudyFacts,
    View,
)
from crypto.secure_sum import schemes
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import Letter, Mailbox

log = structlog.get_logger(__name__)

STUDIES = "studies"


@dataclass(frozen=True)
class Status:
    """Where a study stands; nothing in it is secret."""

    round: int
    attempt: int
    analysis: str
    waiting_for: str
    missing: tuple[bytes, ...]
    last: str
    finished: bool
    halted: str
    accused: tuple[Accusation, ...]


class Coordinator:
    """All studies of one coordinator. `tick` and `resend` belong to one thread; the rest may be called from any.

    Args:
        calls: carries out ``lock``, ``recover`` and ``attest`` on the chain, each once; raises `Refused`
            with the contract's reason. It may return before that is done: it is called until the chain shows it.
        look_s: how often a study is looked at though no letter came and nothing is awaited of the chain.
    """

    def __init__(
        self,
        me: bytes,
        *,
        store: RecordStore,
        mailbox: Mailbox,
        chain: Chain,
        calls: Callable[[Call], None],
        code_hash: bytes,
        rules: Rules | None = None,
        look_s: float = 0.0,
    ) -> None:
        self.me = me
        self.store = store
        self.chain = chain
        self._mailbox = mailbox
        self._calls = calls
        self._code_hash = code_hash
        self._rules = rules or Rules()
        self._machines: dict[bytes, CoordinatorRound] = {}
        self._look_s = look_s
        self._look_at: dict[bytes, float] = {}
        self._next_look = 0.0
        self._touched: set[bytes] = set()
        self._called: dict[bytes, Call] = {}
        self._kept = False
        self._last: dict[bytes, str] = {}
        self._resent: dict[bytes, int] = {}
        self._deciding = threading.Lock()  # two threads must not find one record missing at once

    # studies ------------------------------------------------------------------------------------------

    def studies(self) -> list[bytes]:
        slots = self.store.names(STUDIES, "offer-")
        return [bytes.fromhex(s.removeprefix("offer-")) for s in sorted(slots)]

    def submit(self, body: bytes) -> bytes:
        """Take a study that the chain already knows, and offer it to its roster. Returns its id.

        Raises:
            Hostile: ``offer.unpinned``, ``study.malformed`` or a ``wire.*``.
        """
        offer = wire.parse(pb.StudyOffer, body)
        spec = StudySpec.from_canonical(offer.spec)
        with own_node():
            on_chain = self.chain.snapshot().study(offer.study)
        key = hashlib.sha256(offer.sponsor_key).digest()
        if (spec.spec_hash, key) != (on_chain.spec_hash, on_chain.sponsor_key):
            raise Hostile("offer.unpinned", "the chain knows this study under another spec or key")
        committee = (member.address for member in spec.committee)
        mails = [(org, self._mail(offer.study, "offer", body)) for org in (*on_chain.roster, *committee)]
        with self._deciding:
            if self.offer(offer.study) is None:
                self.store.commit([(STUDIES, f"offer-{offer.study.hex()}", body)], mails)
        return offer.study

    def offer(self, study: bytes) -> pb.StudyOffer | None:
        """The study as it was submitted, if it was."""
        body = self.store.get(STUDIES, f"offer-{study.hex()}")
        return None if body is None else wire.parse(pb.StudyOffer, body)

    def start(self, study: bytes) -> None:
        """Begin rounds: the sponsor saw enough approvals.

        Raises:
            Misuse: ``study.unknown``. Refused: ``study.cancelled``.
        """
        self._machine(study)
        if self.cancelled(study):
            raise Refused("study.cancelled", "the study was cancelled")
        with self._deciding:
            self.store.commit([(STUDIES, f"started-{study.hex()}", b"\1")])

    def started(self, study: bytes) -> bool:
        return self.store.get(STUDIES, f"started-{study.hex()}") is not None

    def cancel(self, study: bytes) -> None:
        """No more rounds; for good. What is sealed stays, and what is locked stays locked.

        Raises:
            Misuse: ``study.unknown``.
        """
        self._machine(study)
        with self._deciding:
            self.store.commit([(STUDIES, f"cancelled-{study.hex()}", b"\1")])

    def cancelled(self, study: bytes) -> bool:
        return self.store.get(STUDIES, f"cancelled-{study.hex()}") is not None

    def _running(self) -> list[bytes]:
        started, cancelled = (
            {slot.removeprefix(kind) for slot in self.store.names(STUDIES, kind)}
            for kind in ("started-", "cancelled-")
        )
        return [bytes.fromhex(study) for study in sorted(started - cancelled)]

    def status(self, study: bytes) -> Status:
        view, machine = self._view(study), self._machine(study)
        attempt = _attempt(self.store, study, view.head.attested + 1)
        kind, missing = machine.waiting_for(self.store, view)
        scope = f"{study.hex()}/{view.head.attested + 1}/{attempt.ctx.attempt}"
        halted = self.store.get(scope, "halted") or b""
        last = self.store.get(study.hex(), f"next-{view.head.attested}")
        return Status(
            round=view.head.attested + 1,
            attempt=attempt.ctx.attempt,
            analysis=attempt.analysis,
            waiting_for=kind,
            missing=missing,
            last=self._last.get(study, ""),
            finished=last == b"",
            halted=halted.decode(),
            accused=machine.accused(self.store),
        )

    def releases(self, study: bytes) -> dict[bytes, bytes]:
        """Organisation → its signed release, sealed to the sponsor's key."""
        found = self.store.slots(study.hex(), "release-")
        return {bytes.fromhex(s.removeprefix("release-")): b for s, b in sorted(found.items())}

    def sealed_analysis(self, study: bytes, number: int) -> str | None:
        """Name of the analysis that round ``number`` served, once it is attested; None before."""
        if self.store.get(study.hex(), f"told-{number}") is None:
            return None
        before = self.store.get(study.hex(), f"next-{number - 1}")
        return self._machine(study).facts.first_analysis if before is None else before.decode()

    def _machine(self, study: bytes) -> CoordinatorRound:
        if study not in self._machines:
            offer = self.offer(study)
            if offer is None:
                raise Misuse("study.unknown", "no such study was submitted", "submit it first")
            self._machines[study] = self._build(offer)
        return self._machines[study]

    def _build(self, offer: pb.StudyOffer) -> CoordinatorRound:
        spec = StudySpec.from_canonical(offer.spec)
        genesis = registry.genesis(spec)
        first = registry.current(spec, genesis)
        ids = self.chain.addresses
        facts = StudyFacts(
            study=offer.study,
            chain_id=self.chain.addresses.chain_id,
            registry=ids.registry,
            ledger=ids.ledger,
            spec_hash=spec.spec_hash,
            code_hash=self._code_hash,
            genesis_commit=digests.state_commit(digests.genesis_salt(spec.spec_hash), genesis.to_bytes()),
            first_analysis="" if first is None else first.name,
            committee=tuple(member.address for member in spec.committee),
        )
        return CoordinatorRound(facts, schemes.by_name(spec.sum), self._rules)

    # work ---------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Deal with what is there. True if anything was done."""
        done, self._kept, begun = self._flush(), False, time.monotonic()
        for letter in self._mailbox.fetch(self.me):
            dealt = self._deal(letter, begun)
            self._kept |= not dealt
            done |= dealt
        running = self._running()
        for study in running:
            if study in self._touched or time.monotonic() >= self._look_at.get(study, 0.0):
                self._touched.discard(study)
                if self._advance(study, begun):
                    self._touched.add(study)
                    done = True
                pause = self.chain.pace if study in self._called else self._look_s
                self._look_at[study] = time.monotonic() + min(pause, self._look_s)
        self._next_look = min((self._look_at[study] for study in running), default=float("inf"))
        return self._flush() or done

    def wait(self, most_s: float) -> None:
        """Until a letter comes, or a study is to be looked at."""
        ahead = self._next_look - time.monotonic()
        if self._kept:
            ahead = min(ahead, self.chain.pace)
        self._mailbox.wait(min(most_s, max(ahead, 0.0)))

    def resend(self) -> None:
        """Say the last words again to whoever has not answered; for a mailbox that lost them."""
        for study in self._running():
            self._apply(study, self._machine(study).resend(self.store, self._view(study)))
        self._flush()

    def _deal(self, letter: Letter, since: float) -> bool:
        try:
            mail = wire.parse(pb.Mail, letter.body)
            if mail.kind == "offer":
                self.submit(mail.body)
            else:
                machine = self._machine(mail.study)
                self._touched.add(mail.study)
                view = self._view(mail.study, since)
                self._apply(mail.study, machine.receive(mail.kind, mail.body, self.store, view))
        except Unavailable as error:
            log.info("letter kept for later", code=error.code)
            return False
        except (Hostile, Refused, Misuse) as error:
            log.warning("letter dropped", code=error.code)
        self._mailbox.acknowledge(self.me, letter.number)
        return True

    def _advance(self, study: bytes, since: float) -> bool:
        machine = self._machine(study)
        try:
            view = self._view(study, since)
            step = machine.advance(self.store, view)
            done = self._apply(study, step)
            if step.call is None:
                self._called.pop(study, None)
            else:
                done |= self._called.get(study) != step.call
                self._called[study] = step.call
                self._call(study, machine, step.call)
        except Unavailable as error:
            log.info("study waits", code=error.code)
            return False
        except (Hostile, Refused, Misuse) as error:
            # One study's trouble is no other's.
            log.warning("study stands", code=error.code)
            self._last[study] = error.code
            return False
        return done

    def _call(self, study: bytes, machine: CoordinatorRound, call: Call) -> None:
        try:
            self._calls(call)
        except Refused as error:
            log.warning("the chain refused", code=error.code)
            if isinstance(call, LockCall):
                self._apply(study, machine.lock_refused(error.code, self.store, self._view(study)))
            else:
                raise

    def _view(self, study: bytes, since: float | None = None) -> View:
        with own_node():
            return self._look(study, since)

    def _look(self, study: bytes, since: float | None) -> View:
        snapshot = self.chain.snapshot(since)
        on_chain, head = snapshot.study(study), snapshot.head(study)
        machine = self._machine(study)
        nothing = AnalysisView(rho=0, delta=0, noise=digests.ZERO32)
        view = View(on_chain, nothing, head, (), snapshot.agents(on_chain.roster), snapshot.now())
        name, datasets = machine.outlook(self.store, view)
        if not name:
            return view
        return replace(
            view,
            analysis=snapshot.analysis(study, digests.analysis_id(name)),
            gates=tuple(snapshot.gate(study, datasets)) if datasets else (),
        )

    # what goes out ------------------------------------------------------------------------------------

    def _apply(self, study: bytes, step: Step) -> bool:
        letters = [(org, self._mail(study, kind, body)) for org, kind, body in step.send]
        self.store.commit(step.records, letters, step.forget)
        if step.progress:
            self._last[study] = step.progress
            log.info("step", progress=step.progress, study=study.hex()[:8])
        return bool(step.records or step.send)

    def _mail(self, study: bytes, kind: str, body: bytes) -> bytes:
        return wire.encode(pb.Mail(kind=kind, study=study, sender=self.me, body=body))

    def _flush(self) -> bool:
        return self.store.flush(self._mailbox.post)

    def close(self) -> None:
        self.store.close()


def _attempt(store: RecordStore, study: bytes, number: int) -> custody.AttemptRecord:
    found = store.slots(f"{study.hex()}/{number}", "attempt-")
    if not found:
        return custody.AttemptRecord()
    last = max(found, key=lambda slot: int(slot.removeprefix("attempt-")))
    return custody.AttemptRecord.FromString(found[last])
