"""Logarithms, exponentials and tail probabilities with the same digits on every machine.

The C library's exp and log differ in their last bits between processors; hospitals release results that a
sponsor compares byte by byte. Decimal arithmetic is exact in its rounding everywhere, so these are too.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext

from consilium_errors import Misuse

_DIGITS = 60
_NEAR = 30  # up to here the series loses no more than 26 of the digits
Z_95 = 1.959963984540054
"""Normal quantile of 0.975, correctly rounded."""


def chi2_sf(x: float, df: int) -> float:
    """P(X > x) for X chi-squared with ``df`` degrees of freedom.

    The finite sums for integer degrees (Abramowitz and Stegun 26.4.4 and 26.4.5), erfc for odd ones.
    """
    if not 0 <= x < float("inf") or df < 1:
        raise Misuse("tails.range", "x must be finite and not negative, df at least 1")
    with localcontext(Context(prec=_DIGITS)):
        half = Decimal(x) / 2
        if df % 2:
            root = half.sqrt()
            term, total = (-half).exp() * root / (_pi().sqrt() / 2), _erfc(root)
            steps = [Decimal(2 * k + 1) / 2 for k in range(1, df // 2 + 1)]
        else:
            term, total = (-half).exp(), Decimal(0)
            steps = [Decimal(k) for k in range(1, df // 2 + 1)]
        for step in steps:
            total += term
            term *= half / step
        return float(total)


def band(survival: float, variance: float, z: float = Z_95) -> tuple[float, float]:
    """Lower and upper end of the log-log interval of a survival probability.

    S^exp(±z sqrt(variance) / ln S), the exponential Greenwood interval (Kalbfleisch and Prentice 2002,
    1.4.2).

    Args:
        survival: in [0, 1].
        variance: Greenwood's sum of d/(n(n-d)) up to then; not used where ``survival`` is 0 or 1.
    """
    if survival in (0.0, 1.0):
        return survival, survival
    with localcontext(Context(prec=_DIGITS)):
        s = Decimal(survival)
        log = s.ln()
        width = Decimal(z) * Decimal(variance).sqrt() / log
        low, high = (float((log * (sign * width).exp()).exp()) for sign in (-1, 1))
        return low, high


def _erfc(x: Decimal) -> Decimal:
    """1 - erf(x): erf's Taylor series near 0, the continued fraction further out (A&S 7.1.5 and 7.1.14)."""
    square = x * x
    if square > _NEAR:
        tail = Decimal(1)
        for k in range(200, 0, -1):
            tail = 1 + k / (2 * square * tail)
        return (-square).exp() / (x * _pi().sqrt() * tail)
    term, total, k = x, x, 0
    while abs(term) > Decimal(10) ** -_DIGITS:
        k += 1
        term *= -square / k
        total += term / (2 * k + 1)
    return 1 - 2 * total / _pi().sqrt()


def _pi() -> Decimal:
    """Pi to the context's precision by Machin's formula."""
    return 4 * (4 * _arctan_inverse(5) - _arctan_inverse(239))


def _arctan_inverse(n: int) -> Decimal:
    power = Decimal(1) / n
    total, k = power, 1
    square = n * n
    while True:
        power /= -square
        k += 2
        before, total = total, total + power / k
        if total == before:
            return total
