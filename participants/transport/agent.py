"""The hospital's agent: answers the coordinator's questions with letters. It knows no Flower.

Rules:

1. A question brings the coordinator's letters and is kept until there is something to say, at most `HOLD_S`.
   The first of all is answered at once: we are here.
2. The oldest is answered first. Two may wait here only while something is to be said soon.
3. A question that is no good is answered with a code, nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from consilium_errors import Error, Hostile, Unavailable
from protos.exchange import Correspondence
from protos.spool import Spool

log = structlog.get_logger(__name__)

HOLD_S: Final = 25.0
#: Should the bell be lost; and the least between two looks.
LOOK_S, SHORTEST_S = 1.0, 0.02


class Question(Protocol):
    """One question, with the way back."""

    payload: bytes

    def answer(self, payload: bytes) -> None: ...

    def refuse(self, code: str) -> None: ...


@dataclass(frozen=True)
class _Held:
    question: Question
    exchange: int
    since: float


class Agent:
    """Args: spool: the hospital's; ``coordinator``: the only peer; ``came``: called when letters have come."""

    def __init__(
        self,
        spool: Spool,
        coordinator: bytes,
        *,
        came: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._letters = Correspondence(spool, coordinator, clock)
        self._clock, self._came = clock, came
        self._held: list[_Held] = []
        self._here = False
        self._lock = threading.Lock()

    def asked(self, question: Question) -> None:
        """A question came: take its letters, keep it."""
        with self._lock:
            try:
                frame = self._letters.take(question.payload)
            except Hostile as error:
                log.warning("question refused", code=error.code)
                question.refuse(error.code)
                return
            except Unavailable as error:
                log.error("question refused", code=error.code, reason=str(error))
                question.refuse(error.code)
                return
            if any(held.exchange == frame.exchange for held in self._held):
                question.refuse("exchange.repeated")
                return
            self._letters.still_awaited({frame.exchange, *frame.awaiting})
            for held in self._held:
                if held.exchange not in frame.awaiting:
                    held.question.refuse("exchange.not_awaited")
            self._held = [held for held in self._held if held.exchange in frame.awaiting]
            self._held.append(_Held(question, frame.exchange, self._clock()))
        if frame.pieces:
            self._came()
        self.speak()

    def speak(self) -> None:
        """Answer what is to be answered now."""
        with self._lock:
            while self._held and self._due(self._held[0]):
                held, self._here = self._held.pop(0), True
                try:
                    held.question.answer(self._letters.frame(held.exchange))
                except Error as error:
                    log.error("no answer", code=error.code, reason=str(error))
                    held.question.refuse(error.code)

    def _due(self, held: _Held) -> bool:
        if not self._here or self._letters.has_news() or self._clock() - held.since > HOLD_S:
            return True
        return len(self._held) > 1 and self._letters.patience() is None

    def _pause(self) -> float:
        """Seconds until something may be due though no letter is posted."""
        with self._lock:
            if not self._held:
                return LOOK_S
            ahead = self._letters.patience()
            held = HOLD_S - (self._clock() - self._held[0].since)
            return min(max(min(held, LOOK_S if ahead is None else ahead), SHORTEST_S), LOOK_S)

    def run(self, posted: Callable[[float], object]) -> None:
        """Look for the hospital's letters for ever; ``posted`` waits until another process has posted some."""
        while True:
            posted(self._pause())
            try:
                self.speak()
            except Error as error:
                log.error("the mailbox cannot be read", code=error.code, reason=str(error))
                time.sleep(1.0)
