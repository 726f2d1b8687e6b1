"""Kaplan-Meier survival by group from one secure sum: deaths and censored per group and bin of the time grid.

A time t lies in bin ceil(t / grid), so that the gridded time is the bin's right end and a time on an edge
belongs to the bin that it closes. Within a bin deaths come before censoring (the usual convention for
ties).

What is released is merged to the floor: per group, neighbouring bins from the left until each cell holds
at least ``min_cell`` exits (deaths + censored); the rest joins the last cell, which is open to the right.
Survival, at risk and confidence limits are computed from the merged cells and stated at their right ends,
so that nothing finer can be worked out from them. They equal the product-limit estimate of those gridded
times (Kaplan and Meier 1958; Greenwood 1926; log-log limits, Kalbfleisch and Prentice 2002). Medians are
intervals between released times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.disclosure import merge_bins
from analytics.layout import Block, Integers, Layout
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.study_analyses import KaplanMeierEntry, LogRankEntry
from analytics.study_variables import Category, Duration
from analytics.table import Table
from analytics.tails import band
from consilium_errors import Misuse

Cell = dict[str, Any]
_EDGE = 1e-9  # relative to the grid: a unit conversion's rounding must not push a time over an edge


def duration(spec: StudySpec, name: str) -> tuple[Duration, Fraction]:
    """The study's duration variable and its grid.

    Raises:
        Misuse: ``survival.time`` if the study declares no such variable with a grid.
    """
    variable = spec.variables[name]
    if not isinstance(variable, Duration) or variable.grid is None:
        raise Misuse("survival.time", f"{name} is no duration with a grid")
    return variable, Fraction(variable.grid)


def groups(spec: StudySpec, entry: KaplanMeierEntry | LogRankEntry) -> tuple[str, ...]:
    """Levels of ``by`` in their order; one group named "all" without it."""
    if entry.by is None:
        return ("all",)
    variable = spec.variables[entry.by]
    if not isinstance(variable, Category):
        raise Misuse("survival.by", f"{entry.by} is no category")
    return variable.levels


def group_codes(entry: KaplanMeierEntry | LogRankEntry, table: Table) -> NDArray[np.int64]:
    """int64[n]: each row's index into `groups`."""
    return np.zeros(table.n, dtype=np.int64) if entry.by is None else table.codes[entry.by]


class KaplanMeier:
    """One round; the state keeps the exact pooled counts, int64[groups, bins]."""

    kind = "kaplan_meier"

    def __init__(self, spec: StudySpec, entry: KaplanMeierEntry) -> None:
        self.spec, self.entry, self.name = spec, entry, entry.id
        self.variable, self.grid = duration(spec, entry.time)
        self.groups = groups(spec, entry)
        self.bins = math.ceil(Fraction(self.variable.range[1]) / self.grid)

    def begin(self, state: StudyState) -> StudyState:
        return state

    def layout(self, spec: StudySpec, state: StudyState) -> Layout:
        """2AG counts, each at most the rows of a site."""
        shape = (len(self.groups), self.bins)
        return Layout(tuple(Block(n, shape, spec.row_cap, signed=False) for n in ("deaths", "censored")))

    def local(self, table: Table, state: StudyState) -> Mapping[str, ArrayLike]:
        cells = group_codes(self.entry, table) * self.bins + self._bin(table.numbers[self.entry.time])
        died = table.codes[self.entry.event] == 1
        shape, size = (len(self.groups), self.bins), len(self.groups) * self.bins
        return {
            name: np.bincount(cells[rows], minlength=size).reshape(shape)
            for name, rows in (("deaths", died), ("censored", ~died))
        }

    def _bin(self, times: NDArray[np.float64]) -> NDArray[np.int64]:
        low, high = (float(end) for end in self.variable.range)
        if ((times < low) | (times > high)).any():
            raise Misuse(
                "layout.out_of_range", f"a value of {self.entry.time} lies outside its declared range"
            )
        bins = np.ceil(times / float(self.grid) - _EDGE).astype(np.int64) - 1
        return np.clip(bins, 0, self.bins - 1)  # time 0 belongs to the first bin

    def move(self, totals: Mapping[str, Integers], parties: int, state: StudyState) -> StudyState:
        for name in ("deaths", "censored"):
            state = state.with_(f"{self.name}.{name}", totals[name])
        return state.finish()

    def result(self, state: StudyState) -> dict[str, Any]:
        """The released curves; times in the variable's unit.

        Raises:
            Refused: ``disclosure.min_cell`` if a group has fewer exits than the floor.
        """
        deaths, censored = (state[f"{self.name}.{name}"] for name in ("deaths", "censored"))
        floor = self.spec.release.min_cell
        return {
            "analysis": self.name,
            "kind": self.kind,
            "mode": "exact",
            "n": int(deaths.sum() + censored.sum()),
            "time": self.entry.time,
            "event": self.entry.event,
            "by": self.entry.by,
            "unit": self.variable.unit,
            "grid": _time(self.grid),
            "min_cell": floor,
            "rule": "times rounded up to the grid; bins merged per group until each has min_cell exits; "
            "the last cell is open",
            "confidence": 0.95,
            "limits": "Greenwood, log-log",
            "curves": [
                self._curve(group, deaths[i], censored[i], floor) for i, group in enumerate(self.groups)
            ],
        }

    def _curve(
        self, group: str, deaths: NDArray[np.int64], censored: NDArray[np.int64], floor: int
    ) -> dict[str, Any]:
        cells = product_limit(deaths, censored, merge_bins(deaths + censored, floor), self.grid)
        low, high = _crossing(cells, "lower"), _crossing(cells, "upper")
        return {
            "group": group,
            "n": int(deaths.sum() + censored.sum()),
            "deaths": int(deaths.sum()),
            "cells": cells,
            "median": _crossing(cells, "survival"),
            "median_ci": {"from": low["from"], "to": high["to"]},
        }


def product_limit(
    deaths: NDArray[np.int64], censored: NDArray[np.int64], ranges: Sequence[tuple[int, int]], grid: Fraction
) -> list[Cell]:
    """Cells with what they hold and, at their right end, survival and its 95 % limits.

    The last cell is open: it has counts, but no end and no survival.

    Args:
        deaths, censored: int64[G] per bin.
        ranges: half-open ranges of bins, as `merge_bins` gives them.
        grid: width of a bin.
    """
    at_risk = int(deaths.sum() + censored.sum())
    survival, variance = 1.0, 0.0
    cells: list[Cell] = []
    for start, end in ranges:
        d, c = int(deaths[start:end].sum()), int(censored[start:end].sum())
        cell: Cell = {"from": _time(start * grid), "to": None, "at_risk": at_risk, "deaths": d, "censored": c}
        if end != ranges[-1][1]:
            survival *= (at_risk - d) / at_risk
            variance += d / (at_risk * (at_risk - d))
            lower, upper = band(survival, variance)
            cell |= {"to": _time(end * grid), "survival": survival, "lower": lower, "upper": upper}
        cells.append(cell)
        at_risk -= d + c
    return cells


def _crossing(cells: Sequence[Cell], curve: str) -> dict[str, int | float | None]:
    """The cell in which ``curve`` first comes down to one half; open to the right if it does not."""
    for cell in cells[:-1]:
        if cell[curve] <= 0.5:
            return {"from": cell["from"], "to": cell["to"]}
    return {"from": cells[-1]["from"], "to": None}


def _time(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)
