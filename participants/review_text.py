"""What a study asks of this hospital, in plain words, for the person who decides.

Pure: it is given what it tells. Only people at home see it, so that it may name the hospital's own columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics.privacy import NOTHING, Plan, Price, plan_of, words
from analytics.privacy.simulation import Loss
from analytics.study import StudySpec
from analytics.study_analyses import (
    AnalysisEntry,
    KaplanMeierEntry,
    LogisticEntry,
    LogRankEntry,
    MomentsEntry,
    NetworkEntry,
)
from analytics.study_variables import Category, Duration, Event, Number
from participants.config import HospitalConfig
from participants.mapping import Profile

#: The labels of GA4GH's Data Use Ontology.
PURPOSES = {
    "DUO:0000004": "any research, without restriction",
    "DUO:0000042": "general research",
    "DUO:0000006": "health, medical and biomedical research",
    "DUO:0000007": "research into one disease",
    "DUO:0000011": "research into populations and ancestry",
    "DUO:0000043": "clinical care",
}


@dataclass(frozen=True)
class Asked:
    """Everything that the page tells.

    Args:
        profile: what the mapping makes of the rows now; None if it could not be made.
        objections: why the rules, or the data, are against it; codes with their remedy.
        peers: names of the other hospitals.
        opened: exact releases in the last 365 days, over all studies.
        spent: privacy of its patients that this hospital has spent, over all studies.
        losses: what the noise costs in accuracy, on ``simulated`` made-up patients a hospital.
    """

    spec: StudySpec
    state: str
    sponsor: str
    peers: Sequence[str]
    config: HospitalConfig | None
    profile: Profile | None
    objections: Sequence[str]
    opened: int
    spent: Price = NOTHING
    losses: Sequence[Loss] = ()
    simulated: int = 0


def page(asked: Asked) -> str:
    """The whole page, plain text."""
    spec = asked.spec
    parts = [
        f"{spec.id} ({asked.state})",
        _section("Who and what for", _purpose(asked)),
        _section("What is computed", [_analysis(spec, entry) for entry in spec.analysis]),
        _section("On which of your columns", _columns(asked)),
        _section("What leaves this hospital", _leaving(spec)),
        _section("What it costs", _costs(asked)),
        _section("What stands against it", list(asked.objections) or ["nothing: your rules allow it"]),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  - {line}" for line in lines)])


def _purpose(asked: Asked) -> list[str]:
    spec, purpose = asked.spec, asked.spec.purpose
    what = PURPOSES.get(purpose.duo, purpose.duo)
    disease = f", {purpose.disease}" if purpose.disease else ""
    return [
        f"asked by {asked.sponsor}; ethics approval {spec.protocol.ethics}",
        f"purpose: {what} ({purpose.duo}{disease}), {'commercial' if purpose.commercial else 'not commercial'}",
        f"with {', '.join(asked.peers)}; no sum of fewer than {spec.min_sites} hospitals is ever opened",
    ]


def _analysis(spec: StudySpec, entry: AnalysisEntry) -> str:
    match entry:
        case MomentsEntry():
            text = f"number of patients, mean and variance of {_and(entry.columns)}; 1 round"
        case LogisticEntry():
            text = f"logistic regression of {entry.outcome} on {_and(entry.terms)}; at most {entry.max_rounds} rounds"
        case NetworkEntry():
            text = (
                f"a neural network that predicts {entry.outcome} from {_and(entry.terms)}, trained in "
                f"{entry.rounds} rounds; hospitals learn the model after each"
            )
        case KaplanMeierEntry():
            what = f"{entry.time} until {entry.event}{_by(entry.by)}"
            text = f"survival curve of {what}, in bins{_grid(spec, entry.time)}; 1 round"
        case LogRankEntry():
            text = f"log-rank test of {entry.time} until {entry.event}{_by(entry.by)}, by site; 1 round"
    return f"{entry.id}: {text}"


def _and(names: Sequence[str], most: int = 8) -> str:
    shown = list(names[:most])
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _by(name: str | None) -> str:
    return f" by {name}" if name else ""


def _grid(spec: StudySpec, name: str) -> str:
    variable = spec.variables[name]
    grid = variable.grid if isinstance(variable, Duration) else None
    return f" of {grid} {variable.unit}" if isinstance(variable, Duration) and grid is not None else ""


def _columns(asked: Asked) -> list[str]:
    lines = []
    for name, variable in asked.spec.variables.items():
        column = asked.config.columns.get(name) if asked.config else None
        lines.append(f"{name} ({_kind(variable)}) from {column.from_ if column else 'no column of yours'}")
    include = asked.spec.cohort.include
    lines.append(f"patients: {include}" if include else "patients: all of the dataset")
    if asked.profile is not None:
        made = asked.profile
        lines.append(
            f"of {made.rows} rows here {made.kept} are used, {made.excluded} are not asked for, {made.dropped} have"
            " gaps or values out of range"
        )
    lines.append("the patient's identifier is never part of it")
    return lines


def _kind(variable: Number | Duration | Category | Event) -> str:
    match variable:
        case Number():
            return f"number in {variable.unit}"
        case Duration():
            return f"time in {variable.unit} since {variable.origin}"
        case Category():
            return f"one of {', '.join(variable.levels)}"
        case Event():
            return "yes or no"


def _robust(spec: StudySpec) -> list[str]:
    robust = spec.robust
    if robust is None:
        return []
    far = "left out by name" if robust.outside == "exclude" else "a reason to open nothing"
    names = _and(robust.analyses)
    lines = [f"in {names}, a contribution beyond its declared norm is {far}"]
    if robust.combine != "sum":
        lines.append(
            f"in {names}, the {robust.combine} over hospitals; no commitment proves it, the committee does"
        )
    return lines


def _leaving(spec: StudySpec) -> list[str]:
    if spec.sum == "clear":
        return ["this hospital's own sums, readable by the coordinator: simulation only"]
    if spec.sum == "mpc":
        members = _and([f"{member.name} ({member.org})" for member in spec.committee])
        what = [
            f"your sums in three shares, one sealed to each of {members}: one can read nothing,"
            " two can read all",
            *_robust(spec),
        ]
    else:
        what = ["encrypted, masked sums over your patients; the coordinator can read none of them"]
    return [
        *what,
        f"once the chain has locked the set: the sum over all hospitals of the set (at least {spec.min_sites}),"
        " to those hospitals",
        f"the finished result, to the sponsor's key alone; counts below {spec.release.min_cell} are merged first",
        "on the public chain: that you take part, for which purpose and when; no count, no value",
        f"protected as long as no more than {spec.collusion} of the others work together against you",
    ]


def _costs(asked: Asked) -> list[str]:
    spec = asked.spec
    if (plan := plan_of(spec)) is not None:
        return _noisy_costs(asked, plan)
    needed = len(spec.analysis)
    releases = f"{needed} exact release{'s' if needed != 1 else ''} (no noise is added)"
    if asked.config is None:
        return [releases]
    cap = asked.config.budget.exact_releases_per_year
    return [
        f"{releases}; {asked.opened} of your {cap} a year are used",
        "your patients' rows are frozen: the same ones in every round, and later studies may not differ from them in"
        f" fewer than {asked.config.disclosure.min_difference} patients",
        _REVOCABLE,
    ]


_REVOCABLE = "consent can be revoked at any time; what is locked by then is still opened, nothing after it"


def _noisy_costs(asked: Asked, plan: Plan) -> list[str]:
    lines = [
        "every sum carries noise: each hospital adds its share before anything leaves it",
        *words.promise(plan),
        *words.accuracy(asked.losses, asked.simulated),
    ]
    if asked.config is not None:
        own = asked.config.budget
        lines += words.budget(plan, asked.spent, own.epsilon, own.delta)
    return [*lines, _REVOCABLE]
