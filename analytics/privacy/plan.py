"""A study's promise, solved for its noise before anything starts. Everybody solves it alike, from the study
file.

rho for (epsilon, delta) is divided between the analyses by ``privacy.shares`` and equally between an
analysis's rounds. At least ``min_sites - collusion`` hospitals of any set are honest, so each hospital's
share is sized such that the shares of so many alone keep the promise; those of the others only add.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import rfc8785

from analytics.privacy import zcdp
from analytics.privacy.accounting import agreed
from analytics.privacy.price import Price, added
from consilium_errors import Misuse

if TYPE_CHECKING:
    from analytics.study import StudySpec


@dataclass(frozen=True)
class Query:
    """What one opening of an analysis shows of a patient.

    Args:
        rounds: openings; fixed by the study, never by the data.
        dimension: integers that are opened together.
        sensitivity_squared: largest squared L2 distance between the integers of two neighbouring cohorts.
    """

    name: str
    rounds: int
    dimension: int
    sensitivity_squared: int


@runtime_checkable
class Private(Protocol):
    """An analysis whose every patient moves its integers by a bounded distance."""

    @property
    def query(self) -> Query: ...


@dataclass(frozen=True)
class Noise:
    """The noise of one opening: every hospital adds a discrete Gaussian of deviation ``sigma`` to each
    integer.

    ``honest`` such shares, added to a query of this ``sensitivity_squared`` and ``dimension``, cost ``rho``
    and ``delta``.
    """

    sigma: int
    honest: int
    sensitivity_squared: int
    dimension: int
    rho: int
    delta: int

    @property
    def reach(self) -> int:
        """What a share does not exceed."""
        return zcdp.TAIL * self.sigma

    @property
    def multiplier(self) -> float:
        """Standard deviation of the honest shares' sum over the sensitivity."""
        return math.sqrt(self.honest / self.sensitivity_squared) * self.sigma

    def digest(self) -> bytes:
        """32 bytes: what the chain registers beside the price, and every context repeats."""
        from analytics.study import tagged_sha256

        parts = {key: str(value) for key, value in asdict(self).items()}
        return tagged_sha256("noise", rfc8785.dumps({"mechanism": "discrete-gaussian-shares", **parts}))


@dataclass(frozen=True)
class Plan:
    """The whole study: each analysis's query and noise."""

    epsilon: Decimal
    delta: Decimal
    queries: Mapping[str, Query]
    noises: Mapping[str, Noise]

    def price(self, name: str) -> Price:
        """Of one opening."""
        noise = self.noises[name]
        return Price(noise.rho, noise.delta)

    @property
    def total(self) -> Price:
        """Of all openings: what consent to this study caps."""
        return added(self.openings)

    @property
    def openings(self) -> tuple[tuple[Price, int], ...]:
        """Each analysis's price of one, and how many there are."""
        return tuple((self.price(name), query.rounds) for name, query in self.queries.items())


def plan_of(spec: StudySpec) -> Plan | None:
    """The solved promise of a study in mode ``dp``; None of an exact one.

    Raises:
        Misuse: ``privacy.too_tight`` when an opening would have less than 1e-9 of rho.
        Refused: ``privacy.accountants``, see `accounting`.
    """
    privacy = spec.privacy
    if spec.release.mode != "dp" or privacy is None:
        return None
    from analytics.registry import build

    asked: list[tuple[Query, Decimal]] = []
    for entry in spec.analysis:
        analysis = build(spec, entry)
        if not isinstance(analysis, Private):
            raise Misuse("privacy.kind", f"{entry.id}: an analysis of kind {entry.kind} has no bounded query")
        asked.append((analysis.query, privacy.shares.get(entry.id, Decimal(1))))
    return _solved(privacy.epsilon, privacy.delta, spec.min_sites - spec.collusion, tuple(asked))


@lru_cache(maxsize=64)
@zcdp.fixed
def _solved(epsilon: Decimal, delta: Decimal, honest: int, asked: tuple[tuple[Query, Decimal], ...]) -> Plan:
    tails = {query.name: zcdp.tail_of(query.dimension) for query, _ in asked}
    left = delta - Decimal(sum(q.rounds * tails[q.name] for q, _ in asked)) / zcdp.DELTA_UNITS
    if left <= 0:
        raise Misuse(
            "privacy.too_tight", "privacy.delta is too small for so many rounds", "raise privacy.delta"
        )
    whole, weights = zcdp.rho_for(epsilon, left), sum(share for _, share in asked)
    noises = {}
    for query, share in asked:
        rho = int(whole * share / weights / query.rounds)
        if rho < 1:
            raise Misuse(
                "privacy.too_tight",
                f"{query.name}: less than 1e-9 of rho is left for each of {query.rounds} rounds",
                "raise privacy.epsilon, or ask for fewer rounds",
            )
        shape = (honest, query.sensitivity_squared, query.dimension)
        sigma = zcdp.sigma_for(rho, *shape)
        cost = zcdp.rho_of(sigma, *shape)
        noises[query.name] = Noise(sigma, *shape, cost, tails[query.name])
    queries = {query.name: query for query, _ in asked}
    plan = Plan(epsilon, delta, MappingProxyType(queries), MappingProxyType(noises))
    agreed(plan.openings, delta)
    return plan


def noise_of(spec: StudySpec, name: str) -> Noise:
    """Of one analysis.

    Raises:
        Misuse: ``privacy.exact`` in a study without noise.
    """
    plan = plan_of(spec)
    if plan is None:
        raise Misuse("privacy.exact", f"{name} is opened without noise")
    return plan.noises[name]


def terms_of(spec: StudySpec, name: str) -> tuple[int, int, bytes]:
    """(rho, delta, hash of the noise) of one opening of an analysis in the chain's units; zeros without
    noise.

    Raises:
        Misuse: ``privacy.*``.
    """
    plan = plan_of(spec)
    if plan is None or name not in plan.noises:
        return 0, 0, bytes(32)
    noise = plan.noises[name]
    return noise.rho, noise.delta, noise.digest()


def label(spec: StudySpec) -> dict[str, Any]:
    """How every result of a study says what it promises."""
    if spec.release.mode != "dp" or spec.privacy is None:
        return {"mode": "exact"}
    return {
        "mode": "dp",
        "epsilon": float(spec.privacy.epsilon),
        "delta": float(spec.privacy.delta),
        "unit": spec.privacy.unit,
    }
