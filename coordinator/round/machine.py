"""The coordinator in one study: `receive`, `advance`, `lock_refused`. Holds no state."""

from __future__ import annotations

from dataclasses import dataclass, field

from consilium_errors import Hostile
from coordinator.round import advancing, receiving, resending
from coordinator.round.checking import Accusation, accusations
from coordinator.round.desk import Desk
from coordinator.round.words import Records, Rules, Step, StudyFacts, View
from crypto.secure_sum.schemes import Scheme


@dataclass(frozen=True)
class CoordinatorRound:
    facts: StudyFacts
    scheme: Scheme
    rules: Rules = field(default_factory=Rules)

    def receive(self, kind: str, body: bytes, records: Records, view: View) -> Step:
        """Check one message and record it.

        Raises:
            Hostile: the message is dropped; only the code may be answered.
        """
        step = receiving.RECEIVERS.get(kind)
        if step is None:
            raise Hostile("round.kind", "no such message")
        return step(self._desk(records, view), body)

    def advance(self, records: Records, view: View) -> Step:
        desk = self._desk(records, view)
        told = advancing.tidy(desk)
        return told if told.records else advancing.advance(desk)

    def lock_refused(self, code: str, records: Records, view: View) -> Step:
        return advancing.lock_refused(self._desk(records, view), code)

    def resend(self, records: Records, view: View) -> Step:
        """The last messages again, to those who have not answered: for a mailbox that lost them."""
        return resending.resend(self._desk(records, view))

    def waiting_for(self, records: Records, view: View) -> tuple[str, tuple[bytes, ...]]:
        """What the round waits for, and from whom."""
        return resending.waiting_for(self._desk(records, view))

    def accused(self, records: Records) -> tuple[Accusation, ...]:
        """What hospitals found in the checks after disputes, all rounds."""
        return accusations(records, self.facts.study.hex())

    def outlook(self, records: Records, view: View) -> tuple[str, tuple[bytes, ...]]:
        """The analysis of the round that the chain awaits, empty when the study is finished, and the datasets of the
        plan at hand."""
        desk = self._desk(records, view)
        name = desk.next_analysis()
        return name, desk.planned_datasets() if name else ()

    def _desk(self, records: Records, view: View) -> Desk:
        return Desk(self.facts, self.scheme, self.rules, records, view)
