"""Whether this hospital takes part: its own rules against a study and what its own view of the chain says.

Pure: facts come in as plain values, nothing is read. The first rule that is broken refuses with its own code.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

from analytics.privacy import NOTHING, Price, cap, epsilon_at, plan_of
from analytics.privacy.accounting import agreed
from analytics.study import StudySpec
from consilium_errors import Refused
from participants.config import HospitalConfig


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the hospital knows before it computes.

    Args:
        spec_hash: of the study as registered on the chain.
        purposes: DUO permission bits that the registered study claims.
        permitted: DUO permission bits that this hospital's ``purposes`` permit, closed over the hierarchy.
        peers: addresses of the other organisations that take part.
        rows: rows of the cohort at this site, after mapping.
        exact_left: exact releases that consent and dataset still allow on the chain.
        exact_this_year: exact releases of this hospital in the last 365 days, over all studies.
        opened: exact analyses of this study that this hospital has already paid for.
        privacy_left: what consent and dataset still allow on the chain; None before consent.
        spent_here: privacy of its patients that this hospital has spent in this study.
        spent: the same over all studies, ever.
    """

    spec_hash: bytes
    purposes: int
    permitted: int
    peers: Collection[bytes]
    rows: int
    exact_left: int
    exact_this_year: int
    opened: int = 0
    privacy_left: Price | None = None
    spent_here: Price = NOTHING
    spent: Price = NOTHING


def decide(config: HospitalConfig, spec: StudySpec, facts: Facts) -> None:
    """Nothing if the hospital's rules allow the study.

    Whether a person must say yes as well is ``config.policy.approve``, and not decided here.

    Raises:
        Refused: ``policy.spec``, ``policy.site``, ``policy.purpose``, ``policy.disease``,
            ``policy.commercial``, ``policy.sum``, ``policy.committee``, ``policy.min_sites``, ``policy.min_cell``,
            ``policy.trusted_peers``, ``policy.min_rows``, ``policy.row_cap``, ``policy.budget``,
            ``policy.privacy``.
        Misuse: ``privacy.*`` when the study's promise cannot be kept.
    """
    _plan(config, spec, facts)
    _purpose(config, spec, facts)
    _secrecy(config, spec, facts)
    if spec.release.mode == "exact":
        _budget(config, spec, facts)
    else:
        _privacy(config, spec, facts)


def _plan(config: HospitalConfig, spec: StudySpec, facts: Facts) -> None:
    if facts.spec_hash != spec.spec_hash:
        _refuse("spec", "the plan is not the one registered on the chain")
    if config.site not in spec.sites:
        _refuse("site", f"the plan does not name {config.site} among its sites")


def _purpose(config: HospitalConfig, spec: StudySpec, facts: Facts) -> None:
    if not facts.purposes or facts.purposes & ~facts.permitted:
        _refuse("purpose", "the study's purpose is not among the permitted ones", "policy.purposes")
    # Without a disease a study is about any; a hospital that names diseases means these only.
    if config.policy.diseases and spec.purpose.disease not in config.policy.diseases:
        _refuse("disease", "the study's disease is not among the permitted ones", "policy.diseases")
    if spec.purpose.commercial and not config.policy.commercial:
        _refuse("commercial", "the study is commercial", "policy.commercial")


def _secrecy(config: HospitalConfig, spec: StudySpec, facts: Facts) -> None:
    policy, floor = config.policy, config.disclosure
    if spec.sum not in policy.sums:
        _refuse("sum", f"sums of kind {spec.sum} are not allowed here", "policy.sums")
    strangers = {member.address for member in spec.committee} - policy.committee_addresses
    if strangers:
        _refuse("committee", f"{len(strangers)} members of its committee are not trusted", "policy.committee")
    if spec.min_sites < floor.min_sites:
        _refuse("min_sites", f"the study would open sums over {spec.min_sites} sites", "disclosure.min_sites")
    if spec.release.min_cell < floor.min_cell:
        _refuse(
            "min_cell", f"the study would release counts of {spec.release.min_cell}", "disclosure.min_cell"
        )
    trusted = len(policy.trusted_addresses & frozenset(facts.peers))
    if trusted < policy.min_trusted:
        _refuse("trusted_peers", f"{trusted} trusted peers, expected {policy.min_trusted}", "policy.trusted")
    if facts.rows < floor.min_rows:
        _refuse("min_rows", f"the cohort has {facts.rows} rows here", "disclosure.min_rows")
    if facts.rows > spec.row_cap:
        _refuse("row_cap", f"the cohort has {facts.rows} rows here, the study bounds them by {spec.row_cap}")


def _budget(config: HospitalConfig, spec: StudySpec, facts: Facts) -> None:
    # Each analysis of the plan is booked as one exact release at its first opening.
    needed = max(0, len(spec.analysis) - facts.opened)
    if needed > facts.exact_left:
        _refuse("budget", f"{needed} exact releases needed, {facts.exact_left} left on the chain")
    if facts.exact_this_year + needed > config.budget.exact_releases_per_year:
        _refuse("budget", f"{needed} exact releases needed, the year's cap would be passed", "budget")


def _privacy(config: HospitalConfig, spec: StudySpec, facts: Facts) -> None:
    """All openings that are still to come must fit, so that no study stops half-way for want of budget."""
    plan = plan_of(spec)
    if plan is None:
        return
    total, here = plan.total, facts.spent_here
    needed = Price(max(0, total.rho - here.rho), max(0, total.delta - here.delta))
    if facts.privacy_left is not None and not needed.within(facts.privacy_left):
        _refuse("privacy", "the privacy that consent and dataset leave on the chain does not cover the study")
    budget = config.budget
    if not (facts.spent + needed).within(cap(budget.epsilon, budget.delta)):
        after = epsilon_at(facts.spent + needed, budget.delta)
        _refuse(
            "privacy",
            f"epsilon would be {after} at delta {budget.delta} over all studies, allowed is {budget.epsilon}",
            "budget",
        )
    agreed([(facts.spent, 1), (needed, 1)], budget.delta)


def _refuse(rule: str, message: str, field: str = "") -> NoReturn:
    raise Refused(f"policy.{rule}", message, f"see {field} in hospital.toml" if field else "")
