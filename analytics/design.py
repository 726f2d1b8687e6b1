"""The design matrix of a model: which column is what, standardised how, and how far it can reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.moments import Moment, Moments
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.study_analyses import MomentsEntry
from analytics.study_variables import Category, Duration, Event, Number
from analytics.table import Table
from consilium_errors import Misuse


@dataclass(frozen=True)
class Column:
    """One column z = (x - centre) / spread, or the indicator of one level; |z| <= reach."""

    label: str
    variable: str
    level: int | None
    centre: float
    spread: float
    reach: float

    def values(self, table: Table) -> NDArray[np.float64]:
        """float64[n]."""
        if self.level is not None:
            return np.equal(table.code(self.variable), self.level).astype(np.float64)
        z: NDArray[np.float64] = table.number(self.variable) - self.centre
        return z / self.spread


@dataclass(frozen=True)
class Design:
    """Columns in the order of the terms, without an intercept."""

    columns: tuple[Column, ...]

    def matrix(self, table: Table) -> NDArray[np.float64]:
        """float64[n, p]."""
        return np.column_stack([column.values(table) for column in self.columns])


def design(spec: StudySpec, state: StudyState, terms: Sequence[str], standardise: str | None) -> Design:
    """Build the columns from the study and, if asked, the finished moments analysis ``standardise``.

    Without it numbers use their declared centre and scale. A category becomes one indicator per level
    other than its reference. Only fixed-order arithmetic: reaches are the same bits at every hospital.
    """
    measured = _measured(spec, state, standardise)
    return Design(tuple(column for term in terms for column in _columns(spec, term, measured)))


def width(spec: StudySpec, terms: Sequence[str]) -> int:
    """Number of columns that `design` will have."""
    return sum(len(v.levels) - 1 if isinstance(v := spec.variables[t], Category) else 1 for t in terms)


def _measured(spec: StudySpec, state: StudyState, standardise: str | None) -> dict[str, Moment]:
    if standardise is None:
        return {}
    entry = next((e for e in spec.analysis if e.id == standardise), None)
    if not isinstance(entry, MomentsEntry) or f"{standardise}.n" not in state:
        raise Misuse("design.standardise", f"{standardise} is not a finished moments analysis")
    if spec.release.mode == "dp":
        from analytics.private_moments import PrivateMoments

        return PrivateMoments(spec, entry).moments(state)
    return Moments(spec, entry).moments(state)


def _columns(spec: StudySpec, term: str, measured: dict[str, Moment]) -> Iterator[Column]:
    variable = spec.variables[term]
    match variable:
        case Event():
            yield Column(term, term, 1, 0.0, 1.0, 1.0)
        case Category():
            for code, level in enumerate(variable.levels):
                if code != variable.baseline:
                    yield Column(f"{term}={level}", term, code, 0.0, 1.0, 1.0)
        case Number() | Duration():
            yield _numeric(term, variable, measured.get(term))


def _numeric(term: str, variable: Number | Duration, moment: Moment | None) -> Column:
    centre, spread = (variable.middle, variable.spread) if moment is None else (moment.mean, moment.sd)
    spread = spread if spread > 0 else 1.0  # a constant column stays a constant
    low, high = (float(end) for end in variable.range)
    reach = max(high - centre, centre - low) / spread
    return Column(term, term, None, centre, spread, reach * (1 + 1e-9))
