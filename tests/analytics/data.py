"""Real tables as the analyses see them, and a council without ciphers: sums of encoded vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer

from analytics.layout import Integers, value_bits
from analytics.registry import advance, current, genesis
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table

EXAMPLES = Path(__file__).parents[2] / "examples"


def breast_spec() -> StudySpec:
    return StudySpec.load(EXAMPLES / "breast_cancer" / "study.toml")


def breast_table() -> Table:
    """All 569 rows; event ``malignant``."""
    data = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in data.feature_names]
    numbers = {name: data.data[:, k] for k, name in enumerate(names)}
    return Table(numbers, {"malignant": (data.target == 0).astype(np.int64)}, len(data.target))


def split_unevenly(table: Table, column: str, shares: Sequence[float]) -> list[Table]:
    """Parts of uneven size whose ``column`` differs: sorted with noise, then cut."""
    noise = np.random.default_rng(7).normal(0.0, float(np.std(table.numbers[column])), table.n)
    order = np.argsort(table.numbers[column] + noise)
    cuts = [round(float(c) * table.n) for c in np.cumsum(shares)[:-1]]
    parts = []
    for rows in np.split(order, cuts):
        keep = np.zeros(table.n, dtype=bool)
        keep[rows] = True
        parts.append(table.where(keep))
    return parts


def four_hospitals() -> list[Table]:
    return split_unevenly(breast_table(), "mean_radius", (0.1, 0.2, 0.3, 0.4))


def summed(
    spec: StudySpec, state: StudyState, tables: Sequence[Table]
) -> tuple[dict[str, Integers], NDArray[np.uint64]]:
    """One round without ciphers: the decoded totals and the opened vector."""
    analysis = current(spec, state)
    assert analysis is not None
    layout = analysis.layout(spec, state)
    bits = value_bits(layout.fields, len(tables))
    total = np.zeros(layout.length(bits), dtype=np.uint64)
    for table in tables:
        total += layout.encode(analysis.local(table, state), bits)
    return layout.decode(total, len(tables), bits), total


def run_round(spec: StudySpec, state: StudyState, tables: Sequence[Table]) -> StudyState:
    return advance(spec, state, summed(spec, state, tables)[0], len(tables))


def run_analysis(spec: StudySpec, state: StudyState, tables: Sequence[Table]) -> StudyState:
    """All rounds of the current analysis."""
    index = state.position.analysis
    while state.position.analysis == index:
        state = run_round(spec, state, tables)
    return state


def run_study(spec: StudySpec, tables: Sequence[Table]) -> StudyState:
    state = genesis(spec)
    while current(spec, state) is not None:
        state = run_round(spec, state, tables)
    return state
