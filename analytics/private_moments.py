"""Count, mean and variance under differential privacy, in one round of noisy integers.

Each value x becomes u = (x - middle of the declared range) / half the range in [-1, 1], then the integers a
= trunc(u G) and b = a^2 // G, patient by patient, so that no rounding of a sum enters the sensitivity.
Another row moves (a, b) by at most 2G (it does so from one end of the range to the other, where b is the
same); a row more or less by at most sqrt(2) G, which leaves room for a count in steps of sqrt(2p) G without
further cost: with p columns one patient moves the whole vector by at most 2 sqrt(p) G.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from analytics.layout import Block, Integers, Layout
from analytics.moments import Moment
from analytics.privacy.plan import Query, label, noise_of
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.study_analyses import MomentsEntry
from analytics.study_variables import Duration, Number
from analytics.table import Table
from consilium_errors import Misuse, Refused

GRID: Final = 2**20
_LEAST_VARIANCE = 2.0**-12  # of u: noise may leave nothing, and a spread of zero standardises nothing


@dataclass(frozen=True)
class PrivateMoments:
    """The analysis `moments` of a study in mode ``dp``."""

    spec: StudySpec
    entry: MomentsEntry

    @property
    def name(self) -> str:
        return self.entry.id

    @property
    def kind(self) -> str:
        return self.entry.kind

    @property
    def _p(self) -> int:
        return len(self.entry.columns)

    @property
    def query(self) -> Query:
        return Query(self.name, 1, 2 * self._p + 1, 4 * self._p * GRID * GRID)

    @cached_property
    def step(self) -> int:
        """What one patient adds to the count."""
        return math.isqrt(2 * self._p * GRID * GRID)

    def begin(self, state: StudyState) -> StudyState:
        return state

    def layout(self, spec: StudySpec, state: StudyState) -> Layout:
        reach, cap = noise_of(self.spec, self.name).reach, spec.row_cap
        return Layout(
            (
                Block("n", (), cap * self.step + reach),
                Block("sum", (self._p,), cap * GRID + reach),
                Block("squares", (self._p,), cap * GRID + reach),
            )
        )

    def local(self, table: Table, state: StudyState) -> Mapping[str, ArrayLike]:
        sums, squares = [], []
        for name in self.entry.columns:
            middle, half = self._range(name)
            u = np.clip((table.number(name) - middle) / half, -1.0, 1.0)
            a = np.trunc(u * GRID).astype(np.int64)
            sums.append(int(a.sum()))
            squares.append(int((a * a // GRID).sum()))
        return {
            "n": np.array(table.n * self.step, dtype=np.int64),
            "sum": np.array(sums, dtype=np.int64),
            "squares": np.array(squares, dtype=np.int64),
        }

    def move(self, totals: Mapping[str, Integers], parties: int, state: StudyState) -> StudyState:
        state = state.with_(f"{self.name}.parties", parties)
        for key in ("n", "sum", "squares"):
            state = state.with_(f"{self.name}.{key}", totals[key])
        return state.finish()

    def moments(self, state: StudyState) -> dict[str, Moment]:
        """Mean and variance by column, within what the ranges allow; the same bits everywhere."""
        count = max(state.scalar(f"{self.name}.n"), 2 * self.step)
        n = count / self.step
        out = {}
        for name, s, q in zip(
            self.entry.columns,
            state[f"{self.name}.sum"].tolist(),
            state[f"{self.name}.squares"].tolist(),
            strict=True,
        ):
            middle, half = self._range(name)
            mean = min(max(s * self.step / (GRID * count), -1.0), 1.0)
            second = min(q * self.step / (GRID * count), 1.0)
            variance = max((second - mean * mean) * (n / (n - 1.0)), _LEAST_VARIANCE)
            out[name] = Moment(middle + half * mean, half * half * variance)
        return out

    def result(self, state: StudyState) -> dict[str, Any]:
        """``noise`` is the standard deviation that the noise alone gives to ``n``, or to a mean. A variance
        that drowned
        in it is null."""
        count = state.scalar(f"{self.name}.n")
        n = round(count / self.step)
        if n < self.spec.release.min_cell:
            raise Refused("disclosure.min_cell", f"{n} rows, expected at least {self.spec.release.min_cell}")
        deviation = noise_of(self.spec, self.name).sigma * math.sqrt(state.scalar(f"{self.name}.parties"))
        columns = {}
        for name, m in self.moments(state).items():
            _, half = self._range(name)
            noise = half * deviation / (GRID * (count / self.step))
            seen = m.variance > half * half * _LEAST_VARIANCE
            variance, sd = (m.variance, m.sd) if seen else (None, None)
            columns[name] = {"mean": m.mean, "variance": variance, "sd": sd, "noise": noise}
        return {
            "analysis": self.name,
            "kind": self.kind,
            **label(self.spec),
            "n": n,
            "noise": deviation / self.step,
            "columns": columns,
        }

    def _range(self, name: str) -> tuple[float, float]:
        """Middle and half width of the declared range."""
        variable = self.spec.variables[name]
        if not isinstance(variable, Number | Duration):
            raise Misuse("moments.not_numeric", f"{name} is of kind {variable.kind}")
        low, high = variable.range
        return float((low + high) / 2), float((high - low) / 2)
