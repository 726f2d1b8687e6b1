"""The coordinator's loop: letters, rounds and beginnings, in one thread, until it is told to stop."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import structlog

from consilium_errors import Error
from coordinator.consents import Beginnings
from coordinator.ops import Metrics, Pulse
from coordinator.service import Coordinator

log = structlog.get_logger(__name__)

BEGIN_EVERY_S = 0.5
FAILED_WAIT_S = 1.0


class Loop:
    """The loop and its thread.

    Args:
        idle_s: the longest pause after a turn with nothing to do; letters and the chain end it.
        resend_s: how often unanswered words are said again; None: never.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        beginnings: Beginnings,
        metrics: Metrics,
        pulse: Pulse,
        *,
        idle_s: float = BEGIN_EVERY_S,
        resend_s: float | None = 60.0,
    ) -> None:
        self._coordinator, self._beginnings = coordinator, beginnings
        self._metrics, self._pulse = metrics, pulse
        self._idle_s, self._resend_s = idle_s, resend_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coordinator", daemon=True)
        self._begun = self._resent = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Ends after the turn at hand; whatever that leaves undone is done after the next start."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            pause = FAILED_WAIT_S
            with suppress(Exception):  # such as a log that cannot be written: the turn comes again
                pause = self._turn()
            if pause == FAILED_WAIT_S:
                self._stop.wait(pause)
            elif pause:
                self._coordinator.wait(pause)

    def _turn(self) -> float:
        """Seconds to wait before the next. No error ends the loop: a study's trouble is its own, and a store
        or chain that is away comes back."""
        since = time.monotonic()
        try:
            done = self._work(since)
        except Error as error:
            log.warning("turn failed", code=error.code)
            return self._failed(error.code)
        except Exception as error:
            log.exception("turn failed", error=type(error).__name__)
            return self._failed("coordinator.internal")
        self._metrics.ticks.labels("ok").inc()
        self._metrics.tick_seconds.observe(time.monotonic() - since)
        self._metrics.last_tick.set_to_current_time()
        self._pulse.beat()
        return 0.0 if done else self._idle_s

    def _work(self, now: float) -> bool:
        done = self._coordinator.tick()
        if now - self._begun >= BEGIN_EVERY_S:
            self._begun = now
            done |= self._beginnings.begin()
            self._metrics.studies.set(len(self._coordinator.studies()))
        if self._resend_s is not None and now - self._resent >= self._resend_s:
            self._resent = now
            self._coordinator.resend()
        return done

    def _failed(self, code: str) -> float:
        self._metrics.ticks.labels(code).inc()
        self._pulse.failed(code)
        return FAILED_WAIT_S
