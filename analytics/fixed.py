"""Arithmetic for the shared state: the same bits on every machine.

Only + - * / and square root of Python floats (IEEE 754 binary64, each correctly rounded) in a fixed order.
No BLAS, no numpy reduction, no exp or log: their last bits differ between machines and would fork the state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from consilium_errors import Misuse

Vector = Sequence[float]
Matrix = Sequence[Sequence[float]]


class NotPositiveDefiniteError(ArithmeticError):
    """A pivot of the Cholesky factorisation vanished; ``index`` is its row."""

    def __init__(self, index: int) -> None:
        super().__init__(f"pivot {index} is not positive")
        self.index = index


def to_grid(x: float, bits: int) -> int:
    """round(x * 2^bits), ties to even."""
    if not math.isfinite(x):
        raise Misuse("fixed.not_finite", "a value that is not finite cannot enter the state")
    return round(math.ldexp(x, bits))


def from_grid(i: int, bits: int) -> float:
    """i / 2^bits, correctly rounded for integers of any size."""
    return int(i) / (1 << bits)


def total(values: Sequence[float]) -> float:
    """Sum from left to right."""
    acc = 0.0
    for value in values:
        acc += value
    return acc


def dot(a: Vector, b: Vector) -> float:
    """Inner product, summed from left to right."""
    acc = 0.0
    for x, y in zip(a, b, strict=True):
        acc += x * y
    return acc


def cholesky(a: Matrix, tolerance: float = 1e-12) -> list[list[float]]:
    """Lower triangle L with L L' = a, for symmetric positive definite ``a`` (p by p).

    Cholesky-Banachiewicz, row by row (Golub and Van Loan, section 4.2).

    Raises:
        NotPositiveDefiniteError: a pivot is at most ``tolerance`` times its diagonal entry.
    """
    rows: list[list[float]] = []
    for i, row in enumerate(a):
        new: list[float] = []
        for j in range(i):
            new.append((row[j] - dot(new[:j], rows[j][:j])) / rows[j][j])
        pivot = row[i] - dot(new, new)
        if not pivot > tolerance * row[i] or not math.isfinite(pivot):
            raise NotPositiveDefiniteError(i)
        new.append(math.sqrt(pivot))
        rows.append(new)
    return rows


def solve_lower(lower: Matrix, b: Vector) -> list[float]:
    """x with L x = b, forwards."""
    x: list[float] = []
    for i, row in enumerate(lower):
        x.append((b[i] - dot(row[:i], x)) / row[i])
    return x


def solve_upper(lower: Matrix, b: Vector) -> list[float]:
    """x with L' x = b, backwards."""
    p = len(lower)
    x = [0.0] * p
    for i in range(p - 1, -1, -1):
        acc = b[i]
        for j in range(i + 1, p):
            acc -= lower[j][i] * x[j]
        x[i] = acc / lower[i][i]
    return x


def solve_spd(a: Matrix, b: Vector) -> list[float]:
    """x with a x = b for symmetric positive definite ``a``.

    Raises:
        NotPositiveDefiniteError: ``a`` is singular to working precision.
    """
    lower = cholesky(a)
    return solve_upper(lower, solve_lower(lower, b))


def inverse_spd(a: Matrix) -> list[list[float]]:
    """Inverse of a symmetric positive definite matrix, column by column.

    Raises:
        NotPositiveDefiniteError: ``a`` is singular to working precision.
    """
    lower = cholesky(a)
    p = len(lower)
    columns = []
    for k in range(p):
        unit = [1.0 if i == k else 0.0 for i in range(p)]
        columns.append(solve_upper(lower, solve_lower(lower, unit)))
    return columns
