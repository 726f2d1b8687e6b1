"""The seam to blst, whose C API the ``ckzg`` wheel happens to export (ctypes; no copy, no GIL).

Nobody promises that interface. So only builds whose file was tested are used, by hash, and layouts and a
known answer are checked on each start; with anything else `crypto.commitments.curve` takes arkworks.
A new version of ckzg: run tests/crypto/commitments against it, then add its hash.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_bool, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consilium_errors import Unavailable

from .curve import DST, LIMBS, POINT_BYTES, Points, Q, Scalars, bad_point, check_encoding

VERSION: Final = "2.1.8"
#: SHA-256 of the extension modules that the contract test has passed on.
TESTED_BUILDS: Final = {
    "99b96b016b9685249b2313ebe38da3ec64b2856dc23d786b1f60ff03c535e68b": "CPython 3.11, Linux x86-64",
}
THREADS: Final = min(2, os.cpu_count() or 1)
_PROJECTIVE: Final = 18  # limbs of blst_p1: X, Y, Z
_SPLIT_FROM: Final = 256  # points; below, a second thread costs more than it gives

#: RFC 9380, appendix J.9.1, message "abc": x of the point.
_KNOWN_DST = b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
_KNOWN_X = "03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903"

# name: (result, arguments)
_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "p1_sizeof": (c_size_t, []),
    "p1_affine_sizeof": (c_size_t, []),
    "hash_to_g1": (None, [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_char_p, c_size_t]),
    "p1s_to_affine": (None, [c_void_p, c_void_p, c_size_t]),
    "p1_from_affine": (None, [c_void_p, c_void_p]),
    "p1_add_or_double": (None, [c_void_p, c_void_p, c_void_p]),
    "p1_mult": (None, [c_void_p, c_void_p, c_char_p, c_size_t]),
    "p1_compress": (None, [c_void_p, c_void_p]),
    "p1_uncompress": (c_int, [c_void_p, c_char_p]),
    "p1_affine_in_g1": (c_bool, [c_void_p]),
    "p1s_mult_pippenger": (None, [c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p]),
    "p1s_mult_pippenger_scratch_sizeof": (c_size_t, [c_size_t]),
}


class Blst:
    """`Curve` on blst.

    Raises:
        Unavailable: ``commitment.blst``, no tested build here, or it fails the known answer.
    """

    name = "blst"

    def __init__(self) -> None:
        self._functions = _bind(_tested_file())
        point = self.hash_to_curve([b"abc"], dst=_KNOWN_DST)
        if self.compress(self._projective(point[0])).hex()[2:] != _KNOWN_X[2:]:
            raise _unusable("hash to curve differs from RFC 9380")

    def hash_to_curve(self, messages: Sequence[bytes], *, dst: bytes = DST) -> Points:
        projective = np.zeros((len(messages), _PROJECTIVE), np.uint64)
        affine = np.zeros((len(messages), LIMBS), np.uint64)
        call, at, step = self._functions["hash_to_g1"], projective.ctypes.data, projective.strides[0]
        for i, message in enumerate(messages):
            call(at + i * step, message, len(message), dst, len(dst), None, 0)
        if messages:
            self._functions["p1s_to_affine"](affine.ctypes.data, _array(projective), len(messages))
        return affine

    def basis(self, points: Points, blinder: Points) -> _Basis:
        return _Basis(self, np.ascontiguousarray(points, "<u8"), self._projective(blinder[0]))

    def add(self, points: Sequence[bytes]) -> bytes:
        total = np.zeros(_PROJECTIVE, np.uint64)  # Z = 0: the neutral point
        for point in points:
            self.accumulate(total, self._projective(self._parse(point)))
        return self.compress(total)

    def weighted(self, points: Sequence[bytes], weights: Sequence[int]) -> bytes:
        total = np.zeros(_PROJECTIVE, np.uint64)
        for point, weight in zip(points, weights, strict=True):
            self.accumulate(total, self.multiply(self._projective(self._parse(point)), weight))
        return self.compress(total)

    def compressed(self, points: Points) -> list[bytes]:
        return [self.compress(self._projective(row)) for row in points]

    def _parse(self, point: bytes) -> Points:
        check_encoding(point)
        affine = np.zeros(LIMBS, np.uint64)
        if self._functions["p1_uncompress"](affine.ctypes.data, point) != 0:
            raise bad_point()
        if not self._functions["p1_affine_in_g1"](affine.ctypes.data):
            raise bad_point()
        return affine

    def accumulate(self, total: Points, point: Points) -> None:
        self._functions["p1_add_or_double"](total.ctypes.data, total.ctypes.data, point.ctypes.data)

    def multiply(self, point: Points, scalar: int) -> Points:
        product = np.zeros(_PROJECTIVE, np.uint64)
        self._functions["p1_mult"](
            product.ctypes.data, point.ctypes.data, scalar.to_bytes(32, "little"), Q.bit_length()
        )
        return product

    def pippenger(self, points: Points, scalars: Scalars, bits: int) -> Points:
        total = np.zeros(_PROJECTIVE, np.uint64)
        scratch = np.empty(self._functions["p1s_mult_pippenger_scratch_sizeof"](len(points)), np.uint8)
        self._functions["p1s_mult_pippenger"](
            total.ctypes.data, _array(points), len(points), _array(scalars), bits, scratch.ctypes.data
        )
        return total

    def _projective(self, affine: Points) -> Points:
        point = np.zeros(_PROJECTIVE, np.uint64)
        affine = np.ascontiguousarray(affine)
        self._functions["p1_from_affine"](point.ctypes.data, affine.ctypes.data)
        return point

    def compress(self, point: Points) -> bytes:
        encoded = ctypes.create_string_buffer(POINT_BYTES)
        self._functions["p1_compress"](encoded, point.ctypes.data)
        return encoded.raw


class _Basis:
    def __init__(self, curve: Blst, points: Points, blinder: Points) -> None:
        self._curve, self._points, self._blinder = curve, points, blinder

    def combine(self, scalars: Scalars, bits: int, blind: int) -> bytes:
        count = len(self._points)
        if scalars.shape != (count, (bits + 7) // 8) or scalars.dtype != np.uint8:
            raise ValueError("scalars do not fit the points")
        scalars = np.ascontiguousarray(scalars)
        parts = THREADS if count >= _SPLIT_FROM else 1
        cuts = [count * k // parts for k in range(parts + 1)]

        def part(k: int) -> Points:
            here = slice(cuts[k], cuts[k + 1])
            return self._curve.pippenger(self._points[here], scalars[here], bits)

        total = self._curve.multiply(self._blinder, blind)
        if parts == 1:
            self._curve.accumulate(total, part(0))
        else:
            with ThreadPoolExecutor(parts) as pool:
                for subtotal in pool.map(part, range(parts)):
                    self._curve.accumulate(total, subtotal)
        return self._curve.compress(total)


def _array(rows: NDArray[Any]) -> ctypes.Array[c_void_p]:
    # blst takes a list of pointers; one pointer and NULL mean that the rows follow one another.
    return (c_void_p * 2)(rows.ctypes.data, None)


def _tested_file() -> Path:
    try:
        version = importlib.metadata.version("ckzg")
    except importlib.metadata.PackageNotFoundError:
        raise _unusable("ckzg is not installed") from None
    if version != VERSION:
        raise _unusable(f"expected ckzg {VERSION}, found {version}")
    spec = importlib.util.find_spec("ckzg")
    if spec is None or spec.origin is None:
        raise _unusable("ckzg has no file")
    file = Path(spec.origin)
    if hashlib.sha256(file.read_bytes()).hexdigest() not in TESTED_BUILDS:
        raise _unusable("this build of ckzg was not tested")
    return file


def _bind(file: Path) -> dict[str, Callable[..., Any]]:
    library, functions = ctypes.CDLL(str(file)), {}
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(library, f"blst_{name}")
        except AttributeError:
            raise _unusable(f"blst_{name} is not exported") from None
        function.restype, function.argtypes = result, arguments
        functions[name] = function
    if (functions["p1_sizeof"](), functions["p1_affine_sizeof"]()) != (_PROJECTIVE * 8, LIMBS * 8):
        raise _unusable("points have another layout")
    return functions


def _unusable(why: str) -> Unavailable:
    return Unavailable(
        "commitment.blst", why, f"pip install ckzg=={VERSION}; without it commitments are slower."
    )
