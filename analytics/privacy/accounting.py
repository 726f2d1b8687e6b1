"""A second opinion on what openings add up to: Google's dp-accounting, beside `zcdp`.

`zcdp` decides, because everybody must find the same integers, and a float differs from machine to machine. Both read
(epsilon, delta) off the composed divergences; where they differ, one of them is wrong: no plan is solved, no hospital
takes part, no audit passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Final

from analytics.privacy.price import Price, added, epsilon_at
from analytics.privacy.zcdp import DELTA_UNITS, RHO_UNITS
from consilium_errors import Refused

_ORDERS: Final = tuple(1 + math.exp(t / 20) for t in range(-120, 280))
_SAME: Final = 2e-3
"""Relative and absolute: ours is rounded up to three digits, theirs is a minimum over `_ORDERS`."""


@lru_cache(maxsize=256)
def composed(openings: tuple[tuple[Price, int], ...], delta: Decimal) -> float:
    """epsilon at ``delta`` of all ``openings``, (price of one, how many), by dp-accounting's Rényi accountant.

    Infinite when ``delta`` does not even cover the tails of the noise.
    """
    from dp_accounting import ZCDpEvent
    from dp_accounting.rdp import RdpAccountant

    left = delta - Decimal(added(openings).delta) / DELTA_UNITS
    if left <= 0:
        return math.inf
    accountant = RdpAccountant(orders=_ORDERS)
    for price, times in openings:
        if price.rho and times:
            accountant.compose(ZCDpEvent(price.rho / RHO_UNITS), times)
    return float(accountant.get_epsilon(float(left)))


def agreed(openings: Iterable[tuple[Price, int]], delta: Decimal) -> Decimal:
    """epsilon at ``delta`` of all ``openings``, to three digits upwards, on which both accountants agree.

    Raises:
        Refused: ``privacy.accountants`` when they do not.
    """
    asked = tuple(openings)
    ours, theirs = epsilon_at(added(asked), delta), composed(asked, delta)
    if not (ours.is_infinite() and math.isinf(theirs)) and not math.isclose(
        float(ours), theirs, rel_tol=_SAME, abs_tol=_SAME
    ):
        raise Refused(
            "privacy.accountants",
            f"epsilon is {ours} by our accountant and {theirs:.3f} by dp-accounting",
            "one of them is wrong: take part in nothing until it is known which",
        )
    return ours
