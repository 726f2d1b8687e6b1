"""For those who run the coordinator: Prometheus metrics and ``/health``, over HTTP on loopback only."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

TICK_OLD_S = 120.0  # a transaction may keep the loop for a minute


class HasRegistry(Protocol):
    @property
    def registry(self) -> CollectorRegistry: ...


class Metrics:
    """Counts and times; labels are methods and stable codes, never organisations or studies."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter("consilium_api_calls", "gRPC calls", ["method", "code"], registry=self.registry)
        self.call_seconds = Histogram(
            "consilium_api_call_seconds", "Time in a gRPC call", ["method"], registry=self.registry
        )
        self.ticks = Counter("consilium_ticks", "Turns of the loop", ["outcome"], registry=self.registry)
        self.tick_seconds = Histogram("consilium_tick_seconds", "Time of a turn", registry=self.registry)
        self.studies = Gauge("consilium_studies", "Studies submitted", registry=self.registry)
        self.last_tick = Gauge(
            "consilium_last_tick_timestamp_seconds", "End of the last good turn", registry=self.registry
        )

    def observe_call(self, method: str, code: str, seconds: float) -> None:
        self.calls.labels(method, code).inc()
        self.call_seconds.labels(method).observe(seconds)


class Pulse:
    """Is the loop alive? Healthy while its last good turn is not long ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._good: float | None = None
        self._code = ""

    def beat(self) -> None:
        self._good, self._code = self._clock(), ""

    def failed(self, code: str) -> None:
        self._code = code

    @property
    def healthy(self) -> bool:
        return self._good is not None and self._clock() - self._good < TICK_OLD_S

    def report(self) -> dict[str, object]:
        age = None if self._good is None else round(self._clock() - self._good, 1)
        return {"status": "ok" if self.healthy else "failing", "last_tick_age_s": age, "code": self._code}


class OpsServer:
    """``/metrics`` and ``/health`` on 127.0.0.1; 0: any free port."""

    def __init__(self, metrics: HasRegistry, pulse: Pulse, port: int = 0) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(metrics, pulse))
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        return self._server.server_port

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, name="ops", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(metrics: HasRegistry, pulse: Pulse) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._reply(200, CONTENT_TYPE_LATEST, generate_latest(metrics.registry))
            elif self.path == "/health":
                body = json.dumps(pulse.report()).encode()
                self._reply(200 if pulse.healthy else 503, "application/json", body)
            else:
                self._reply(404, "text/plain", b"")

        def _reply(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not worth a line."""

    return Handler
