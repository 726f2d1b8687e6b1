"""Bounded integers, one or two to a coefficient, with guard bits so that a sum over all parties cannot carry.

A coefficient has 45 bits. Its fields hold 44 of them: two of 22 or one of 44. Each field keeps
``ceil(log2 parties)`` guard bits, so the sum over all parties stays inside the field and the fields of the
summed coefficients are the sums of the fields. Bit 44 is never set in an honest sum: a wrong key or a missing
mask shows there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from consilium_errors import Hostile, Misuse

U64 = npt.NDArray[np.uint64]

FIELD_BITS = {1: 44, 2: 22}
MAX_PARTIES = 128


@dataclass(frozen=True)
class Packing:
    """How ``length`` values of one party lie in coefficients.

    Args:
        length: number of values, at least 1.
        parties: number of parties whose vectors are summed, 1..128 (fewer than three only in clear runs).
        fields: values to a coefficient, 1 (44 bits each) or 2 (22 bits each).
    """

    length: int
    parties: int
    fields: Literal[1, 2]

    def __post_init__(self) -> None:
        if self.length < 1:
            raise Misuse("sum.empty", f"a vector needs at least one value, not {self.length}")
        if not 1 <= self.parties <= MAX_PARTIES:
            raise Misuse("sum.parties", f"{self.parties} parties; supported are 1 to {MAX_PARTIES}")
        if self.fields not in FIELD_BITS:
            raise Misuse("sum.fields", f"{self.fields} fields to a coefficient; supported are 1 and 2")

    @property
    def field_bits(self) -> int:
        """Width of a field of the sum: 44 or 22."""
        return FIELD_BITS[self.fields]

    @property
    def value_bits(self) -> int:
        """Width of one party's value; the rest of the field is guard bits."""
        return self.field_bits - (self.parties - 1).bit_length()

    @property
    def coefficients(self) -> int:
        """Number of coefficients that `pack` returns."""
        return -(-self.length // self.fields)

    @property
    def max_value(self) -> int:
        """The largest value one party may contribute."""
        return (1 << self.value_bits) - 1

    def pack(self, u: U64) -> U64:
        """Lay one party's values ``uint64[length]`` into ``uint64[coefficients]``.

        Raises:
            Misuse: ``sum.shape``, or ``sum.out_of_range`` if any value exceeds `max_value`. Never clamps: a
                value clamped after noise was added would falsify the noise.
        """
        if u.dtype != np.uint64 or u.shape != (self.length,):
            raise Misuse("sum.shape", f"expected uint64[{self.length}], found {u.dtype}{list(u.shape)}")
        if int(u.max()) > self.max_value:
            raise Misuse(
                "sum.out_of_range",
                f"a value exceeds the {self.value_bits} bits that {self.parties} parties leave",
                "choose a coarser grid, a smaller clip, or one field to a coefficient",
            )
        if self.fields == 1:
            return u.copy()
        c = np.zeros(self.coefficients, np.uint64)
        c[: self.length // 2] = u[1::2]
        c <<= np.uint64(self.field_bits)
        c |= u[0::2]
        return c

    def unpack(self, c: U64) -> U64:
        """Take the summed fields ``uint64[length]`` out of opened coefficients ``uint64[coefficients]``.

        Raises:
            Hostile: ``sum.unused_bits`` if a bit is set that no honest sum sets (wrong key, missing mask,
                garbled sum).
            Misuse: ``sum.shape``.
        """
        if c.dtype != np.uint64 or c.shape != (self.coefficients,):
            raise Misuse("sum.shape", f"expected uint64[{self.coefficients}], found {c.dtype}{list(c.shape)}")
        bits = np.uint64(self.field_bits)
        padding = self.length % self.fields and int(c[-1] >> bits)
        if int(c.max()) >> 44 or padding:
            raise Hostile("sum.unused_bits", "the opened sum has bits that no honest sum sets")
        if self.fields == 1:
            return c.copy()
        u = np.empty(2 * self.coefficients, np.uint64)
        np.bitwise_and(c, np.uint64((1 << self.field_bits) - 1), out=u[0::2])
        np.right_shift(c, bits, out=u[1::2])
        return u[: self.length]

    def check_total(self, X: U64, n: int) -> None:
        """Check that every total of ``n`` parties lies in 0..n·max_value.

        Raises:
            Hostile: ``sum.total_out_of_range``.
            Misuse: ``sum.parties`` if ``n`` is not in 1..parties, ``sum.shape``.
        """
        if not 1 <= n <= self.parties:
            raise Misuse("sum.parties", f"a sum of {n} parties under a packing for {self.parties}")
        if X.dtype != np.uint64 or X.shape != (self.length,):
            raise Misuse("sum.shape", f"expected uint64[{self.length}], found {X.dtype}{list(X.shape)}")
        if int(X.max()) > n * self.max_value:
            raise Hostile("sum.total_out_of_range", f"a total exceeds what {n} honest parties can reach")
