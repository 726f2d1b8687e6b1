"""What a benchmark prints is what it found."""

from __future__ import annotations

import json

import pytest

from benchmarks import council
from benchmarks.report import Measure, publish
from benchmarks.stopwatch import IDLE, Point, Stopwatch
from consilium_errors import Misuse

FOUND = [Measure("a@1k", 2.0, "s"), Measure("b@1k", 0.125, "ratio")]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    publish(FOUND, as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a@1k", "value": 2.0, "unit": "s"},
        {"name": "b@1k", "value": 0.125, "unit": "ratio"},
    ]


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    publish(FOUND, as_json=False, title="title", caption="caption", goals={"b@1k": 0.5})
    shown = capsys.readouterr().out
    for text in ("title", "caption", "a@1k", "0.125", "≤ 0.5"):
        assert text in shown


class Worker:
    """Works on a clock of its own."""

    now = 0.0

    def outer(self) -> bool:
        Worker.now += 2
        self.inner()
        return True

    def inner(self) -> None:
        Worker.now += 5

    @classmethod
    def made(cls) -> Worker:
        cls.now += 1
        return cls()


def test_a_step_inside_another_counts_for_itself() -> None:
    watch, worker = Stopwatch(lambda: Worker.now), Worker()
    points = (Point(Worker, "inner", "in"), Point(Worker, "made", "made"))
    with watch.watching(points):
        assert watch.turn("w", worker.outer)
        assert watch.turn("w", worker.outer)
        assert not watch.turn("w", lambda: not Worker.made())
        worker.inner()  # outside all turns
    assert watch.take() == {"w": {"other": 4, "in": 10}, IDLE: {"other": 0, "made": 1}}
    assert watch.take() == {}
    assert isinstance(vars(Worker)["made"], classmethod)  # as it was


@pytest.mark.parametrize("d", [995, 10_000, 100_000, 1_000_000])
def test_a_network_has_exactly_as_many_parameters(d: int) -> None:
    a, b = council.hidden(d)
    assert (council.INPUTS + 1) * a + (a + 1) * b + b + 1 == d


def test_no_network_of_that_size() -> None:
    with pytest.raises(Misuse, match="parameters") as refused:
        council.hidden(999_998)  # 1,000,003 is prime
    assert refused.value.code == "benchmark.size"
