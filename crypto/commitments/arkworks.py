"""The fallback on ``py_arkworks_bls12381``: the same bytes as `crypto.commitments.blst`, slower, promised."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from py_arkworks_bls12381 import G1Point, Scalar

from .blst import THREADS
from .curve import DST, LIMBS, P, Points, Scalars, bad_point, check_encoding

_RADIX: Final = 1 << 384  # Montgomery factor of six limbs
_UNRADIX: Final = pow(_RADIX, -1, P)
_SPLIT_FROM: Final = 256


class Arkworks:
    """`Curve` on arkworks."""

    name = "arkworks"

    def hash_to_curve(self, messages: Sequence[bytes], *, dst: bytes = DST) -> Points:
        rows = b"".join(_to_limbs(G1Point.hash_to_curve(message, dst)) for message in messages)
        return np.frombuffer(rows, "<u8").reshape(-1, LIMBS).astype(np.uint64)

    def basis(self, points: Points, blinder: Points) -> _Basis:
        return _Basis([_from_limbs(row) for row in points], _from_limbs(blinder[0]))

    def add(self, points: Sequence[bytes]) -> bytes:
        total = G1Point.identity()
        for point in points:
            total = total + _parse(point)
        return bytes(total.to_compressed_bytes())

    def weighted(self, points: Sequence[bytes], weights: Sequence[int]) -> bytes:
        total = G1Point.identity()
        for point, weight in zip(points, weights, strict=True):
            total = total + _parse(point) * Scalar.from_le_bytes(weight.to_bytes(32, "little"))
        return bytes(total.to_compressed_bytes())

    def compressed(self, points: Points) -> list[bytes]:
        return [bytes(_from_limbs(row).to_compressed_bytes()) for row in points]


class _Basis:
    def __init__(self, points: list[Any], blinder: Any) -> None:
        self._points, self._blinder = points, blinder

    def combine(self, scalars: Scalars, bits: int, blind: int) -> bytes:
        count = len(self._points)
        if scalars.shape != (count, (bits + 7) // 8) or scalars.dtype != np.uint8:
            raise ValueError("scalars do not fit the points")
        parts = THREADS if count >= _SPLIT_FROM else 1
        cuts = [count * k // parts for k in range(parts + 1)]

        def part(k: int) -> Any:
            here = slice(cuts[k], cuts[k + 1])
            padded = np.zeros((cuts[k + 1] - cuts[k], 32), np.uint8)
            padded[:, : scalars.shape[1]] = scalars[here]
            factors = [Scalar.from_le_bytes(row.tobytes()) for row in padded]
            return G1Point.multiexp_unchecked(self._points[here], factors)

        total = self._blinder * Scalar.from_le_bytes(blind.to_bytes(32, "little"))
        with ThreadPoolExecutor(parts) as pool:
            for subtotal in pool.map(part, range(parts)):
                total = total + subtotal
        return bytes(total.to_compressed_bytes())


def _parse(point: bytes) -> Any:
    check_encoding(point)
    try:
        return G1Point.from_compressed_bytes(point)  # checks curve and subgroup
    except ValueError:
        raise bad_point() from None


def _to_limbs(point: Any) -> bytes:
    xy = bytes(point.to_xy_bytes_be())
    halves = (int.from_bytes(xy[:48], "big"), int.from_bytes(xy[48:], "big"))
    return b"".join((half * _RADIX % P).to_bytes(48, "little") for half in halves)


def _from_limbs(row: Points) -> Any:
    limbs = row.astype("<u8").tobytes()
    halves = (int.from_bytes(limbs[:48], "little"), int.from_bytes(limbs[48:], "little"))
    xy = b"".join((half * _UNRADIX % P).to_bytes(48, "big") for half in halves)
    return G1Point.from_xy_bytes_unchecked_be(xy)
