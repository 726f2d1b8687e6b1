"""Sums under BFV: hospitals share a key, the coordinator adds without it.

Wire, fixed length for ``m`` coefficients, blocks of N = 4096, everything little-endian:

* upload: ``m`` coefficients of c0 (7 bytes each), then for each block 65 bytes from which c1 is expanded;
* total: ``m`` coefficients of Σ c0 (7 bytes each), then N coefficients of Σ c1 for each block.

Coefficient i of the plaintext depends on c0 only through its coefficient i, so c0 of the last block ends with
the vector.

The secret key is a uniform ternary polynomial made from a 32-byte seed: whoever has the seed has the key,
so a seed belongs to one attempt. Noise and expansion seeds are SEAL's own (Blake2xb, seeded by the system,
anew for each block). Noise is centred binomial, at most 21 a coefficient, the threshold 2^10: up to 46
uploads decrypt exactly whatever happens; at 128 the margin is 26 standard deviations.

A validly altered ciphertext decrypts to something: integrity comes from signatures and commitments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from consilium_errors import Hostile, Misuse
from crypto.secure_sum import _seal
from crypto.secure_sum._seal import PLAIN_BITS, PRNG_BLAKE2XB, PRNG_INFO, N, Q
from crypto.secure_sum.packing import MAX_PARTIES, U64
from crypto.secure_sum.wire import check_coefficients, narrow, widen

SEED_BYTES = 32
WIDTH = 7  # bytes of a coefficient below Q


def blocks(m: int) -> int:
    if m < 1:
        raise Misuse("sum.empty", f"a vector needs at least one coefficient, not {m}")
    return -(-m // N)


def upload_size(m: int) -> int:
    """Bytes of an upload of ``m`` coefficients."""
    return WIDTH * m + PRNG_INFO * blocks(m)


def total_size(m: int) -> int:
    """Bytes of a total of ``m`` coefficients."""
    return WIDTH * (m + N * blocks(m))


def secret(seed: bytes) -> U64:
    """The ternary key of a seed, ``uint64[N]`` with t − 1 for −1: SHAKE256 bytes below 255, modulo 3.

    Of 8192 bytes more than 4096 are refused with a probability below 2^-8000.
    """
    if len(seed) != SEED_BYTES:
        raise Misuse("sum.key", f"a key seed has {SEED_BYTES} bytes, not {len(seed)}")
    stream = hashlib.shake_256(b"consilium/1\0bfv-ternary\0" + seed).digest(2 * N)
    drawn = np.frombuffer(stream, np.uint8)
    trits = drawn[drawn < 255][:N] % 3
    return np.array([0, 1, (1 << PLAIN_BITS) - 1], np.uint64)[trits]


def load() -> None:
    """Load the native library now: it was seen to abort when a process full of gRPC's threads loaded it late."""
    _seal.context()


def encrypt(seed: bytes, coefficients: U64) -> bytes:
    """Encrypt ``uint64[m]`` (each below 2^45) under the key of ``seed``; returns ``upload_size(m)`` bytes.

    Raises:
        Misuse: ``sum.empty``, ``sum.shape``, ``sum.out_of_range``, ``sum.key``.
    """
    check_coefficients(coefficients)
    m = coefficients.size
    out = bytearray(upload_size(m))
    prng = WIDTH * m
    encryptor = _seal.encryptor(secret(seed))
    for i, part in enumerate(_parts(m)):
        made = encryptor.encrypt_symmetric(_seal.plaintext(coefficients[part]))
        c0, info = _seal.seeded_parts(made)
        out[WIDTH * part.start : WIDTH * part.stop] = narrow(c0[: part.stop - part.start], WIDTH)
        out[prng + PRNG_INFO * i : prng + PRNG_INFO * (i + 1)] = info
    return bytes(out)


