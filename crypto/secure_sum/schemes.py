"""How vectors of coefficients are summed: one interface, chosen by name.

A scheme sums ``uint64[m]`` vectors with entries below 2^45, modulo 2^45.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from consilium_errors import Hostile, Misuse
from crypto.mpc.sharing import upload_size
from crypto.mpc.words import method_id as mpc_method_id
from crypto.secure_sum import bfv, child
from crypto.secure_sum import clear as plain
from crypto.secure_sum.packing import U64


class Adder(Protocol):
    """Adds uploads as they come. Holds no key; an upload that is refused changes nothing."""

    def add(self, upload: bytes) -> None:
        """Add one upload; Hostile ``ciphertext.*`` if it is malformed."""

    def total(self) -> bytes:
        """The sum so far; Misuse ``sum.empty`` if nothing was added."""


class Scheme(Protocol):
    """One way to sum."""

    @property
    def name(self) -> str:
        """As in ``study.toml``."""

    @property
    def method_id(self) -> bytes:
        """32 bytes that name scheme, parameters and wire version; part of what every hospital signs."""

    @property
    def masked(self) -> bool:
        """Whether hospitals mask coefficients before they encrypt."""

    def encrypt(self, seed: bytes, coefficients: U64) -> bytes:
        """``uint64[m]`` below 2^45 as ``upload_size(m)`` bytes; ``seed`` is the group's 32 bytes."""

    def check(self, upload: bytes, m: int) -> None:
        """Hostile ``ciphertext.*`` if an `Adder` for ``m`` coefficients would refuse the upload; adds nothing."""

    def adder(self, m: int) -> Adder:
        """For uploads of ``m`` coefficients."""

    def open(self, seed: bytes, total: bytes, m: int) -> U64:
        """The summed coefficients of a total from outside; Hostile ``ciphertext.*`` if it is malformed."""

    def upload_size(self, m: int) -> int: ...

    def total_size(self, m: int) -> int: ...


def _method_id(description: str) -> bytes:
    return hashlib.sha256(b"consilium/1\0secure-sum\0" + description.encode()).digest()


@dataclass(frozen=True)
class _Fhe:
    name: str = "fhe"
    method_id: bytes = _method_id("bfv n=4096 q=72057594037641217 t=2^45 seeded wire=1")
    masked: bool = True

    def encrypt(self, seed: bytes, coefficients: U64) -> bytes:
        return bfv.encrypt(seed, coefficients)

    def check(self, upload: bytes, m: int) -> None:
        bfv.parse_upload(upload, m)

    def adder(self, m: int) -> Adder:
        return bfv.Adder(m)

    def open(self, seed: bytes, total: bytes, m: int) -> U64:
        # Twenty times what it takes: a slow machine passes, a hung child does not hold the round for long.
        return child.decrypt_in_child(seed, total, m, timeout_s=20 + 4e-6 * m)

    def upload_size(self, m: int) -> int:
        return bfv.upload_size(m)

    def total_size(self, m: int) -> int:
        return bfv.total_size(m)


@dataclass(frozen=True)
class _Clear:
    name: str = "clear"
    method_id: bytes = _method_id("clear t=2^45 wire=1")
    masked: bool = False

    def encrypt(self, seed: bytes, coefficients: U64) -> bytes:
        return plain.encode(coefficients)

    def check(self, upload: bytes, m: int) -> None:
        plain.decode(upload, m)

    def adder(self, m: int) -> Adder:
        return plain.Adder(m)

    def open(self, seed: bytes, total: bytes, m: int) -> U64:
        return plain.decode(total, m)

    def upload_size(self, m: int) -> int:
        return plain.size(m)

    def total_size(self, m: int) -> int:
        return plain.size(m)


@dataclass(frozen=True)
class _Mpc:
    """Shares for a committee: here only its name and the size of an upload; the rest is `crypto.mpc`."""

    name: str = "mpc"
    method_id: bytes = mpc_method_id("sum", 0, None, False)
    masked: bool = True

    def check(self, upload: bytes, m: int) -> None:
        """``m``: values of the vector."""
        if len(upload) != upload_size(m):
            raise Hostile("ciphertext.length", "the upload has another length than the layout")

    def encrypt(self, seed: bytes, coefficients: U64) -> bytes:
        raise _shared()

    def adder(self, m: int) -> Adder:
        raise _shared()

    def open(self, seed: bytes, total: bytes, m: int) -> U64:
        raise _shared()

    def upload_size(self, m: int) -> int:
        return upload_size(m)

    def total_size(self, m: int) -> int:
        raise _shared()


def _shared() -> Misuse:
    return Misuse("sum.shared", "a committee's inputs are shared, and nobody adds ciphertexts")


_FHE, _CLEAR, _MPC = _Fhe(), _Clear(), _Mpc()


def fhe() -> Scheme:
    """BFV under a key shared among hospitals; opened in a child process."""
    return _FHE


def mpc() -> Scheme:
    """Shared among a committee of three."""
    return _MPC


def clear() -> Scheme:
    """No protection; for benchmarks and simulation."""
    return _CLEAR


def by_name(name: str) -> Scheme:
    """The scheme that ``study.toml`` names; Misuse ``sum.unknown_scheme``."""
    for scheme in (_FHE, _CLEAR, _MPC):
        if scheme.name == name:
            return scheme
    raise Misuse("sum.unknown_scheme", f"no scheme is called {name!r}", "choose fhe, mpc or clear")
