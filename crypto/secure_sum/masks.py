"""Masks inside the plaintext: AES-256-CTR streams modulo 2^45.

Each pair of parties shares a key; one adds its stream, the other subtracts it, so that all of them cancel
in the sum (Bonawitz et al., CCS 2017, doi:10.1145/3133956.3133982). A self-mask, whose key is released only
after the lock, keeps an upload closed until then. Who decrypts a single upload sees uniform coefficients.

A key belongs to one attempt and one stream: it is used once, so the counter may begin at zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from consilium_errors import Misuse
from crypto.secure_sum.packing import U64

PLAIN_BITS = 45
PLAIN_MASK = np.uint64((1 << PLAIN_BITS) - 1)
KEY_BYTES = 32

_STREAM = bytes(16)
_SCALAR = b"\x80" + bytes(15)  # the counter of a stream never comes here: 2^127 blocks
_CHUNK = 1 << 15  # coefficients at a time: the buffers stay in the second-level cache
_ZEROS = bytes(8 * _CHUNK)


def keystream(key: bytes, n: int) -> U64:
    """``uint64[n]``, uniform below 2^45: little-endian 64-bit words of AES-256-CTR, their low 45 bits."""
    return mask([key], [], n)


def mask(add: Sequence[bytes], subtract: Sequence[bytes], n: int) -> U64:
    """Σ PRG(add) − Σ PRG(subtract) modulo 2^45 as ``uint64[n]``; needs 8n bytes and two small buffers.

    Raises:
        Misuse: ``mask.key`` for a key that has not 32 bytes, ``mask.key_reused`` for one that comes twice.
    """
    keys = [*add, *subtract]
    if len(set(keys)) != len(keys):
        raise Misuse("mask.key_reused", "a mask key comes twice: its stream would cancel or double")
    streams = [_ctr(key, _STREAM) for key in keys]
    out = np.zeros(n, np.uint64)
    raw = bytearray(
        8 * _CHUNK + 15
    )  # CTR writes no more than it reads, but the interface asks for a block more
    words = np.frombuffer(raw, "<u8", _CHUNK)
    zeros = memoryview(_ZEROS)
    for start in range(0, n, _CHUNK):
        part = out[start : start + _CHUNK]
        for k, stream in enumerate(streams):
            stream.update_into(zeros[: 8 * part.size], raw)
            step = np.add if k < len(add) else np.subtract
            step(part, words[: part.size], out=part)  # modulo 2^64, which 2^45 divides
        part &= PLAIN_MASK
    return out


def apply(c: U64, m: U64) -> U64:
    """Coefficients plus mask modulo 2^45; both ``uint64[n]``."""
    if c.shape != m.shape:
        raise Misuse("mask.shape", f"{c.shape} coefficients under a mask of {m.shape}")
    out: U64 = np.add(c, m)
    out &= PLAIN_MASK
    return out


def scalar_mask(key: bytes, q: int) -> int:
    """Uniform modulo ``q`` (at most 384 bits) up to a bias of 2^-128, independent of the key's stream."""
    if not 1 < q < 1 << 384:
        raise Misuse("mask.modulus", f"a modulus of {q.bit_length()} bits; supported are 2 to 384")
    return int.from_bytes(_ctr(key, _SCALAR).update(bytes(64)), "little") % q


def _ctr(key: bytes, start: bytes) -> CipherContext:
    if len(key) != KEY_BYTES:
        raise Misuse("mask.key", f"a mask key has {KEY_BYTES} bytes, not {len(key)}")
    return Cipher(algorithms.AES256(key), modes.CTR(start)).encryptor()
