"""What runs beside a role's loop: its metrics and health over HTTP on loopback, its log, and a watch over disk,
clock, certificate and gas."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from coordinator import logs
from deploy.checks import Finding, Level

log = structlog.get_logger(__name__)

WATCH_EVERY_S = 60.0
Check = Callable[[], Sequence[Finding]]


class HospitalMetrics:
    """Labels are stable codes only: never a study, a peer or a value."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.turns = Counter("consilium_turns", "Turns of the loop", ["outcome"], registry=self.registry)
        self.seconds = Histogram("consilium_turn_seconds", "Time of a turn", registry=self.registry)

    def observe(self, code: str, seconds: float) -> None:
        self.turns.labels(code or "ok").inc()
        self.seconds.observe(seconds)


class Watch:
    """Looks at the machine now and then; warns in the log when something turns bad or good again.

    Args:
        checks: each returns its findings and may take seconds; a fault of one is no other's.
    """

    def __init__(
        self, checks: Sequence[Check], registry: CollectorRegistry, every_s: float = WATCH_EVERY_S
    ) -> None:
        self._checks, self._every_s = checks, every_s
        self._known: dict[str, str] = {}
        self._gauge = Gauge("consilium_check", "0 good, 1 warning, 2 failing", ["check"], registry=registry)

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.look()
            stop.wait(self._every_s)

    def look(self) -> None:
        for check in self._checks:
            try:
                findings = check()
            except Exception as error:  # watching must not stop the work
                log.warning("check failed", error=type(error).__name__)
                continue
            for finding in findings:
                self._tell(finding)

    def _tell(self, finding: Finding) -> None:
        self._gauge.labels(finding.check).set(list(Level).index(finding.level))
        before, self._known[finding.check] = self._known.get(finding.check, ""), finding.code
        if finding.code and finding.code != before:
            log.warning("check", check=finding.check, code=finding.code, remedy=finding.remedy)
        elif before and not finding.code:
            log.info("check good again", check=finding.check)


def start() -> None:
    """Of a serving process: its files are its own (0600), its log JSON lines on standard error."""
    os.umask(0o077)
    logs.configure(sys.stderr)


def on_signals(stop: threading.Event) -> None:
    """SIGTERM and SIGINT end the loop after its turn; a second one ends the process at once."""

    def handle(*_: object) -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def tell_ready(path: Path, **said: object) -> None:
    """Write what the process answers to (``port=…``) into a small JSON file, whole, for whoever started it."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps({"pid": os.getpid(), "since": int(time.time()), **said}), encoding="utf-8")
    draft.replace(path)


def health(path: Path) -> str:
    """What the process that wrote ``path`` says of itself on loopback: ``ok``, ``failing …``, ``not serving``."""
    import requests

    try:
        port = int(json.loads(path.read_text(encoding="utf-8"))["ops_port"])
        told = requests.get(f"http://127.0.0.1:{port}/health", timeout=2).json()
        return str(told["status"]) + (f" ({told['code']})" if told.get("code") else "")
    except (OSError, ValueError, KeyError, TypeError, requests.RequestException):
        return "not serving"
