"""What openings cost, as it is booked, and what that means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from analytics.privacy import zcdp


@dataclass(frozen=True)
class Price:
    """zCDP in 1e-9 and delta in 1e-18, as they are booked on the chain; both add up."""

    rho: int
    delta: int

    def __add__(self, other: Price) -> Price:
        return Price(self.rho + other.rho, self.delta + other.delta)

    def within(self, cap: Price) -> bool:
        return self.rho <= cap.rho and self.delta <= cap.delta


NOTHING = Price(0, 0)


def added(openings: Iterable[tuple[Price, int]]) -> Price:
    """Of openings, (price of one, how many)."""
    total = NOTHING
    for price, times in openings:
        total += Price(price.rho * times, price.delta * times)
    return total


@zcdp.fixed
def cap(epsilon: Decimal, delta: Decimal) -> Price:
    """What a hospital that allows (epsilon, delta) lets its dataset spend over all studies.

    A thousandth of delta pays for the tails of the noise, the rest for turning zCDP into epsilon.
    """
    tails = zcdp.delta_units(delta / 1000)
    if epsilon <= 0 or tails == 0:
        return Price(0, 0)
    return Price(zcdp.rho_for(epsilon, delta - delta / 1000), tails)


@zcdp.fixed
def epsilon_at(price: Price, delta: Decimal) -> Decimal:
    """epsilon of what was spent, to three digits upwards; infinite when ``delta`` does not even cover its
    tails.
    """
    left = delta - Decimal(price.delta) / zcdp.DELTA_UNITS
    if left <= 0:
        return Decimal("Infinity")
    return zcdp.epsilon_of(price.rho, left).quantize(Decimal("0.001"), rounding=ROUND_CEILING)
