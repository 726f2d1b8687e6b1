"""How much one organisation may ask of the server."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from consilium_errors import Refused


@dataclass(frozen=True)
class Limits:
    """Bytes, seconds, calls. ``workers`` threads serve all; ``in_flight`` is for each organisation."""

    message_bytes: int = 2 << 20
    calls_per_s: float = 20.0
    burst: int = 60
    in_flight: int = 8
    workers: int = 64
    stream_s: float = 900.0
    longest_s: float = 3600.0
    connection_s: float = 3600.0


class Meter:
    """A token bucket and a count of open calls for each organisation."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._lock = threading.Lock()
        self._open: Counter[bytes] = Counter()
        self._tokens: dict[bytes, tuple[float, float]] = {}

    @contextmanager
    def call(self, org: bytes) -> Iterator[None]:
        """Raises Refused ``api.rate`` or ``api.busy``."""
        with self._lock:
            self._take(org)
            if self._open[org] >= self._limits.in_flight:
                raise Refused("api.busy", "too many open calls of one organisation", "end some of them first")
            self._open[org] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[org] -= 1

    def _take(self, org: bytes) -> None:
        now = self._clock()
        tokens, since = self._tokens.get(org, (float(self._limits.burst), now))
        tokens = min(self._limits.burst, tokens + (now - since) * self._limits.calls_per_s)
        if tokens < 1:
            self._tokens[org] = (tokens, now)
            raise Refused("api.rate", "too many calls in a short time", "call less often")
        self._tokens[org] = (tokens - 1, now)
