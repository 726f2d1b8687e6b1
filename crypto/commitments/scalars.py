"""Vectors of numbers modulo Q, the order of G1: what commitments are made of, at full width.

A vector is ``uint8[n, 32]``, one number below Q a row, little endian, as `curve.Basis.combine` takes them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from consilium_errors import Hostile, Misuse

from .curve import Q, Scalars

BYTES: Final = 32
BITS: Final = Q.bit_length()
KEY_BYTES: Final = 32

_LIMBS: Final = 8  # of 32 bits, in words of 64: room for carries
_LOW: Final = np.uint64((1 << 32) - 1)
_LIMB: Final = np.uint64(32)
_Q: Final = np.frombuffer(Q.to_bytes(BYTES, "little"), "<u4").astype(np.uint64)
_MINUS_Q: Final = np.frombuffer(((1 << 256) - Q).to_bytes(BYTES, "little"), "<u4").astype(np.uint64)


def uniform(key: bytes, n: int) -> Scalars:
    """``n`` numbers, uniform below Q and exactly so: no reduction, hence no bias.

    Words of 32 bytes of AES-256-CTR under ``key``, counter from zero, their top bit cleared; those that are not
    below Q are passed over (9.4 % of them). A key serves one vector.

    Raises:
        Misuse: ``scalars.key`` for a key that has not 32 bytes.
    """
    if len(key) != KEY_BYTES:
        raise Misuse("scalars.key", f"a key has {KEY_BYTES} bytes, not {len(key)}")
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    found, have = [np.zeros((0, BYTES), np.uint8)], 0
    while have < n:
        count = (n - have) * 9 // 8 + 16
        words = np.frombuffer(stream.update(bytes(BYTES * count)), np.uint8).reshape(count, BYTES).copy()
        words[:, -1] &= 0x7F
        found.append(words[_below_q(words)])
        have += len(found[-1])
    return np.ascontiguousarray(np.concatenate(found)[:n])


def add(a: Scalars, b: Scalars) -> Scalars:
    """a + b modulo Q, row by row."""
    return _bytes(_reduced(_limbs(a) + _limbs(b)))


def subtract(a: Scalars, b: Scalars) -> Scalars:
    """a - b modulo Q, row by row."""
    complement = _Q[:, None] + _LOW + np.uint64(1) - _limbs(b)  # every limb of Q - b, raised by 2^32 …
    complement[1:] -= np.uint64(1)  # … which the next one gives
    complement[-1] -= np.uint64(1) << _LIMB
    return _bytes(_reduced(_limbs(a) + complement))


def from_bytes(data: bytes, n: int) -> Scalars:
    """``n`` numbers as they were sent.

    Raises:
        Hostile: ``scalars.length``, ``scalars.range`` for one that is not below Q.
    """
    if len(data) != BYTES * n:
        raise Hostile("scalars.length", f"{len(data)} bytes are not {n} numbers")
    rows = np.frombuffer(data, np.uint8).reshape(n, BYTES)
    if not _below_q(rows).all():
        raise Hostile("scalars.range", "a number is not below the group's order")
    return rows


def to_int(row: NDArray[np.uint8]) -> int:
    return int.from_bytes(row.tobytes(), "little")


def to_ints(rows: Scalars) -> list[int]:
    data = rows.tobytes()
    return [int.from_bytes(data[i : i + BYTES], "little") for i in range(0, len(data), BYTES)]


def from_ints(values: list[int]) -> Scalars:
    """From numbers below Q."""
    data = b"".join(value.to_bytes(BYTES, "little") for value in values)
    return np.frombuffer(data, np.uint8).reshape(len(values), BYTES)


def _below_q(rows: Scalars) -> NDArray[np.bool_]:
    words = np.ascontiguousarray(rows).view("<u8")
    order = np.frombuffer(Q.to_bytes(BYTES, "little"), "<u8")
    less, equal = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    for k in range(3, -1, -1):
        less |= equal & (words[:, k] < order[k])
        equal &= words[:, k] == order[k]
    return less


def _limbs(rows: Scalars) -> NDArray[np.uint64]:
    """(8, n): a limb to a row, so that each step runs over contiguous words."""
    return np.ascontiguousarray(np.ascontiguousarray(rows).view("<u4").T.astype(np.uint64))


def _bytes(limbs: NDArray[np.uint64]) -> Scalars:
    return np.ascontiguousarray(limbs.astype("<u4").T).view(np.uint8)


def _reduced(limbs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A sum below 2Q, its carries pending."""
    _carry(limbs)
    less = limbs + _MINUS_Q[:, None]
    over = _carry(less)  # 2^256 is passed where the sum is not below Q
    return np.where(over.astype(bool), less, limbs)


def _carry(limbs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Carries carried in place; what passes the highest limb is returned."""
    carry: NDArray[np.uint64] = np.zeros(limbs.shape[1], np.uint64)
    for limb in limbs:
        limb += carry
        np.right_shift(limb, _LIMB, out=carry)
        limb &= _LOW
    return carry