class Adder:
    """Adds uploads of ``m`` coefficients as they come; holds no key. A refused upload changes nothing."""

    def __init__(self, m: int) -> None:
        self._c1: list[Any] = [None] * blocks(m)
        self._c0 = np.zeros(m, np.uint64)
        self._m = m
        self._count = 0
        self._blank = np.zeros(N, np.uint64)

    def add(self, upload: bytes) -> None:
        """Add one upload.

        Raises:
            Hostile: ``ciphertext.length``, ``ciphertext.coefficient``, ``ciphertext.prng``.
            Misuse: ``sum.parties`` beyond 128 uploads: noise and guard bits end there.
        """
        if self._count == MAX_PARTIES:
            raise Misuse("sum.parties", f"more than {MAX_PARTIES} uploads")
        c0, infos = parse_upload(upload, self._m)
        evaluator = _seal.evaluator()
        self._c0 += c0  # 128 · 2^56 fits; reduced once, in `total`
        for i, info in enumerate(infos):
            expanded = _seal.seeded(self._blank, info)
            if self._c1[i] is None:
                self._c1[i] = expanded
            else:
                evaluator.add_inplace(self._c1[i], expanded)
        self._count += 1

    def total(self) -> bytes:
        """The sum so far, ``total_size(m)`` bytes.

        Raises:
            Misuse: ``sum.empty`` if nothing was added.
        """
        if not self._count:
            raise Misuse("sum.empty", "nothing was added")
        out = bytearray(total_size(self._m))
        end = WIDTH * self._m
        out[:end] = narrow(self._c0 % np.uint64(Q), WIDTH)
        for i, ct in enumerate(self._c1):
            start = end + WIDTH * N * i
            out[start : start + WIDTH * N] = narrow(_seal.parts(ct)[1], WIDTH)
        return bytes(out)


def parse_upload(upload: bytes, m: int) -> tuple[U64, list[bytes]]:
    """(c0 as ``uint64[m]``, generator seeds of the blocks) of one upload, checked.

    Raises:
        Hostile: ``ciphertext.length``, ``ciphertext.coefficient``, ``ciphertext.prng``.
    """
    _check_length(upload, upload_size(m))
    view = memoryview(upload)
    infos = [upload[i : i + PRNG_INFO] for i in range(WIDTH * m, len(upload), PRNG_INFO)]
    if any(info[0] != PRNG_BLAKE2XB for info in infos):
        raise Hostile("ciphertext.prng", "not the generator that this version expands")
    return widen(view[: WIDTH * m], m, WIDTH, Q), infos


def check_total(total: bytes, m: int) -> None:
    """The checks of a total that cost nothing; `decrypt` makes the others.

    Raises:
        Hostile: ``ciphertext.length``.
    """
    _check_length(total, total_size(m))


def decrypt(seed: bytes, total: bytes, m: int) -> U64:
    """Open a total: ``uint64[m]`` below 2^45. Runs native code on the checked coefficients: see `child`.

    A wrong seed does not fail here: it gives uniform coefficients, which `Packing.unpack` refuses.

    Raises:
        Hostile: ``ciphertext.length``, ``ciphertext.coefficient``, ``ciphertext.transparent`` if c1 is zero.
        Misuse: ``sum.key``, ``sum.empty``.
    """
    check_total(total, m)
    view = memoryview(total)
    c0 = widen(view[: WIDTH * m], m, WIDTH, Q)
    decryptor = _seal.decryptor(secret(seed))
    out = np.empty(m, np.uint64)
    block = np.zeros(N, np.uint64)
    opened = _seal.api().Plaintext()
    for i, part in enumerate(_parts(m)):
        start = WIDTH * (m + N * i)
        c1 = widen(view[start : start + WIDTH * N], N, WIDTH, Q)
        if not c1.any():
            raise Hostile("ciphertext.transparent", "a total that no key closes")
        size = part.stop - part.start
        block[:size] = c0[part]
        decryptor.decrypt(_seal.ciphertext(block, c1), opened)
        out[part] = _seal.coefficients(opened)[:size]
    return out


def _parts(m: int) -> Iterator[slice]:
    return (slice(i, min(i + N, m)) for i in range(0, m, N))


def _check_length(data: bytes, expected: int) -> None:
    if len(data) != expected:
        raise Hostile("ciphertext.length", f"expected {expected} bytes, found {len(data)}")
