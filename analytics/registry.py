"""From a study's plan and state to what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analytics.analysis import Analysis
from analytics.layout import Integers
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.study_analyses import (
    AnalysisEntry,
    KaplanMeierEntry,
    LogisticEntry,
    LogRankEntry,
    MomentsEntry,
    NetworkEntry,
)
from consilium_errors import Misuse, Refused


def build(spec: StudySpec, entry: AnalysisEntry) -> Analysis:
    """The analysis of one entry; its module is imported only when it is asked for."""
    if spec.release.mode == "dp":
        return _private(spec, entry)
    match entry:
        case MomentsEntry():
            from analytics.moments import Moments

            return Moments(spec, entry)
        case LogisticEntry():
            from analytics.logistic import Logistic

            return Logistic(spec, entry)
        case NetworkEntry():
            from analytics.network import Network

            return Network(spec, entry)
        case KaplanMeierEntry():
            from analytics.kaplan_meier import KaplanMeier

            return KaplanMeier(spec, entry)
        case LogRankEntry():
            from analytics.logrank import LogRank

            return LogRank(spec, entry)


def _private(spec: StudySpec, entry: AnalysisEntry) -> Analysis:
    match entry:
        case MomentsEntry():
            from analytics.private_moments import PrivateMoments

            return PrivateMoments(spec, entry)
        case NetworkEntry():
            from analytics.private_network import PrivateNetwork

            return PrivateNetwork(spec, entry)
        case _:
            raise Misuse(
                "privacy.kind", f"{entry.id}: no noise is offered for {entry.kind}", "see the study's check"
            )


def genesis(spec: StudySpec) -> StudyState:
    """The first state: public, from the spec alone, the same for everybody."""
    state = StudyState()
    for entry in spec.analysis:
        state = build(spec, entry).begin(state)
    return state


def current(spec: StudySpec, state: StudyState) -> Analysis | None:
    """The analysis whose round comes next; None when the study is over."""
    index = state.position.analysis
    return build(spec, spec.analysis[index]) if index < len(spec.analysis) else None


def advance(spec: StudySpec, state: StudyState, totals: Mapping[str, Integers], parties: int) -> StudyState:
    """The next state from the exact totals that the current layout decoded.

    Raises:
        Refused: ``study.too_few_sites``.
        Misuse: ``study.over`` when no analysis is left.
    """
    analysis = current(spec, state)
    if analysis is None:
        raise Misuse("study.over", "every analysis of this study is done")
    if not spec.min_sites <= parties <= len(spec.sites):
        raise Refused(
            "study.too_few_sites", f"{parties} sites, expected {spec.min_sites} to {len(spec.sites)}"
        )
    return analysis.move(totals, parties, state)


def results(spec: StudySpec, state: StudyState) -> dict[str, Any]:
    """The answers of all finished analyses by name."""
    finished = spec.analysis[: state.position.analysis]
    return {entry.id: build(spec, entry).result(state) for entry in finished}
