"""The seam to SEAL through ``tenseal.sealapi``: the only place that knows its byte layout.

Written for tenseal 0.3.18, SEAL 4.3. ``sealapi`` reads and writes paths only, so bytes go through an
anonymous file in memory. Everything loaded here was built by us from checked coefficients; bytes from outside
never reach SEAL as they came. What SEAL writes is compressed; the zstd in the same library opens it.

Parameters: BFV, N = 4096, one 56-bit prime, t = 2^45. SEAL grants N = 4096 up to 58 bits at 256-bit classical
security (the table of the HomomorphicEncryption.org standard, 2018), for ternary secrets.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import struct
import sys
import threading
from functools import cache
from typing import Any

import numpy as np

from consilium_errors import Unavailable
from crypto.secure_sum.packing import U64

N = 4096
Q = 72057594037641217
PLAIN_BITS = 45
TENSEAL = "0.3.18"
SEAL_VERSION = (4, 3)
PRNG_BLAKE2XB = 1
PRNG_INFO = 65  # generator type, 64 bytes of seed

_MAGIC = 0xA15E
_HEADER = struct.Struct("<HBBBBHQ")
_META = struct.Struct("<4QBQQQdQ")  # parms id, NTT form, polynomials, N, primes, scale, correction factor
_PLAIN = struct.Struct("<4QQd")  # parms id, coefficients, scale
_ZSTD = 2


@cache
def api() -> Any:
    """The ``tenseal.sealapi`` module, of the one version whose bytes are known."""
    found = importlib.metadata.version("tenseal")
    if found != TENSEAL:
        raise Unavailable("sum.seal_version", f"tenseal {found}", f"install tenseal=={TENSEAL}")
    if not hasattr(os, "memfd_create"):
        raise Unavailable("sum.platform", "no memory files on this system", "use Linux")
    import tenseal.sealapi as sealapi

    return sealapi


@cache
def context() -> Any:
    """The one parameter set, accepted by SEAL at its 256-bit level."""
    s = api()
    params = s.EncryptionParameters(s.SCHEME_TYPE.BFV)
    params.set_poly_modulus_degree(N)
    primes = s.CoeffModulus.Create(N, [56])
    params.set_coeff_modulus(primes)
    params.set_plain_modulus(1 << PLAIN_BITS)
    made = s.SEALContext(params, True, s.SEC_LEVEL_TYPE.TC256)
    if made.parameters_error_message() != "valid" or [p.value() for p in primes] != [Q]:
        raise Unavailable("sum.seal_version", "SEAL does not make the expected parameters")
    return made


def blank() -> Any:
    return api().Ciphertext()


def evaluator() -> Any:
    return api().Evaluator(context())


def encryptor(ternary: U64) -> Any:
    return api().Encryptor(context(), _secret_key(ternary))


def decryptor(ternary: U64) -> Any:
    return api().Decryptor(context(), _secret_key(ternary))


def _secret_key(ternary: U64) -> Any:
    """SEAL keeps a secret as its transform; ``ternary`` has entries 0, 1 and t − 1 for −1."""
    s = api()
    poly = plaintext(ternary)
    evaluator().transform_to_ntt_inplace(poly, context().key_parms_id())
    scratch = _scratch()
    key = s.SecretKey()
    poly.save(scratch.path)  # a SecretKey is written as its Plaintext
    key.load(context(), scratch.path)
    scratch.wipe()
    return key


def plaintext(c: U64) -> Any:
    """A SEAL plaintext of at most N coefficients below 2^45."""
    body = _PLAIN.pack(0, 0, 0, 0, c.size, 1.0) + _array(c)
    return _load(api().Plaintext(), body)


def seeded(c0: U64, prng: bytes) -> Any:
    """A ciphertext whose second polynomial SEAL expands from ``prng`` (65 checked bytes)."""
    return _load(api().Ciphertext(), _meta() + _array(c0) + _header(PRNG_INFO) + prng)


def ciphertext(c0: U64, c1: U64) -> Any:
    return _load(api().Ciphertext(), _meta() + _array(np.concatenate([c0, c1])))


def seeded_parts(serializable: Any) -> tuple[U64, bytes]:
    """(c0, prng) of what the one-argument ``encrypt_symmetric`` returns."""
    raw = _save(serializable, _META.size + 16 + 8 + 8 * N + 16 + PRNG_INFO)
    return np.frombuffer(raw, "<u8", N, _META.size + 24), raw[-PRNG_INFO:]


def parts(ct: Any) -> tuple[U64, U64]:
    raw = _save(ct, _META.size + 16 + 8 + 16 * N)
    both = np.frombuffer(raw, "<u8", 2 * N, _META.size + 24)
    return both[:N], both[N:]


def coefficients(pt: Any) -> U64:
    """``uint64[N]``; SEAL leaves out leading zeros."""
    count = pt.coeff_count()
    out = np.zeros(N, np.uint64)
    raw = _save(pt, _PLAIN.size + 16 + 8 + 8 * count)
    out[:count] = np.frombuffer(raw, "<u8", count, _PLAIN.size + 24)
    return out


# bytes -------------------------------------------------------------------------------------------------


def _header(size: int) -> bytes:
    return _HEADER.pack(_MAGIC, 16, *SEAL_VERSION, 0, 0, 16 + size)


def _array(a: U64) -> bytes:
    return _header(8 + 8 * a.size) + struct.pack("<Q", a.size) + a.astype("<u8", copy=False).tobytes()


@cache
def _meta() -> bytes:
    return _META.pack(*context().first_parms_id(), 0, 2, N, 1, 1.0, 1)


def _load(target: Any, body: bytes) -> Any:
    scratch = _scratch()
    scratch.write(_header(len(body)) + body)
    target.load(context(), scratch.path)
    return target


def _save(source: Any, size: int) -> bytes:
    """What SEAL writes, uncompressed: exactly ``size`` bytes."""
    scratch = _scratch()
    scratch.wipe()
    source.save(scratch.path)
    raw = scratch.read()
    magic, header, major, minor, mode, reserved, length = _HEADER.unpack_from(raw)
    known = (magic, header, (major, minor), mode, reserved, length) == (
        _MAGIC,
        16,
        SEAL_VERSION,
        _ZSTD,
        0,
        len(raw),
    )
    if not known:
        raise Unavailable("sum.seal_version", "SEAL writes an unknown header")
    return _unzstd(raw[16:], size)


@cache
def _zstd() -> Any:
    library = sys.modules[api().Ciphertext.__module__].__file__
    call = ctypes.CDLL(library).ZSTD_decompress
    call.restype = ctypes.c_size_t
    call.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return call


def _unzstd(frame: bytes, size: int) -> bytes:
    out = ctypes.create_string_buffer(size)
    if _zstd()(out, size, frame, len(frame)) != size:
        raise Unavailable("sum.seal_version", "SEAL writes objects of an unknown size")
    return out.raw


class _Scratch:
    """A file in memory, as ``sealapi`` only takes paths."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.fd = os.memfd_create("seal", os.MFD_CLOEXEC)
        self.path = f"/proc/self/fd/{self.fd}"

    def __del__(self) -> None:
        os.close(self.fd)

    def wipe(self) -> None:
        os.ftruncate(self.fd, 0)

    def write(self, data: bytes) -> None:
        os.ftruncate(self.fd, len(data))
        os.pwrite(self.fd, data, 0)

    def read(self) -> bytes:
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0)


_local = threading.local()


def _scratch() -> _Scratch:
    """One for each thread, and a new one after a fork: parent and child would write into the same file."""
    scratch: _Scratch | None = getattr(_local, "scratch", None)
    if scratch is None or scratch.pid != os.getpid():
        scratch = _local.scratch = _Scratch()
    return scratch
