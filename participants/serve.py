"""The hospital's process: letters and rounds in one loop, approvals by rule beside it, until it is told to stop.

No error ends a loop: a study's trouble is its own, and a store, disk or chain that is away comes back. What was
being done is recorded or is done again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from consilium_errors import Error, Misuse, Refused, Unavailable
from consilium_records import named
from participants.approvals import Approvals, Offered
from participants.consent_desk import ConsentDesk
from participants.hospital import Hospital

log = structlog.get_logger(__name__)

IDLE_S = 1.0  # letters wake it
FAILED_WAIT_S = 1.0
APPROVE_EVERY_S = 0.5
ASK_AGAIN_S = 60.0

#: Told after each turn: its code (empty: all is well) and the seconds it took.
Observe = Callable[[str, float], None]


class Loop:
    """Args: ``observe`` is called after every turn."""

    def __init__(
        self, hospital: Hospital, *, idle_s: float = IDLE_S, observe: Observe = lambda code, s: None
    ) -> None:
        self._hospital, self._idle_s, self._observe = hospital, idle_s, observe
        self._failed = False

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; the turn at hand is finished."""
        while not stop.is_set():
            pause = self.turn()
            if self._failed:
                stop.wait(pause)
            elif pause:
                self._hospital.wait(pause)

    def turn(self) -> float:
        """One turn; seconds to wait before the next."""
        since, code, pause, self._failed = time.monotonic(), "", 0.0, False
        try:
            pause = 0.0 if self._hospital.tick() else self._idle_s
        except Exception as error:
            code, pause, self._failed = _log("turn failed", error), FAILED_WAIT_S, True
        self._observe(code, time.monotonic() - since)
        return pause


class AutoApproval:
    """Says yes where hospital.toml says ``approve = "auto"`` and its rules agree.

    Args:
        desk: the steward's; None: everything waits for a person, who brings the key.
    """

    def __init__(self, approvals: Approvals, desk: ConsentDesk | None) -> None:
        self._approvals, self._desk = approvals, desk
        self._told: set[tuple[bytes, str]] = set()
        self._not_before: dict[bytes, float] = {}

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(APPROVE_EVERY_S):
            try:
                self.look()
            except Exception as error:
                _log("approvals failed", error)
                stop.wait(FAILED_WAIT_S)

    def look(self) -> None:
        """Once over all studies that wait."""
        for offered in self._approvals.offered():
            if offered.state in ("waiting", "approving"):
                self._decide(offered)

    def _decide(self, offered: Offered) -> None:
        if time.monotonic() < self._not_before.get(offered.study, 0.0):
            return
        try:
            dataset = self._approvals.datasets.serving(offered.spec)
            if dataset.config.policy.approve == "manual":
                self._tell(offered, "approval.awaits_person")
            elif self._desk is None:
                self._tell(offered, "approval.awaits_steward")
            else:
                self._approvals.approve(offered.study, self._desk)
                log.info("approved by rule", study=offered.spec.id)
        except Unavailable as error:
            self._tell(offered, error.code)
        except (Refused, Misuse) as error:
            # The rules, or the file, may be changed at home meanwhile.
            self._not_before[offered.study] = time.monotonic() + ASK_AGAIN_S
            self._tell(offered, error.code)

    def _tell(self, offered: Offered, code: str) -> None:
        if (offered.study, code) not in self._told:
            self._told.add((offered.study, code))
            log.warning("study waits", study=offered.spec.id, code=code)


def _log(event: str, error: Exception) -> str:
    """The stable code under which it was logged; of what we did not foresee the log has class and place."""
    found = named(error)
    if isinstance(found, Error):
        log.warning(event, code=found.code)
        return found.code
    log.exception(event, error=type(error).__name__)
    return "hospital.internal"
