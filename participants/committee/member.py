"""A member at work: letters in, records, meetings, letters out. One thread; one meeting at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from analytics.study import StudySpec
from consent_contracts.chain import Chain, own_node
from consilium_errors import Error, Hostile, Misuse, Refused, Unavailable
from consilium_records import RecordStore, named
from crypto import envelopes
from crypto.identity import AgentKey
from crypto.mpc.process import Job
from participants.committee import job, machine
from participants.committee.job import Bench
from participants.committee.machine import Due, Seat, View
from participants.round.words import Step
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import Letter, Mailbox

log = structlog.get_logger(__name__)

STUDIES = "studies"
#: A member that neither answers nor fails is stuck; its process is ended.
LONGEST_S = 600.0


@dataclass
class _Meeting:
    due: Due
    job: Job[bytes]


class Committee:
    """One member and all studies that it serves.

    Args:
        coordinator: address of the one that letters go to.
        chain: over this member's own nodes, at least two.
        compute: what a meeting runs in its process; replaced by tests that play a faulty member.
    """

    def __init__(
        self,
        bench: Bench,
        *,
        coordinator: bytes,
        code_hash: bytes,
        store: RecordStore,
        mailbox: Mailbox,
        chain: Chain,
        compute: Callable[..., bytes] = job.compute,
    ) -> None:
        self.seat = Seat(AgentKey.from_bytes(bench.key), code_hash)
        self.key = envelopes.public_of(bench.hpke)
        self.store, self.chain = store, chain
        self._bench, self._coordinator, self._mailbox = bench, coordinator, mailbox
        self._compute = compute
        self._specs: dict[bytes, StudySpec] = {}
        self._meeting: _Meeting | None = None

    @property
    def org(self) -> bytes:
        return self.seat.org

    # studies ------------------------------------------------------------------------------------------

    def studies(self) -> list[bytes]:
        slots = self.store.slots(STUDIES, "offer-")
        return [bytes.fromhex(slot.removeprefix("offer-")) for slot in sorted(slots)]

    def spec(self, study: bytes) -> StudySpec:
        """Raises Hostile ``study.unknown``."""
        if study not in self._specs:
            body = self.store.get(STUDIES, f"offer-{study.hex()}")
            if body is None:
                raise Hostile("study.unknown", "this study was not offered to us")
            self._specs[study] = StudySpec.from_canonical(wire.parse(pb.StudyOffer, body).spec)
        return self._specs[study]

    def _offered(self, mail: pb.Mail) -> None:
        offer = wire.parse(pb.StudyOffer, mail.body)
        spec = StudySpec.from_canonical(offer.spec)
        with own_node():
            on_chain = self.chain.snapshot().study(offer.study)
        machine.check_offer(offer, spec, on_chain, self.org, self.key)
        self.store.commit([(STUDIES, f"offer-{offer.study.hex()}", mail.body)])

    # work ---------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Deal with what is there: letters, the meeting, seals on the chain. True if anything was done."""
        done = self._flush()
        for letter in self._mailbox.fetch(self.org):
            done |= self._deal(letter)
        for study in self.studies():
            done |= self._attend(study)
        return self._flush() or done

    def _deal(self, letter: Letter) -> bool:
        try:
            mail = wire.parse(pb.Mail, letter.body)
            if mail.kind == "offer":
                self._offered(mail)
            else:
                self._apply(mail.study, self._handle(mail))
        except Unavailable as error:
            log.info("letter kept for later", code=error.code)
            return False
        except (Hostile, Refused, Misuse) as error:
            log.warning("letter dropped", code=error.code)
            if not isinstance(error, Hostile):
                self._decline(letter, error)
        except Exception as error:
            found = named(error)
            if found is not None:  # a full disk, a locked database: nothing may be lost
                log.warning("letter kept for later", code=found.code)
                return False
            log.exception("letter failed", kind=type(error).__name__)
        self._mailbox.acknowledge(self.org, letter.number)
        return True

    def _decline(self, letter: Letter, error: Error) -> None:
        """What we will not compute is said, so that the study does not wait without a word."""
        mail = wire.parse(pb.Mail, letter.body)
        if mail.kind == "inputs":
            lock_id = wire.parse(pb.Inputs, mail.body).lock_id
            self._apply(mail.study, machine.declined(lock_id, error.code, self.seat))

    def _handle(self, mail: pb.Mail) -> Step:
        study, spec = mail.study, self.spec(mail.study)
        view = self._view(study)
        match mail.kind:
            case "inputs":
                return machine.on_inputs(spec, mail.body, self.seat, self.store, view)
            case "share":
                return machine.on_share(study, mail.body, self.store, view)
            case "compute":
                return machine.on_compute(study, mail.body, self.store, view)
        raise Hostile("round.kind", "no such message")

    def _attend(self, study: bytes) -> bool:
        """End, begin or look after the meeting of this study."""
        try:
            view = self._view(study)
        except Unavailable as error:
            log.info("study waits", code=error.code)
            return False
        if self._meeting is not None and self._over(self._meeting.due, study, view):
            self._leave()  # before its round is forgotten: it writes a journal
        done = self._apply(study, machine.tidy(study, self.store, view))
        lock = view.head.lock
        scope = "" if lock is None else machine.lock_scope(study, lock.round, lock.lock_id)
        numbers = self.store.slots(scope, "compute-") if scope else {}
        due = machine.due(study, numbers, self.store, view)
        meeting = self._meeting
        if meeting is not None and meeting.due.study == study:
            if meeting.due != due:
                self._leave()  # told another number, or the round is over
            elif meeting.job.done():
                self._apply(study, self._ended(meeting))
                self._leave()
                return True
            else:
                return done
        if due is not None and self._meeting is None:
            spec = self.spec(study).canonical()
            started = Job(self._compute, self._bench, due, spec, view.study, dict(view.agents))
            self._meeting = _Meeting(due, started)
            log.info("meeting", number=due.number)
            return True
        return done

    @staticmethod
    def _over(due: Due, study: bytes, view: View) -> bool:
        return due.study == study and due.round <= view.head.attested

    def _ended(self, meeting: _Meeting) -> Step:
        try:
            output = wire.parse(pb.Output, meeting.job.result(LONGEST_S))
            return machine.came_to(meeting.due, output, "", self.seat)
        except Error as error:
            log.warning("meeting failed", code=error.code, why=str(error))
            return machine.came_to(meeting.due, None, error.code, self.seat)

    def _leave(self) -> None:
        if self._meeting is not None:
            self._meeting.job.end()
            self._meeting = None

    def _view(self, study: bytes) -> View:
        with own_node():
            snapshot = self.chain.snapshot()
            on_chain = snapshot.study(study)
            return View(on_chain, snapshot.head(study), snapshot.agents(on_chain.roster))

    # what goes out ------------------------------------------------------------------------------------

    def _apply(self, study: bytes, step: Step) -> bool:
        letters = [(self._coordinator, self._mail(study, kind, body)) for kind, body in step.send]
        if step.records or letters or step.forget:
            self.store.commit(step.records, letters, step.forget)
        if step.progress:
            log.info("step", progress=step.progress)
        return bool(step.records or step.send)

    def _mail(self, study: bytes, kind: str, body: bytes) -> bytes:
        return wire.encode(pb.Mail(kind=kind, study=study, sender=self.org, body=body))

    def _flush(self) -> bool:
        return self.store.flush(self._mailbox.post)

    def close(self) -> None:
        self._leave()
        self.store.close()
