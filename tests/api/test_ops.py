"""Metrics, health and the loop, over HTTP and by themselves."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from consilium_errors import Unavailable
from coordinator.loop import Loop
from coordinator.ops import TICK_OLD_S, Metrics, OpsServer, Pulse
from tests.api.stand import Stand


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_count_calls_by_code(stand: Stand) -> None:
    stand.client().list()
    status, text = get(stand.server.ops_port, "/metrics")
    assert status == 200
    assert 'consilium_api_calls_total{code="ok",method="/consilium.v1.StudyService/List"}' in text
    assert "consilium_ticks_total" in text
    assert stand.org("sponsor").hex() not in text  # who asks is nobody's business


def test_health_over_http(stand: Stand) -> None:
    stand.wait(lambda: get(stand.server.ops_port, "/health")[0] == 200)
    assert json.loads(get(stand.server.ops_port, "/health")[1])["status"] == "ok"
    assert get(stand.server.ops_port, "/else")[0] == 404


@pytest.fixture
def ops() -> Iterator[tuple[OpsServer, Pulse, list[float]]]:
    now = [0.0]
    pulse = Pulse(clock=lambda: now[0])
    server = OpsServer(Metrics(), pulse)
    server.start()
    yield server, pulse, now
    server.stop()


def test_a_loop_that_stands_still_is_unhealthy(ops: tuple[OpsServer, Pulse, list[float]]) -> None:
    server, pulse, now = ops
    assert get(server.port, "/health")[0] == 503
    pulse.beat()
    assert get(server.port, "/health")[0] == 200
    pulse.failed("chain.stale")
    now[0] = TICK_OLD_S + 1
    status, body = get(server.port, "/health")
    assert (status, json.loads(body)["code"]) == (503, "chain.stale")


class Troubled:
    """A coordinator whose turns fail, twice, and then do not."""

    def __init__(self) -> None:
        self.turns, self.resent = 0, 0

    def tick(self) -> bool:
        self.turns += 1
        if self.turns == 1:
            raise Unavailable("rpc.away", "no chain")
        if self.turns == 2:
            raise RuntimeError("unforeseen")
        return False

    def resend(self) -> None:
        self.resent += 1

    def studies(self) -> list[bytes]:
        return []

    def begin(self) -> bool:
        return False


def test_no_error_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.loop.FAILED_WAIT_S", 0.01)
    troubled, metrics, pulse = Troubled(), Metrics(), Pulse()
    loop = Loop(troubled, troubled, metrics, pulse, idle_s=0.01, resend_s=0.05)  # type: ignore[arg-type]
    loop.start()
    for _ in range(200):
        if troubled.turns > 20 and troubled.resent:
            break
        time.sleep(0.01)
    loop.stop(5)
    assert troubled.resent
    assert pulse.healthy
    for outcome, least in (("rpc.away", 1), ("coordinator.internal", 1), ("ok", 10)):
        assert metrics.registry.get_sample_value("consilium_ticks_total", {"outcome": outcome}) >= least  # type: ignore[operator]
    turns = troubled.turns
    time.sleep(0.05)
    assert troubled.turns == turns
