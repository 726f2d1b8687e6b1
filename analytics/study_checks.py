"""What must agree between the parts of a study file; every disagreement is reported, not just the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from analytics import study_committee
from analytics.study_analyses import (
    KaplanMeierEntry,
    LogisticEntry,
    LogRankEntry,
    MomentsEntry,
    NetworkEntry,
)
from analytics.study_rule import RuleError, parse

if TYPE_CHECKING:
    from analytics.study import StudySpec

Finding = tuple[str, str]
"""Path of the field, and what is wrong with it."""


class DisagreementError(ValueError):
    """Fields that are each well-formed and do not fit together."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(f"{path}: {text}" for path, text in findings))
        self.findings = tuple(findings)


def disagreements(spec: StudySpec) -> list[Finding]:
    """All of them, in the order of the file."""
    found = [*_people(spec), *_privacy(spec), *_cohort(spec), *study_committee.disagreements(spec)]
    seen: dict[str, Any] = {}
    for index, entry in enumerate(spec.analysis):
        path = f"analysis[{index}]"
        if entry.id in seen:
            found.append((f"{path}.id", f"{entry.id} is already the name of another analysis"))
        check = _BY_KIND[entry.kind]
        found.extend((f"{path}.{where}", text) for where, text in check(spec, entry, seen))
        seen[entry.id] = entry
    return found


def _people(spec: StudySpec) -> Iterator[Finding]:
    if spec.min_sites > len(spec.sites):
        yield "min_sites", f"is {spec.min_sites}, but only {len(spec.sites)} sites take part"
    if spec.min_sites - spec.collusion < 2:
        yield "collusion", "min_sites less collusion must be at least 2, or a sum hides nobody"


_MOST_EPSILON, _MOST_DELTA = 30, Decimal("0.001")
_PRIVATE = ("moments", "network")


def _privacy(spec: StudySpec) -> Iterator[Finding]:
    privacy = spec.privacy
    if spec.release.mode != "dp":
        if privacy is not None:
            yield "privacy", 'belongs to release.mode = "dp"; an exact release promises no epsilon'
        return
    if privacy is None:
        yield "privacy", 'is missing; release.mode = "dp" needs epsilon, delta and clip'
        return
    if privacy.epsilon > _MOST_EPSILON:
        yield (
            "privacy.epsilon",
            f"is above {_MOST_EPSILON}, which promises nothing; mean exact, or ask for less",
        )
    if privacy.delta > _MOST_DELTA:
        yield "privacy.delta", f"is above {_MOST_DELTA}; take less than one in the number of patients"
    if spec.sum == "clear":
        yield (
            "sum",
            'a clear sum shows every hospital\'s input with its own small share of the noise; set sum = "fhe"',
        )
    names = {entry.id for entry in spec.analysis}
    for name in privacy.shares.keys() - names:
        yield f"privacy.shares.{name}", "is no analysis of this study"
    for index, entry in enumerate(spec.analysis):
        if entry.kind not in _PRIVATE:
            yield (
                f"analysis[{index}].kind",
                f"{entry.kind} is not offered with noise; ask for {' or '.join(_PRIVATE)}, or set release.mode = "
                '"exact"',
            )
        elif isinstance(entry, NetworkEntry) and entry.epochs != 1:
            yield f"analysis[{index}].epochs", "under dp a round is one step over all rows; set epochs = 1"


def _cohort(spec: StudySpec) -> Iterator[Finding]:
    if spec.cohort.include is None:
        return
    try:
        parse(spec.cohort.include, spec.variables)
    except RuleError as error:
        yield "cohort.include", str(error)


def _variable(spec: StudySpec, where: str, name: str, kinds: Sequence[str]) -> Iterator[Finding]:
    variable = spec.variables.get(name)
    if variable is None:
        yield where, f"{name} is not a variable of this study; declare it under [variables]"
    elif variable.kind not in kinds:
        yield where, f"{name} is of kind {variable.kind}, expected {' or '.join(kinds)}"


def _moments(spec: StudySpec, entry: MomentsEntry, _: Mapping[str, Any]) -> Iterator[Finding]:
    for name in entry.columns:
        yield from _variable(spec, "columns", name, ("number", "duration"))


def _model(
    spec: StudySpec, entry: LogisticEntry | NetworkEntry, seen: Mapping[str, Any]
) -> Iterator[Finding]:
    yield from _variable(spec, "outcome", entry.outcome, ("event",))
    for name in entry.terms:
        yield from _variable(spec, "terms", name, ("number", "duration", "event", "category"))
    if entry.outcome in entry.terms:
        yield "terms", f"{entry.outcome} is the outcome and cannot be a term"
    if entry.standardise is None:
        return
    moments = seen.get(entry.standardise)
    if not isinstance(moments, MomentsEntry):
        yield "standardise", f"{entry.standardise} is not an earlier analysis of kind moments"
        return
    for name in entry.terms:
        variable = spec.variables.get(name)
        if variable is not None and variable.kind in ("number", "duration") and name not in moments.columns:
            yield "standardise", f"{entry.standardise} does not measure {name}; add it to its columns"


def _survival(
    spec: StudySpec, entry: KaplanMeierEntry | LogRankEntry, _: Mapping[str, Any]
) -> Iterator[Finding]:
    yield from _variable(spec, "time", entry.time, ("duration",))
    yield from _variable(spec, "event", entry.event, ("event",))
    if entry.by is not None:
        yield from _variable(spec, "by", entry.by, ("category",))
    variable = spec.variables.get(entry.time)
    if variable is not None and variable.kind == "duration" and variable.grid is None:
        yield "time", f"{entry.time} has no grid; set variables.{entry.time}.grid"


_BY_KIND: Mapping[str, Callable[..., Iterator[Finding]]] = {
    "moments": _moments,
    "logistic": _model,
    "network": _model,
    "kaplan_meier": _survival,
    "logrank": _survival,
}
