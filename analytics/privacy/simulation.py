"""What the noise does to a study's answers, on made-up patients: the study's own analyses, with noise and without.

Patients are drawn from the declared ranges and a planted model; what is told is the loss that noise alone causes,
not how well real data can be predicted. Seeded, so that everybody is told the same. The noise of a simulation is
a rounded normal variate: nothing of it protects anybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics import registry
from analytics.design import design
from analytics.layout import Integers
from analytics.privacy.plan import noise_of
from analytics.scores import auc
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.study_analyses import MomentsEntry, NetworkEntry
from analytics.study_variables import Category, Duration, Event, Number
from analytics.table import Table
from consilium_errors import Refused

REPEATS: Final = 5
USUAL_ROWS: Final = 200
"""Patients of a hospital, where nobody knows better."""

_HELD_OUT: Final = 2000
_MOST_WORK: Final = 4e9
"""Weights times patients times rounds that a few seconds allow."""


@dataclass(frozen=True)
class Loss:
    """What one analysis loses to the noise.

    Args:
        clean, noisy: area under the ROC curve of a network on fresh patients, averaged over the repeats; None
            for moments.
        count: root mean squared error of the number of patients; None for a network.
        means: the same of the means, in standard deviations of their columns, averaged over these.
        spreads: share of the standard deviations that drowned in the noise.
    """

    name: str
    clean: float | None = None
    noisy: float | None = None
    count: float | None = None
    means: float | None = None
    spreads: float | None = None


def losses(spec: StudySpec, rows: int, *, seed: int = 1) -> list[Loss]:
    """For every analysis of a study in mode ``dp``; a network too large for a few seconds is left out.

    Args:
        rows: patients of each hospital.
    """
    rng = np.random.default_rng(seed)
    patients = Patients(spec, seed)
    tables = [patients.draw(rng, rows) for _ in spec.sites]
    fresh = patients.draw(rng, _HELD_OUT)
    largest = _too_large(spec, rows)
    clean = _run(spec, tables, None, largest)
    noisy = [_run(spec, tables, rng, largest) for _ in range(REPEATS)]
    found = []
    for index, entry in enumerate(spec.analysis[:largest]):
        if isinstance(entry, NetworkEntry):
            found.append(_network(spec, entry, clean, noisy, fresh))
        elif isinstance(entry, MomentsEntry):
            found.append(_moments(spec, index, clean, noisy, rows * len(spec.sites)))
    return found


def _too_large(spec: StudySpec, rows: int) -> int:
    """Index of the first analysis that takes too long; the number of analyses if none does."""
    work = 0.0
    for index, entry in enumerate(spec.analysis):
        query = noise_of(spec, entry.id)
        rounds = entry.rounds if isinstance(entry, NetworkEntry) else 1
        work += float(query.dimension) * rounds * rows * len(spec.sites) * (REPEATS + 1)
        if work > _MOST_WORK:
            return index
    return len(spec.analysis)


def _run(spec: StudySpec, tables: Sequence[Table], rng: np.random.Generator | None, until: int) -> StudyState:
    state = registry.genesis(spec)
    while state.position.analysis < until:
        analysis = registry.current(spec, state)
        if analysis is None:
            break
        parts = [analysis.local(table, state) for table in tables]
        totals: dict[str, Integers] = {}
        for block in analysis.layout(spec, state).blocks:
            total = np.sum([np.asarray(part[block.name]) for part in parts], axis=0)
            if rng is not None:
                deviation = noise_of(spec, analysis.name).sigma * math.sqrt(len(tables))
                total = total + np.rint(rng.normal(0, deviation, block.shape)).astype(np.int64)
            totals[block.name] = np.asarray(total)
        state = registry.advance(spec, state, totals, len(tables))
    return state


def _network(
    spec: StudySpec, entry: NetworkEntry, clean: StudyState, noisy: Sequence[StudyState], fresh: Table
) -> Loss:
    from analytics.network import Network

    model = registry.build(spec, entry)
    if not isinstance(model, Network):
        raise AssertionError("a network's entry builds a network")
    truth = fresh.code(entry.outcome)
    scores = [auc(truth, model.logits(fresh, state)) for state in (clean, *noisy)]
    return Loss(entry.id, clean=scores[0], noisy=float(np.mean(scores[1:])))


def _moments(spec: StudySpec, index: int, clean: StudyState, noisy: Sequence[StudyState], n: int) -> Loss:
    analysis = registry.build(spec, spec.analysis[index])
    truth = analysis.result(clean)["columns"]
    counts, means, drowned = [], [], []
    for state in noisy:
        try:
            found = analysis.result(state)
        except Refused:  # so much noise that too few patients seem to be there
            counts.append(float(n))
            continue
        counts.append(float(found["n"] - n))
        for name, column in found["columns"].items():
            sd = truth[name]["sd"]
            if sd is not None:
                means.append((column["mean"] - truth[name]["mean"]) / sd)
            drowned.append(column["sd"] is None)
    return Loss(
        spec.analysis[index].id,
        count=_rms(counts),
        means=_rms(means) if means else None,
        spreads=float(np.mean(drowned)) if drowned else 1.0,
    )


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values))


@dataclass(frozen=True)
class Patients:
    """Made-up patients of a study: numbers about their centre, and outcomes that follow the terms."""

    spec: StudySpec
    seed: int

    def draw(self, rng: np.random.Generator, rows: int) -> Table:
        numbers: dict[str, NDArray[np.float64]] = {}
        codes: dict[str, NDArray[np.int64]] = {}
        for name, variable in self.spec.variables.items():
            match variable:
                case Number() | Duration():
                    low, high = (float(end) for end in variable.range)
                    spread = min(variable.spread, (high - low) / 4)
                    numbers[name] = np.clip(rng.normal(variable.middle, spread, rows), low, high)
                case Category():
                    codes[name] = rng.integers(0, len(variable.levels), rows)
                case Event():
                    codes[name] = rng.integers(0, 2, rows)
        table = Table(numbers, codes, rows)
        return Table(numbers, {**codes, **self._outcomes(rng, table)}, rows)

    def _outcomes(self, rng: np.random.Generator, table: Table) -> Mapping[str, NDArray[np.int64]]:
        """Each network's outcome by a logistic model in its terms; the logit has a deviation of about 2."""
        found = {}
        for entry in self.spec.analysis:
            if not isinstance(entry, NetworkEntry) or entry.outcome in found:
                continue
            X = design(self.spec, StudyState(), entry.terms, None).matrix(table)
            weights = np.random.default_rng(self.seed).normal(size=X.shape[1])
            scaled = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
            weights *= 2.0 / math.sqrt(float(np.sum(weights * weights)))
            logit = np.matmul(scaled, weights)
            found[entry.outcome] = (rng.random(table.n) < 1 / (1 + np.exp(-logit))).astype(np.int64)
        return found
