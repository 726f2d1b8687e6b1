"""What a Pedersen commitment needs of BLS12-381 G1, and the choice between the two libraries that give it.

`blst` is fast and not a promised interface; `arkworks` is slower and is one. Both give the same bytes for
everything here, generators included, so hospitals with different libraries agree.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from consilium_errors import Hostile, Unavailable

#: Order of G1: scalars live modulo this.
Q: Final = 0x73EDA753_299D7D48_3339D808_09A1D805_53BDA402_FFFE5BFE_FFFFFFFF_00000001
#: The field under the curve.
P: Final = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16
)
DST: Final = b"CONSILIUM-PEDERSEN-V1-BLS12381G1_XMD:SHA-256_SSWU_RO_"
POINT_BYTES: Final = 48
#: A point in memory: x then y, six little-endian limbs each, in Montgomery form (times 2^384).
LIMBS: Final = 12

Points = NDArray[np.uint64]  # (n, LIMBS)
Scalars = NDArray[np.uint8]  # (n, width), little endian

_log = logging.getLogger(__name__)


class Basis(Protocol):
    """Fixed points G_1..G_n and H, made ready for many combinations."""

    def combine(self, scalars: Scalars, bits: int, blind: int) -> bytes:
        """Σ scalars_i·G_i + blind·H, compressed; ``scalars`` (n, ⌈bits/8⌉), ``blind`` in 0..Q-1."""
        ...


class Curve(Protocol):
    """One library behind the operations that commitments use."""

    @property
    def name(self) -> str: ...

    def hash_to_curve(self, messages: Sequence[bytes]) -> Points:
        """RFC 9380 hash to G1 under `DST`, shape (len(messages), LIMBS)."""
        ...

    def basis(self, points: Points, blinder: Points) -> Basis:
        """``points`` (n, LIMBS) and ``blinder`` (1, LIMBS), trusted to be in G1."""
        ...

    def add(self, points: Sequence[bytes]) -> bytes:
        """Sum of compressed points, compressed.

        Raises:
            Hostile: ``commitment.point`` unless each is the one encoding of a point of G1 other than 0.
        """
        ...

    def weighted(self, points: Sequence[bytes], weights: Sequence[int]) -> bytes:
        """Σ weights_i·points_i, compressed; ``weights`` in 0..Q-1, points as for `add`."""
        ...

    def compressed(self, points: Points) -> list[bytes]:
        """Each of ``points`` (n, LIMBS), trusted to be in G1."""
        ...


@cache
def curve() -> Curve:
    """The fast library where this is the build that was tested, else the other."""
    from . import arkworks, blst

    try:
        return blst.Blst()
    except Unavailable as reason:
        _log.info("commitments through arkworks, about four times slower: %s", reason)
        return arkworks.Arkworks()


def check_encoding(point: bytes) -> None:
    """Refuse what no library may be asked to read: wrong length, uncompressed, zero, x not below p.

    Raises:
        Hostile: ``commitment.point``.
    """
    if len(point) != POINT_BYTES or point[0] & 0xC0 != 0x80:
        raise bad_point()
    if int.from_bytes(point, "big") & ((1 << 381) - 1) >= P:
        raise bad_point()


def bad_point() -> Hostile:
    return Hostile("commitment.point", "a commitment is not the one encoding of a point of G1 other than 0")
