"""The machine's ports in earnest: BFV in a child process, Pedersen, the system's randomness."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from consilium_errors import Hostile
from crypto import envelopes
from crypto.commitments import Generators, Pedersen, check_points, generators_needed
from crypto.secure_sum import child, schemes
from participants.analyst import SpecAnalyst
from participants.round.words import Analyst, Fields, Ports

DECRYPT_TIMEOUT_S = 120.0
NO_COMMITMENT = b"\xc0" + bytes(47)

Progress = Callable[[int, int], None]


def fhe_ports(analyst: Analyst, cache: Path | None = None, progress: Progress | None = None) -> Ports:
    @lru_cache(maxsize=8)
    def pedersen(length: int, fields: int) -> Pedersen:
        bits: Literal[22, 44] = 22 if fields == 2 else 44
        generators = Generators.load(generators_needed(length, bits), cache, progress)
        return Pedersen(length, bits, generators)

    def commit(values: Fields, fields: int, randomness: int) -> bytes:
        return pedersen(len(values), fields).commit(values, randomness)

    def verify(total: Fields, bits: int, randomness: int, commitments: tuple[bytes, ...]) -> None:
        pedersen(len(total), 2 if bits == 22 else 1).verify_sum(total, randomness, commitments)

    def open_total(seed: bytes, total: bytes, m: int) -> Fields:
        return child.decrypt_in_child(seed, total, m, timeout_s=DECRYPT_TIMEOUT_S)

    def check(commitments: tuple[bytes, ...]) -> None:
        check_points(commitments)

    return Ports(
        schemes.fhe(),
        analyst,
        commit,
        verify,
        check,
        open_total,
        os.urandom,
        envelopes.generate,
        pedersen=pedersen,
    )


def mpc_ports(analyst: Analyst, members: Sequence[tuple[bytes, bytes]], cache: Path | None = None) -> Ports:
    """Shares for a committee; commitments as under FHE.

    Args:
        members: (address, HPKE public key), in the study's order.
    """
    ports = fhe_ports(analyst, cache)
    return replace(ports, scheme=schemes.mpc(), open_total=_no_ciphertext, committee=tuple(members))


def _no_ciphertext(seed: bytes, total: bytes, m: int) -> Fields:
    raise Hostile("ciphertext.none", "a committee's result is no ciphertext")


def clear_ports(analyst: Analyst) -> Ports:
    """The same machinery without secrecy, for benchmarks and simulation. Policies refuse it by default."""
    scheme = schemes.clear()
    return Ports(
        scheme,
        analyst,
        lambda values, fields, randomness: NO_COMMITMENT,
        lambda total, bits, randomness, commitments: None,
        lambda commitments: None,
        scheme.open,
        os.urandom,
        envelopes.generate,
    )


def ports_for(name: str, analyst: SpecAnalyst) -> Ports:
    if name == "mpc":
        return mpc_ports(analyst, [(m.address, m.key) for m in analyst.spec.committee])
    return clear_ports(analyst) if name == "clear" else fhe_ports(analyst)
