"""Coefficients as fixed-length little-endian bytes, and their strict parsing. No native parser."""

from __future__ import annotations

import numpy as np

from consilium_errors import Hostile, Misuse
from crypto.secure_sum.masks import PLAIN_BITS
from crypto.secure_sum.packing import U64


def narrow(a: U64, width: int) -> bytes:
    """Each coefficient (below 2^(8·width)) as ``width`` little-endian bytes."""
    return np.ascontiguousarray(a, "<u8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()


def widen(data: memoryview, count: int, width: int, modulus: int) -> U64:
    """``uint64[count]`` from exactly ``count·width`` bytes.

    Raises:
        Hostile: ``ciphertext.length``, ``ciphertext.coefficient`` if one is not below ``modulus``.
    """
    if data.nbytes != count * width:
        raise Hostile("ciphertext.length", f"expected {count * width} bytes, found {data.nbytes}")
    out = np.empty(count, np.uint64)
    if count > 1:  # overlapping 8-byte reads; the last would read past the end
        out[:-1] = np.ndarray(count - 1, "<u8", data, strides=(width,))
        out &= np.uint64((1 << 8 * width) - 1)
    out[-1] = int.from_bytes(data[-width:], "little")
    if int(out.max()) >= modulus:
        raise Hostile("ciphertext.coefficient", "a coefficient is not below the modulus")
    return out


def check_coefficients(c: U64) -> None:
    """That ``c`` is ``uint64[m]``, m ≥ 1, each below 2^45; Misuse ``sum.shape``, ``sum.out_of_range``."""
    if c.dtype != np.uint64 or c.ndim != 1 or not c.size:
        raise Misuse("sum.shape", f"expected a vector of uint64, found {c.dtype}{list(c.shape)}")
    if int(c.max()) >> PLAIN_BITS:
        raise Misuse("sum.out_of_range", f"a coefficient exceeds {PLAIN_BITS} bits")
