"""Structured logs, one JSON object a line: names, codes and short hashes; never a secret, a value or a payload."""

from __future__ import annotations

import logging
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

_SECRET = ("secret", "key", "token", "password", "passphrase", "seed", "salt", "authorization")
_LONGEST = 512


def configure(stream: TextIO, *, level: int = logging.INFO) -> None:
    """For the whole process; called once, by whoever starts it."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Lines(stream),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
            ),
            discreet,
            structlog.processors.JSONRenderer(),
        ],
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for before in [h for h in root.handlers if isinstance(h, _Libraries)]:
        root.removeHandler(before)
    root.addHandler(_Libraries(max(level, logging.WARNING)))


class _Libraries(logging.Handler):
    """What libraries say through the standard library's logging, as one of our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say("library", library=record.name, said=record.getMessage())


class _Lines:
    """One line, one write; a log that cannot be written (a full disk, a closed pipe) stops nobody's work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def __call__(self, *_: object) -> _Lines:
        return self

    def msg(self, message: str) -> None:
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(message + "\n")
            self._stream.flush()

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def discreet(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What must not be in a log is not, even if somebody passes it: a net below the callers' own care."""
    return {name: _shown(name, value) for name, value in event.items()}


def _shown(name: str, value: object) -> object:
    if any(word in name.lower() for word in _SECRET):
        return "[not logged]"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, str) and len(value) > _LONGEST:
        return value[:_LONGEST] + "…"
    return value
