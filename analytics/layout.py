"""From a statistic to the bounded integers of one secure sum, and exactly back.

A value v becomes the integer round(v * 2^fraction_bits); nothing is ever clamped. Signed integers are
moved up by their bound. What does not fit one field of ``value_bits`` is cut into limbs, least significant
limb first; limbs are summed apart and put together again afterwards, so every sum of ``parties`` honest
encodings is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import rfc8785
from numpy.typing import ArrayLike, NDArray

from consilium_errors import Hostile, Misuse

Integers = NDArray[Any]
"""Exact integers: int64 where the block's total fits, else Python integers (dtype object)."""

FIELD_BITS: Mapping[int, int] = {1: 44, 2: 22}
"""Bits of one field when a coefficient of the cipher carries one or two of them."""

_WORD = 62  # int64 is safe below this: one bit for the sign, one for the offset


def value_bits(fields: int, parties: int) -> int:
    """Bits that one hospital may use of a field, so that the sum of ``parties`` cannot overflow it."""
    return FIELD_BITS[fields] - (parties - 1).bit_length()


@dataclass(frozen=True)
class Block:
    """One named array of a layout.

    Args:
        name: key of the statistic.
        shape: its shape; () for a scalar.
        bound: largest magnitude of round(v * 2^fraction_bits) at one hospital.
        fraction_bits: the grid is 2^-fraction_bits; 0 for counts.
        signed: False where negative values are impossible (counts); they are then refused.
    """

    name: str
    shape: tuple[int, ...]
    bound: int
    fraction_bits: int = 0
    signed: bool = True

    def __post_init__(self) -> None:
        if self.bound < 1 or self.fraction_bits < 0 or any(side < 1 for side in self.shape):
            raise Misuse("layout.block", f"block {self.name}: bound and sides must be positive")

    @classmethod
    def real(
        cls,
        name: str,
        shape: tuple[int, ...],
        limit: float | Fraction,
        fraction_bits: int,
        signed: bool = True,
    ) -> Block:
        """A block for real values of magnitude at most ``limit`` (rounding outwards)."""
        return cls(name, shape, math.ceil(Fraction(limit) * 2**fraction_bits), fraction_bits, signed)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def offset(self) -> int:
        return self.bound if self.signed else 0

    def limbs(self, value_bits: int) -> int:
        return -(-(self.bound + self.offset).bit_length() // value_bits)

    def quantise(self, value: ArrayLike) -> Integers:
        """round(v * 2^fraction_bits) to nearest even, with this block's shape.

        Raises:
            Misuse: ``layout.shape``, ``layout.out_of_range``.
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            raise Misuse("layout.shape", f"block {self.name}: expected {self.shape}, found {array.shape}")
        grid = self._on_grid(array.ravel())
        low = -self.bound if self.signed else 0
        if ((grid < low) | (grid > self.bound)).any():
            raise Misuse(
                "layout.out_of_range",
                f"block {self.name}: a value lies outside what the study declared",
                "check the declared range and row_cap against the data",
            )
        return grid.reshape(self.shape)

    def _on_grid(self, array: NDArray[Any]) -> Integers:
        """A flat array; what is out of range stays out of range."""
        if array.dtype.kind in "iub":
            if self.bound.bit_length() + self.fraction_bits < _WORD and array.dtype != np.uint64:
                wide = array.astype(np.int64)
                far = (wide > self.bound) | (wide < -self.bound)
                return np.where(far, self.bound + 1, wide << np.int64(self.fraction_bits))
            array = array.astype(object)
        if array.dtype == object:
            exact: Integers = array * 2**self.fraction_bits
            return exact
        scaled = np.rint(np.ldexp(array.astype(np.float64), self.fraction_bits))
        if not np.isfinite(scaled).all():
            raise Misuse("layout.out_of_range", f"block {self.name}: a value is not finite")
        if self.bound.bit_length() < _WORD:
            # NaN-free and cut at the first integer out of range, so that the conversion cannot wrap.
            return np.clip(scaled, -float(2**_WORD), float(2**_WORD)).astype(np.int64)
        return np.array([int(v) for v in scaled], dtype=object)

    def split(self, grid: Integers, value_bits: int) -> NDArray[np.uint64]:
        """uint64[limbs * size]: all lowest limbs first."""
        raised = grid.ravel() + self.offset
        mask = 2**value_bits - 1
        parts = [(raised >> (k * value_bits)) & mask for k in range(self.limbs(value_bits))]
        return np.concatenate(parts).astype(np.uint64)

    def join(self, total: NDArray[np.uint64], parties: int, value_bits: int) -> Integers:
        """The exact sum of ``parties`` quantised arrays from the summed limbs.

        Raises:
            Hostile: ``layout.total_out_of_range`` when no honest hospitals give this total.
        """
        whole, beyond = self._whole(total, parties, value_bits)
        if beyond.any():
            raise Hostile("layout.total_out_of_range", f"block {self.name}: no honest inputs give this total")
        return (whole - parties * self.offset).reshape(self.shape)

    def beyond(self, total: NDArray[np.uint64], parties: int, value_bits: int) -> NDArray[np.bool_]:
        """bool[size]: the elements that make `join` refuse."""
        return self._whole(total, parties, value_bits)[1]

    def _whole(
        self, total: NDArray[np.uint64], parties: int, value_bits: int
    ) -> tuple[Integers, NDArray[np.bool_]]:
        """The summed elements, offset included, and which of them no honest hospitals give."""
        limbs = total.reshape(self.limbs(value_bits), self.size)
        highest = self.bound + self.offset
        # With every limb below its own highest sum the whole is at most twice the bound: int64 cannot wrap.
        kind = np.int64 if (parties * highest).bit_length() < _WORD else object
        whole: Integers = np.zeros(self.size, dtype=kind)
        beyond = np.zeros(self.size, dtype=bool)
        for k, limb in enumerate(limbs):
            top = min(highest >> (k * value_bits), 2**value_bits - 1)
            high = limb > np.uint64(parties * top)
            beyond |= high
            whole = whole + (np.where(high, np.uint64(0), limb).astype(kind) << (k * value_bits))
        return whole, beyond | (whole > parties * highest).astype(bool)


@dataclass(frozen=True)
class Layout:
    """The blocks of one secure sum, in order; ``fields`` per coefficient: 1 of 44 bits or 2 of 22."""

    blocks: tuple[Block, ...]
    fields: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        names = [block.name for block in self.blocks]
        if not names or len(set(names)) != len(names):
            raise Misuse("layout.names", "a layout needs blocks with distinct names")

    def length(self, value_bits: int) -> int:
        """Number of fields of the encoded vector."""
        return sum(block.size * block.limbs(value_bits) for block in self.blocks)

    def encode(self, stat: Mapping[str, ArrayLike], value_bits: int) -> NDArray[np.uint64]:
        """One hospital's statistic as uint64[length(value_bits)], each below 2^value_bits.

        Raises:
            Misuse: ``layout.names``, ``layout.shape``, ``layout.out_of_range``.
        """
        self._check(value_bits, 1)
        if set(stat) != {block.name for block in self.blocks}:
            raise Misuse("layout.names", "the statistic's names are not the layout's")
        return np.concatenate([b.split(b.quantise(stat[b.name]), value_bits) for b in self.blocks])

    def decode(self, total: NDArray[np.uint64], parties: int, value_bits: int) -> dict[str, Integers]:
        """The exact totals, in grid units, from the sum of ``parties`` encodings.

        Raises:
            Hostile: ``layout.total_length``, ``layout.total_out_of_range``.
        """
        self._check(value_bits, parties)
        if total.dtype != np.uint64 or total.shape != (self.length(value_bits),):
            raise Hostile("layout.total_length", "the total has not the layout's length")
        out, at = {}, 0
        for block in self.blocks:
            end = at + block.size * block.limbs(value_bits)
            out[block.name] = block.join(total[at:end], parties, value_bits)
            at = end
        return out

    def beyond(
        self, total: NDArray[np.uint64], parties: int, value_bits: int
    ) -> tuple[tuple[int, ...], int] | None:
        """The first value that makes `decode` refuse: its fields, lowest first, and what one hospital's
        Σ 2^(value_bits·k)·field_k may be at most. None if there is none."""
        at = 0
        for block in self.blocks:
            limbs = block.limbs(value_bits)
            found = np.flatnonzero(block.beyond(total[at : at + block.size * limbs], parties, value_bits))
            if found.size:
                fields = (at + k * block.size + int(found[0]) for k in range(limbs))
                return tuple(fields), block.bound + block.offset
            at += block.size * limbs
        return None

    def _check(self, value_bits: int, parties: int) -> None:
        if parties < 1 or not 1 <= value_bits <= FIELD_BITS[self.fields] - (parties - 1).bit_length():
            raise Misuse("layout.value_bits", f"{value_bits} bits for {parties} parties do not fit the field")

    def params_bytes(self) -> bytes:
        """Canonical description (RFC 8785), for the hash of parameters in a seal."""
        blocks: list[Any] = [
            {
                "name": b.name,
                "shape": list(b.shape),
                "bound": str(b.bound),
                "fraction_bits": b.fraction_bits,
                "signed": b.signed,
            }
            for b in self.blocks
        ]
        return rfc8785.dumps({"schema": "consilium.layout/1", "fields": self.fields, "blocks": blocks})
