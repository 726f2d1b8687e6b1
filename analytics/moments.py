"""Count, mean and variance of numeric columns, in one round.

Each value x is taken as t = (x - centre) / scale with the study's public centre and scale, so that the sums
of t and t^2 keep their precision on a fixed grid. Everything after the sums is exact integer arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analytics.layout import Block, Integers, Layout
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.study_analyses import MomentsEntry
from analytics.study_variables import Duration, Number
from analytics.table import Table
from consilium_errors import Misuse, Refused

FRACTION_BITS = 40


class Moment(NamedTuple):
    """Mean and sample variance (n - 1) of one column, in the study's unit."""

    mean: float
    variance: float

    @property
    def sd(self) -> float:
        return math.sqrt(self.variance)


@dataclass(frozen=True)
class Moments:
    """The analysis `moments`."""

    spec: StudySpec
    entry: MomentsEntry

    @property
    def name(self) -> str:
        return self.entry.id

    @property
    def kind(self) -> str:
        return self.entry.kind

    def begin(self, state: StudyState) -> StudyState:
        return state

    def layout(self, spec: StudySpec, state: StudyState) -> Layout:
        p, cap = len(self.entry.columns), spec.row_cap
        reach = max(_reach(self._variable(name)) for name in self.entry.columns)
        return Layout(
            (
                Block("n", (), cap, signed=False),
                Block.real("sum", (p,), cap * reach, FRACTION_BITS),
                Block.real("squares", (p,), cap * reach * reach, FRACTION_BITS, signed=False),
            )
        )

    def local(self, table: Table, state: StudyState) -> Mapping[str, ArrayLike]:
        columns = []
        for name in self.entry.columns:
            variable = self._variable(name)
            columns.append((table.number(name) - variable.middle) / variable.spread)
        return {
            "n": table.n,
            "sum": np.array([math.fsum(t) for t in columns]),
            "squares": np.array([math.fsum(t * t) for t in columns]),
        }

    def move(self, totals: Mapping[str, Integers], parties: int, state: StudyState) -> StudyState:
        state = state.with_(f"{self.name}.n", totals["n"])
        for key in ("sum", "squares"):
            state = state.with_wide(f"{self.name}.{key}", totals[key].tolist(), FRACTION_BITS)
        return state.finish()

    def moments(self, state: StudyState) -> dict[str, Moment]:
        """Mean and variance by column from the finished state; the same bits everywhere."""
        n = state.scalar(f"{self.name}.n")
        if n < 2:
            raise Refused("moments.too_few_rows", f"{n} rows have no variance")
        sums, squares = state.wide(f"{self.name}.sum"), state.wide(f"{self.name}.squares")
        out = {}
        for name, s, q in zip(self.entry.columns, sums, squares, strict=True):
            variable = self._variable(name)
            mean = variable.middle + variable.spread * (s / (n << FRACTION_BITS))
            above = max((n * q << FRACTION_BITS) - s * s, 0)
            variance = above / (n * (n - 1) << (2 * FRACTION_BITS))
            out[name] = Moment(mean, variable.spread * variable.spread * variance)
        return out

    def result(self, state: StudyState) -> dict[str, Any]:
        n = state.scalar(f"{self.name}.n")
        if n < self.spec.release.min_cell:
            raise Refused("disclosure.min_cell", f"{n} rows, expected at least {self.spec.release.min_cell}")
        columns = {
            name: {"mean": m.mean, "variance": m.variance, "sd": m.sd}
            for name, m in self.moments(state).items()
        }
        return {"analysis": self.name, "kind": self.kind, "mode": "exact", "n": n, "columns": columns}

    def _variable(self, name: str) -> Number | Duration:
        variable = self.spec.variables[name]
        if not isinstance(variable, Number | Duration):
            raise Misuse("moments.not_numeric", f"{name} is of kind {variable.kind}")
        return variable


def _reach(variable: Number | Duration) -> Fraction:
    """Largest |t|, with room for the rounding of t itself."""
    low, high = variable.range
    middle, spread = Fraction(variable.middle), Fraction(variable.spread)
    return max(Fraction(high) - middle, middle - Fraction(low)) / spread + Fraction(1, 2**30)
