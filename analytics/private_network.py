"""A small network under differential privacy: gradient descent on noisy sums of clipped gradients.

Each round is one step over all rows (Abadi et al. 2016, without sampling). A hospital clips every patient's
gradient to the L2 norm ``privacy.clip``, which is `GRID` units, cuts it to integers and adds them up.
Another row moves the sum by at most 2 `GRID`, a row more or less by `GRID`, which leaves room for a count
in steps of sqrt(3) `GRID` without further cost. The step divides by the noisy count and is capped by
``clip_each`` and ``clip`` of the analysis, as in `analytics.network`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics import per_record
from analytics.layout import Block, Integers, Layout
from analytics.network import WEIGHT_BITS, Network
from analytics.privacy.plan import Query, label, noise_of
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from consilium_errors import Misuse

GRID: Final = 2**20
STEP: Final = math.isqrt(3 * GRID * GRID)
"""What one patient adds to the count."""


@dataclass(frozen=True)
class PrivateNetwork(Network):
    """The analysis `network` of a study in mode ``dp``."""

    @property
    def query(self) -> Query:
        return Query(self.name, self.entry.rounds, self.shape.d + 1, 4 * GRID * GRID)

    def layout(self, spec: StudySpec, state: StudyState) -> Layout:
        reach, cap = noise_of(self.spec, self.name).reach, spec.row_cap
        return Layout(
            (
                Block("gradient", (self.shape.d,), cap * GRID + reach),
                Block("count", (), cap * STEP + reach),
            )
        )

    def local(self, table: Table, state: StudyState) -> Mapping[str, ArrayLike]:
        total = per_record.clipped_sum(
            self.shape,
            self.entry.activation,
            self._floats(state),
            self.design(state).matrix(table),
            table.code(self.entry.outcome).astype(np.float64),
            clip=float(self._clip),
            grid=GRID,
        )
        return {"gradient": total, "count": np.array(table.n * STEP, dtype=np.int64)}

    @property
    def _clip(self) -> Fraction:
        if self.spec.privacy is None:
            raise Misuse("privacy.exact", f"{self.name} is opened without noise")
        return Fraction(self.spec.privacy.clip)

    def move(self, totals: Mapping[str, Integers], parties: int, state: StudyState) -> StudyState:
        count = max(int(totals["count"]), parties * STEP)
        # weights' grid for one unit of the summed gradient; correctly rounded, so the same everywhere
        unit = float(Fraction(self.entry.rate) * self._clip * 2**WEIGHT_BITS * STEP / (GRID * count))
        step = np.rint(-totals["gradient"].astype(np.float64) * unit)
        state = state.with_(self._weights, state[self._weights] + self._capped(_within(step)), WEIGHT_BITS)
        return state.finish() if state.position.round + 1 >= self.entry.rounds else state.next_round()

    def result(self, state: StudyState) -> dict[str, Any]:
        return {**super().result(state), **label(self.spec)}


def _within(step: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64; no further than any cap of a coordinate, so that the conversion cannot wrap."""
    return np.clip(step, -(2.0**40), 2.0**40).astype(np.int64)
