"""Coordinate-wise median and trimmed mean of vectors that nobody sees, for small vectors.

Batcher's odd-even merge sort (Knuth, TAOCP 3, 5.2.2 M) on shares: which comparisons are made does not depend on
the values. Values must lie within the bound of `crypto.mpc.checks`, so that differences do not wrap; sort only
what was accepted. Integers only: a mean comes as a total and its divisor, and the hospitals divide.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from consilium_errors import Misuse
from crypto.mpc.prg import U64
from crypto.mpc.seam import Engine

#: Values that are sorted at once; bounds memory at about 0.5 kB for each.
_AT_ONCE: Final = 1 << 15
MAX_VALUES: Final = 1 << 22

Layer = list[tuple[int, int]]


def network(n: int) -> list[Layer]:
    """Comparators (i, j), i < j, in layers that touch no line twice; they sort any ``n`` values ascending."""
    layers: list[Layer] = []
    p = 1 << max((n - 1).bit_length() - 1, 0)
    top = p
    while p and n > 1:
        q, r, d = top, 0, p
        while True:
            layers.append([(i, i + d) for i in range(n - d) if i & p == r])
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return [layer for layer in layers if layer]


def sort(engine: Engine, values: U64) -> U64:
    """Additive shares (H, d) of each column of ``values`` (H, d) in ascending order.

    Raises:
        Misuse: ``mpc.too_large`` beyond `MAX_VALUES` values.
    """
    if values.size > MAX_VALUES:
        raise Misuse("mpc.too_large", f"{values.size} values to sort; at most {MAX_VALUES} are")
    step = max(_AT_ONCE // len(values), 1)
    parts = [_sort(engine, values[:, at : at + step]) for at in range(0, values.shape[1], step)]
    return np.concatenate(parts, axis=1)


def _sort(engine: Engine, values: U64) -> U64:
    lines = values.copy()
    for layer in network(len(lines)):
        low, high = ([pair[k] for pair in layer] for k in (0, 1))
        gap = lines[high] - lines[low]
        swap = engine.to_arithmetic(engine.negative(gap))
        move = engine.multiply(swap, gap)
        lines[low] += move
        lines[high] -= move
    return lines


def median(engine: Engine, values: U64) -> tuple[U64, int]:
    """Additive share (d,) of each column's median times the divisor that comes with it: 1, or 2 for even H."""
    ordered, half = sort(engine, values), len(values) // 2
    if len(values) % 2:
        return ordered[half].copy(), 1
    return ordered[half - 1] + ordered[half], 2


def trimmed_sum(engine: Engine, values: U64, cut: int) -> tuple[U64, int]:
    """Additive share (d,) of each column's sum without the ``cut`` smallest and largest, and how many remain.

    Raises:
        Misuse: ``mpc.cut`` unless something remains.
    """
    if not 0 <= 2 * cut < len(values):
        raise Misuse("mpc.cut", f"{cut} cut from each end of {len(values)}")
    kept = sort(engine, values)[cut : len(values) - cut]
    return np.add.reduce(kept, axis=0), len(kept)
