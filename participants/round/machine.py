"""Dispatch: one message to its step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from consilium_errors import Hostile
from participants.round import checking, closing, joining, opening, recovering, uploading
from participants.round.desk import Desk, Plans
from participants.round.words import Ports, Records, Site, Step, StudyFacts, View

STEPS: Mapping[str, Callable[[Desk, bytes], Step]] = {
    "task": joining.on_task,
    "hellos": joining.on_hellos,
    "plan": uploading.on_plan,
    "locked": opening.on_locked,
    "recover": recovering.on_recover,
    "sum": opening.on_sum,
    "outputs": opening.on_outputs,
    "check": checking.on_check,
    "checked-all": checking.on_checked_all,
    "ranges": checking.on_ranges,
    "attested": closing.on_attested,
    "catch-up-request": closing.on_catch_up_request,
    "catch-up": closing.on_catch_up,
}


@dataclass(frozen=True)
class HospitalRound:
    """One hospital in one study. Everything is in the records it is shown; ``plans`` only saves work."""

    facts: StudyFacts
    site: Site
    ports: Ports
    plans: Plans = field(default_factory=Plans, compare=False, repr=False)

    def handle(self, kind: str, body: bytes, records: Records, view: View) -> Step:
        """The step that ``body`` asks for.

        Raises:
            Hostile, Refused, Unavailable: nothing is to be recorded; only the code may be answered.
        """
        step = STEPS.get(kind)
        if step is None:
            raise Hostile("round.kind", "no such message")
        return step(self._desk(records, view), body)

    def settle(self, records: Records, view: View) -> Step:
        return closing.settle(self._desk(records, view))

    def release(
        self, result: bytes, recipient_key: bytes, seal_ids: list[bytes], records: Records, view: View
    ) -> Step:
        desk = self._desk(records, view)
        return closing.release(desk, result, recipient_key, seal_ids)

    def _desk(self, records: Records, view: View) -> Desk:
        return Desk(self.facts, self.site, self.ports, records, view, self.plans)
