"""Log-rank test between groups, stratified by site: one secure sum.

Each site is a stratum and works out, on its own exact times, observed minus expected deaths O - E of
every group and their covariance V (Mantel 1966; Peto and Peto 1972; Kalbfleisch and Prentice 2002,
section 1.5). Only sums over
the sites leave: A rows, A deaths, A differences and the A(A+1)/2 entries of V. No time leaves, so there
is no grid to choose and the test equals the pooled stratified one.

    chi2 = (O-E)' V^-1 (O-E) over all groups but the last, on A - 1 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.disclosure import check_cells
from analytics.fixed import NotPositiveDefiniteError, dot, from_grid, solve_spd
from analytics.kaplan_meier import group_codes, groups
from analytics.layout import Block, Integers, Layout
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.study_analyses import LogRankEntry
from analytics.table import Table
from analytics.tails import chi2_sf
from consilium_errors import Refused

FRACTION_BITS = 40
"""Of O - E and V: the rounding of a site's sums is below 1e-12."""

_COUNTS, _SUMS = ("rows", "deaths"), ("difference", "covariance")


class LogRank:
    """One round; the state keeps the exact pooled sums."""

    kind = "logrank"

    def __init__(self, spec: StudySpec, entry: LogRankEntry) -> None:
        self.spec, self.entry, self.name = spec, entry, entry.id
        self.groups = groups(spec, entry)

    def begin(self, state: StudyState) -> StudyState:
        return state

    def layout(self, spec: StudySpec, state: StudyState) -> Layout:
        a, cap = len(self.groups), spec.row_cap
        counts = tuple(Block(name, (a,), cap, signed=False) for name in _COUNTS)
        # |O - E| and every |V_ab| are at most the deaths, and these at most the rows.
        return Layout(
            (
                *counts,
                Block.real("difference", (a,), cap, FRACTION_BITS),
                Block.real("covariance", (a * (a + 1) // 2,), cap, FRACTION_BITS),
            )
        )

    def local(self, table: Table, state: StudyState) -> Mapping[str, ArrayLike]:
        codes, died = group_codes(self.entry, table), table.codes[self.entry.event] == 1
        a = len(self.groups)
        difference, covariance = observed_minus_expected(table.numbers[self.entry.time], died, codes, a)
        return {
            "rows": np.bincount(codes, minlength=a),
            "deaths": np.bincount(codes[died], minlength=a),
            "difference": difference,
            "covariance": covariance[np.triu_indices(a)],
        }

    def move(self, totals: Mapping[str, Integers], parties: int, state: StudyState) -> StudyState:
        for name in _COUNTS:
            state = state.with_(f"{self.name}.{name}", totals[name])
        for name in _SUMS:
            state = state.with_wide(f"{self.name}.{name}", totals[name].ravel(), FRACTION_BITS)
        return state.finish()

    def result(self, state: StudyState) -> dict[str, Any]:
        """Test statistic and p; observed and expected deaths by group.

        Raises:
            Refused: ``disclosure.min_cell`` for a group below the floor, ``logrank.singular`` if no site
                compares the groups.
        """
        rows, deaths = (state[f"{self.name}.{name}"].tolist() for name in _COUNTS)
        check_cells(rows, self.spec.release.min_cell)
        difference, covariance = (self._floats(state, name) for name in _SUMS)
        chi2 = statistic(difference, covariance)
        return {
            "analysis": self.name,
            "kind": self.kind,
            "mode": "exact",
            "n": sum(rows),
            "time": self.entry.time,
            "event": self.entry.event,
            "by": self.entry.by,
            "strata": self.entry.strata,
            "times": "exact, within each site",
            "groups": [
                {"group": g, "n": n, "observed": o, "expected": o - d}
                for g, n, o, d in zip(self.groups, rows, deaths, difference, strict=True)
            ],
            "chi2": chi2,
            "df": len(self.groups) - 1,
            "p": chi2_sf(chi2, len(self.groups) - 1),
        }

    def _floats(self, state: StudyState, name: str) -> list[float]:
        return [from_grid(v, FRACTION_BITS) for v in state.wide(f"{self.name}.{name}")]


def observed_minus_expected(
    times: NDArray[np.float64], died: NDArray[np.bool_], codes: NDArray[np.int64], groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One stratum's O - E and its hypergeometric covariance.

    Args:
        times: float64[n]; who leaves at a death's time was at risk then.
        died: bool[n].
        codes: int64[n] in 0..groups-1.

    Returns:
        float64[A], float64[A, A].
    """
    member = np.eye(groups)[codes]
    moments, which = np.unique(times[died], return_inverse=True)
    d = np.bincount(which, minlength=len(moments)).astype(np.float64)
    order = np.argsort(times, kind="stable")
    # Rows at risk at a moment: all from the first with a time not before it.
    first = np.searchsorted(times[order], moments, side="left")
    from_here = np.vstack([np.cumsum(member[order][::-1], axis=0)[::-1], np.zeros(groups)])
    at_risk = from_here[first]
    n = at_risk.sum(axis=1)
    share = at_risk / n[:, None]
    difference = member[died].sum(axis=0) - d @ share
    weight = d * (n - d) / np.maximum(n - 1, 1)
    covariance = np.diag(weight @ share) - share.T @ (weight[:, None] * share)
    return difference, covariance


def statistic(difference: Sequence[float], triangle: Sequence[float]) -> float:
    """The quadratic form without the last group, in fixed order.

    Args:
        difference: A values.
        triangle: upper triangle of V, A(A+1)/2 values row by row.

    Raises:
        Refused: ``logrank.singular``.
    """
    a = len(difference)
    full = np.zeros((a, a))
    full[np.triu_indices(a)] = triangle
    matrix = [[float(full[min(i, j), max(i, j)]) for j in range(a - 1)] for i in range(a - 1)]
    z = list(difference[:-1])
    try:
        return max(0.0, dot(z, solve_spd(matrix, z)))
    except NotPositiveDefiniteError:
        raise Refused(
            "logrank.singular",
            "at no site were patients of every group at risk together at a death",
            "Merge levels of the group, or ask for curves only.",
        ) from None
