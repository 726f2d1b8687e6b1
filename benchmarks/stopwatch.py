"""Where the time of a round goes: functions of the product are wrapped for as long as a measurement lasts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

IDLE = "idle"


class Point(NamedTuple):
    """A function or method to be timed: where it is looked up, and the step it counts for."""

    owner: Any
    name: str
    step: str


class Stopwatch:
    """Own seconds of each step, for each actor: a step inside another one counts for itself alone.

    One thread only. Nothing is counted outside a `turn`; a turn in which nothing was done counts for `IDLE`.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._turn: dict[str, float] | None = None
        self._inner: list[float] = []

    def take(self) -> dict[str, dict[str, float]]:
        """Actor → step → seconds since the last take."""
        taken = {actor: dict(steps) for actor, steps in self._seconds.items()}
        self._seconds.clear()
        return taken

    def turn(self, actor: str, work: Callable[[], bool]) -> bool:
        """Let ``actor`` work; what is outside all steps is its step ``other``."""
        self._turn = {}
        try:
            with self.step("other"):
                done = work()
            total = self._seconds[actor if done else IDLE]
            for step, seconds in self._turn.items():
                total[step] = total.get(step, 0.0) + seconds
        finally:
            self._turn = None
        return done

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._inner.append(0.0)
        start = self._clock()
        try:
            yield
        finally:
            whole = self._clock() - start
            own = whole - self._inner.pop()
            if self._inner:
                self._inner[-1] += whole
            if self._turn is not None:
                self._turn[name] = self._turn.get(name, 0.0) + own

    def around(self, function: Callable[..., Any], step: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.step(step):
                return function(*args, **kwargs)

        return timed

    @contextmanager
    def watching(self, points: tuple[Point, ...]) -> Iterator[None]:
        with ExitStack() as stack:
            for point in points:
                before = vars(point.owner)[point.name]
                timed: Any = self.around(getattr(point.owner, point.name), point.step)
                if isinstance(before, classmethod):
                    timed = staticmethod(timed)  # bound to its class already
                setattr(point.owner, point.name, timed)
                stack.callback(setattr, point.owner, point.name, before)
            yield
