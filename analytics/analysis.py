"""What every analysis is: a sequence of rounds, each one exact secure sum of bounded integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import ArrayLike

from analytics.layout import Integers, Layout
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table


class Analysis(Protocol):
    """One analysis of a study, built by `registry` from the spec; holds no data and no progress.

    An analysis keeps its arrays in the state under names that begin with its own ``name`` and a dot.
    """

    @property
    def name(self) -> str:
        """The analysis's id in the study."""

    @property
    def kind(self) -> str:
        """Its kind in the study file."""

    def begin(self, state: StudyState) -> StudyState:
        """The genesis state with this analysis's first arrays; public, from the spec alone."""

    def layout(self, spec: StudySpec, state: StudyState) -> Layout:
        """What this round sums; public, the same at every hospital."""

    def local(self, table: Table, state: StudyState) -> Mapping[str, ArrayLike]:
        """This hospital's statistic, named as in the layout, which quantises it. Floats are allowed here."""

    def move(self, totals: Mapping[str, Integers], parties: int, state: StudyState) -> StudyState:
        """The next state from the exact totals, in fixed order, identical everywhere.

        Ends in ``state.next_round()`` or, when the analysis is done, ``state.finish()``.
        """

    def result(self, state: StudyState) -> dict[str, Any]:
        """The answer as JSON-able values, after the analysis finished; says its mode."""
