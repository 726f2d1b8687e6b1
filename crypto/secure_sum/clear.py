"""The same sum without any protection: for benchmarks and simulation. Hospitals' default policy refuses it.

Wire: each coefficient as 6 little-endian bytes, below 2^45. Totals are modulo 2^45, as under BFV.
"""

from __future__ import annotations

import numpy as np

from consilium_errors import Hostile, Misuse
from crypto.secure_sum.masks import PLAIN_BITS, PLAIN_MASK
from crypto.secure_sum.packing import MAX_PARTIES, U64
from crypto.secure_sum.wire import check_coefficients, narrow, widen

WIDTH = 6


def size(m: int) -> int:
    """Bytes of an upload or a total of ``m`` coefficients."""
    if m < 1:
        raise Misuse("sum.empty", f"a vector needs at least one coefficient, not {m}")
    return WIDTH * m


def encode(coefficients: U64) -> bytes:
    """``uint64[m]``, each below 2^45, as ``size(m)`` bytes; Misuse ``sum.shape``, ``sum.out_of_range``."""
    check_coefficients(coefficients)
    return narrow(coefficients, WIDTH)


def decode(data: bytes, m: int) -> U64:
    """The coefficients of an upload or a total.

    Raises:
        Hostile: ``ciphertext.length``, ``ciphertext.coefficient``.
    """
    if len(data) != size(m):
        raise Hostile("ciphertext.length", f"expected {size(m)} bytes, found {len(data)}")
    return widen(memoryview(data), m, WIDTH, 1 << PLAIN_BITS)


class Adder:
    """Adds clear uploads of ``m`` coefficients. An upload that is refused changes nothing."""

    def __init__(self, m: int) -> None:
        size(m)
        self._m = m
        self._count = 0
        self._sum = np.zeros(m, np.uint64)

    def add(self, upload: bytes) -> None:
        if self._count == MAX_PARTIES:
            raise Misuse("sum.parties", f"more than {MAX_PARTIES} uploads")
        self._sum += decode(upload, self._m)
        self._count += 1

    def total(self) -> bytes:
        if not self._count:
            raise Misuse("sum.empty", "nothing was added")
        return narrow(self._sum & PLAIN_MASK, WIDTH)
