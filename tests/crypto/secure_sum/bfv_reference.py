"""BFV decryption written from the papers and RFC 7693, with hashlib and numpy only: no SEAL, no code of ours.

c1 is expanded as SEAL's ``sample_poly_uniform`` does: BLAKE2Xb blocks of 4096 bytes keyed by the 64-byte seed
over a little-endian block counter; 64-bit words, rejected at the largest multiple of q, reduced.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

N, Q, T = 4096, 72057594037641217, 1 << 45
I64 = npt.NDArray[np.int64]


IV = [
    0x6A09E667F3BCC908,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
    0xA54FF53A5F1D36F1,
    0x510E527FADE682D1,
    0x9B05688C2B3E6C1F,
    0x1F83D9ABFB41BD6B,
    0x5BE0CD19137E2179,
]
SIGMA = """
 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15
14 10  4  8  9 15 13  6  1 12  0  2 11  7  5  3
11  8 12  0  5  2 15 13 10 14  3  6  7  1  9  4
 7  9  3  1 13 12 11 14  2  6  5 10  4  0 15  8
 9  0  5  7  2  4 10 15 14  1 11 12  6  8  3 13
 2 12  6 10  0 11  8  3  4 13  7  5 15 14  1  9
12  5  1 15 14 13  4 10  0  7  6  3  9  2  8 11
13 11  7 14 12  1  3  9  5  0 15  4  8  6  2 10
 6 15 14  9 11  3  0  8 12  2 13  7  1  4 10  5
10  2  8  4  7  6  1  5 15 11  9 14  3 12 13  0
"""
ROUNDS = [[int(x) for x in row.split()] for row in SIGMA.strip().splitlines()]
LANES = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
LANES += [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
WORD = (1 << 64) - 1


def blake2b(message: bytes, params: bytes) -> bytes:
    """RFC 7693 with a full parameter block (which hashlib does not take), for one block of message."""
    h = [iv ^ p for iv, p in zip(IV, struct.unpack("<8Q", params), strict=True)]
    words = struct.unpack("<16Q", message.ljust(128, b"\0"))
    v = h + IV
    v[12] ^= len(message)
    v[14] ^= WORD
    for i in range(12):
        s = ROUNDS[i % 10]
        for k, (a, b, c, d) in enumerate(LANES):
            for word, (r1, r2) in ((words[s[2 * k]], (32, 24)), (words[s[2 * k + 1]], (16, 63))):
                v[a] = (v[a] + v[b] + word) & WORD
                x = v[d] ^ v[a]
                v[d] = (x >> r1 | x << 64 - r1) & WORD
                v[c] = (v[c] + v[d]) & WORD
                x = v[b] ^ v[c]
                v[b] = (x >> r2 | x << 64 - r2) & WORD
    return struct.pack("<8Q", *(a ^ b ^ c for a, b, c in zip(h, v[:8], v[8:], strict=True)))


def blake2xb(message: bytes, key: bytes, size: int) -> bytes:
    """BLAKE2X with BLAKE2b (Aumasson et al., 2016), ``size`` a multiple of 64."""
    root = hashlib.blake2b(message, key=key, node_offset=size << 32).digest()
    # digest, key, fanout, depth, leaf length, node offset, output length, node depth, inner length
    nodes = [struct.pack("<4B3I2B46x", 64, 0, 0, 0, 64, i, size, 0, 64) for i in range(size // 64)]
    return b"".join(blake2b(root, node) for node in nodes)


def _words(seed: bytes) -> Iterator[int]:
    counter = 0
    while True:
        yield from struct.unpack("<512Q", blake2xb(struct.pack("<Q", counter), seed, 4096))
        counter += 1


def expand(seed: bytes) -> list[int]:
    words = _words(seed)
    first = [next(words) for _ in range(N)]
    most = (1 << 64) - 1
    limit = most - most % Q - 1
    out = []
    for word in first:
        while word >= limit:
            word = next(words)
        out.append(word % Q)
    return out


def ternary(seed: bytes) -> list[int]:
    stream = hashlib.shake_256(b"consilium/1\0bfv-ternary\0" + seed).digest(8192)
    return [{0: 0, 1: 1, 2: -1}[b % 3] for b in stream if b < 255][:N]


def negacyclic(a: list[int], s: list[int]) -> list[int]:
    """a·s modulo X^N + 1 and Q, exactly: two limbs of 28 bits, so that int64 never overflows."""
    small = np.array(s, np.int64)

    def limb(values: list[int]) -> I64:
        full = np.convolve(np.array(values, np.int64), small)
        out = full[:N].copy()
        out[: N - 1] -= full[N:]
        return out

    low = limb([x & (1 << 28) - 1 for x in a])
    high = limb([x >> 28 for x in a])
    return [(int(lo) + (int(hi) << 28)) % Q for lo, hi in zip(low, high, strict=True)]


def open_block(seed: bytes, c0: list[int], c1: list[int]) -> tuple[list[int], list[int]]:
    """(plaintext, noise) of the coefficients that ``c0`` has."""
    product = negacyclic(c1, ternary(seed))
    plain, noise = [], []
    for a, b in zip(c0, product, strict=False):
        v = (a + b) % Q
        m = (2 * v * T + Q) // (2 * Q) % T
        plain.append(m)
        e = (v - (2 * m * Q + T) // (2 * T)) % Q
        noise.append(e - Q if e > Q // 2 else e)
    return plain, noise


def open_upload(seed: bytes, upload: bytes, m: int) -> tuple[list[int], list[int]]:
    c0 = [int.from_bytes(upload[7 * i : 7 * i + 7], "little") for i in range(m)]
    plain: list[int] = []
    noise: list[int] = []
    for block, start in enumerate(range(0, m, N)):
        info = upload[7 * m + 65 * block :][:65]
        p, e = open_block(seed, c0[start : start + N], expand(info[1:]))
        plain += p
        noise += e
    return plain, noise
