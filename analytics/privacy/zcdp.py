"""Concentrated differential privacy: the price of noise, and what it means as (epsilon, delta).

Every party must find the same integers, so all of it is decimal arithmetic of fixed precision (its exp, ln
and sqrt are correctly rounded, hence the same on every machine) and is rounded against the study.

Sources: Bun and Steinke 2016 (zCDP; it adds up, lemma 2.3); Canonne, Kamath and Steinke 2020 (the discrete
Gaussian; corollary 13: zCDP to (epsilon, delta)); Kairouz, Liu and Steinke 2021 (proposition 14: sums of
discrete Gaussians).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from functools import lru_cache, wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

RHO_UNITS: Final = 10**9
"""rho is booked in multiples of 1e-9."""

DELTA_UNITS: Final = 10**18
"""delta is booked in multiples of 1e-18."""

LEAST_SIGMA: Final = 4
"""Smallest standard deviation of a share, in units of the grid."""

TAIL: Final = 14
"""A share of noise beyond so many standard deviations does not fit its field: the hospital stops, nothing
leaves.
"""

MOST_EPSILON: Final = 30
"""A study that asks for more promises nothing; `tail_of` counts on it."""

_CONTEXT: Final = Context(prec=40)
_PI: Final = Decimal("3.141592653589793238462643383279502884197")
_ULP: Final = Decimal("1e-30")
"""Covers, relatively, what the last digits of a decimal may have been rounded down by."""

_SEARCH: Final = 30  # thirds by which the bracket of the best order of Rényi divergence shrinks


def fixed(function: Callable[P, T]) -> Callable[P, T]:
    """Run with our own decimal context, whatever the caller's is."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with localcontext(_CONTEXT):
            return function(*args, **kwargs)

    return run


@fixed
def tau(sigma: int, shares: int) -> Decimal:
    """How far the sum of ``shares`` discrete Gaussians is from one.

    10 sum_k exp(-2 pi^2 sigma^2 k/(k+1)) over k < shares: Kairouz, Liu and Steinke 2021, proposition 14.
    """
    scale = -2 * _PI * _PI * sigma * sigma
    return 10 * sum(((scale * k / (k + 1)).exp() for k in range(1, shares)), Decimal(0))


@fixed
def rho_of(sigma: int, shares: int, sensitivity_squared: int, dimension: int) -> int:
    """zCDP of one opening in 1e-9, rounded up: (Delta / (sqrt(shares) sigma) + tau sqrt(dimension))^2 / 2.

    Proposition 14 of Kairouz, Liu and Steinke 2021 in its third form. ``sigma`` is of one share,
    ``sensitivity_squared`` the largest squared L2 distance that one patient makes, both in units of the
    grid.
    """
    shift = Decimal(sensitivity_squared).sqrt() / (Decimal(shares).sqrt() * sigma)
    root = shift + tau(sigma, shares) * Decimal(dimension).sqrt()
    return _up(root * root / 2 * RHO_UNITS * (1 + _ULP))


@fixed
def tail_of(dimension: int) -> int:
    """delta of one opening in 1e-18, rounded up, at least 1: that a share of any hospital lies beyond `TAIL`.

    P[|X| > k sigma] <= 2 exp(-(k - 1/sigma)^2 / 2) by Canonne, Kamath and Steinke 2020, proposition 25, and
    sigma >= 4; over 128 hospitals, the contracts' most; times 1 + e^epsilon, for a mechanism at that total
    variation distance from one that is (epsilon, delta) private.
    """
    reach = TAIL - Decimal(1) / LEAST_SIGMA
    far = 2 * (-reach * reach / 2).exp() * (1 + Decimal(MOST_EPSILON).exp())
    return max(1, _up(far * dimension * 128 * DELTA_UNITS * (1 + _ULP)))


def sigma_for(rho: int, shares: int, sensitivity_squared: int, dimension: int) -> int:
    """Least standard deviation of a share, an integer from `LEAST_SIGMA`, at which an opening costs at most
    ``rho`` (1e-9).
    """
    low, high = LEAST_SIGMA - 1, LEAST_SIGMA
    while rho_of(high, shares, sensitivity_squared, dimension) > rho:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if rho_of(middle, shares, sensitivity_squared, dimension) > rho:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=4096)
@fixed
def epsilon_of(rho: int, delta: Decimal) -> Decimal:
    """Smallest epsilon, to nine digits upwards, with (epsilon, delta)-DP at ``rho`` (1e-9) of zCDP.

    min over a > 1 of a rho + (ln(1/delta) + (a - 1) ln(1 - 1/a) - ln a) / (a - 1): Canonne, Kamath and
    Steinke 2020, corollary 13. Any order is a bound, so that an imperfect search is on the safe side.
    """
    if rho == 0:
        return Decimal(0)
    r, log = Decimal(rho) / RHO_UNITS, (1 / delta).ln()
    near = (log / r).ln() / 2  # the best order is near 1 + sqrt(ln(1/delta) / rho)
    low, high = near - 4, near + 4
    for _ in range(_SEARCH):
        third = (high - low) / 3
        if _at(r, log, low + third) < _at(r, log, high - third):
            high -= third
        else:
            low += third
    return max(_at(r, log, low), Decimal(0)).quantize(Decimal("1e-9"), rounding=ROUND_CEILING)


def _at(rho: Decimal, log: Decimal, t: Decimal) -> Decimal:
    """The bound at order 1 + e^t."""
    x = t.exp()
    order = 1 + x
    return order * rho + (log + x * (x / order).ln() - order.ln()) / x


@lru_cache(maxsize=256)
@fixed
def rho_for(epsilon: Decimal, delta: Decimal) -> int:
    """Most zCDP, in 1e-9, that stays within (epsilon, delta)."""
    log = (1 / delta).ln()
    root = (log + epsilon).sqrt() - log.sqrt()
    # rho + 2 sqrt(rho ln(1/delta)) is a weaker bound on epsilon: the answer lies a little above this one's.
    low = int(root * root * RHO_UNITS)
    high, step = low + 1, max(low // 16, 1)
    while epsilon_of(high, delta) <= epsilon:
        low, high, step = high, high + step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if epsilon_of(middle, delta) <= epsilon else (low, middle)
    return low


@fixed
def delta_units(delta: Decimal) -> int:
    """In 1e-18, rounded down."""
    return int((delta * DELTA_UNITS).to_integral_value(ROUND_FLOOR))


def _up(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_CEILING))
