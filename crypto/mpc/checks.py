"""Is a vector that nobody sees short? An L2 bound that wrap-around cannot forge; only one bit a vector is opened.

A norm modulo 2^64 alone proves nothing: one entry 65536.0 on a grid of 2^16 is 2^32, whose square is 0. So besides
||u||^2 <= B^2 the committee checks 40 projections |<s, u>| <= 6.5 B, with s ternary (0 with probability 1/2, ±1
with 1/4 each) from a seed that is fixed after u was submitted.

Complete: <s, u> is sub-Gaussian with variance ||u||^2/2, so an honest vector fails with at most
40 * 2 exp(-6.5^2) < 2^-54.
Sound: what is accepted has ||u|| <= B, but for a chance of 2^-40:
* Some entry beyond 13 B (modulo 2^64, centred): whatever the other terms are, at most two of the equally weighted
  quarters 0, 0, +u_i, -u_i lead into an interval of that width, so each projection passes with at most 1/2.
* All entries within 13 B: then no projection wraps (d * 13 B < 2^63). If ||u|| > 64 B, Berry-Esseen with the
  constant 0.56 (Shevtsova 2010) gives at most 13/(64 sqrt(pi)) + 2 * 0.56 sqrt(2) * 13/64 < 0.44 for each.
* Otherwise ||u|| <= 64 B <= 2^31, so ||u||^2 does not wrap and the norm is what it says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consilium_errors import Misuse
from crypto.mpc.prg import U64, Stream, room
from crypto.mpc.seam import Engine
from crypto.mpc.sharing import CHUNK, Held, add_own, chunks
from crypto.mpc.words import MAX_LENGTH

PROJECTIONS: Final = 40
SLACK: Final = 6.5
MAX_BOUND: Final = 1 << 25
_BYTES: Final = PROJECTIONS // 4  # two bits an entry of s
# The first bit says whether there is an entry, the second its sign: four entries to a byte.
_TERNARY: Final = np.array(
    [[(0.0, 1.0, 0.0, -1.0)[byte >> shift & 3] for shift in (0, 2, 4, 6)] for byte in range(256)]
)


@dataclass(frozen=True)
class Scan:
    """This member's additive shares of norms (H,), projections (H, 40), and the sum of all vectors (d,)."""

    norms: U64
    projections: U64
    total: U64


def check_bound(bound: int, length: int) -> None:
    """Raises Misuse ``mpc.bound`` where the argument above does not hold."""
    if not 1 <= bound <= MAX_BOUND or not 1 <= length <= MAX_LENGTH:
        raise Misuse(
            "mpc.bound", f"an L2 bound lies in 1..{MAX_BOUND}, a vector has at most {MAX_LENGTH} values"
        )


def projection_rows(stream: Stream, n: int, raw: bytearray, out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entries of s for the next ``n`` coordinates, float64 (n, 40), written into ``out``."""
    stream.into(raw, _BYTES * n)
    entries = np.frombuffer(raw, np.uint8, _BYTES * n).reshape(n, _BYTES)
    rows = out[:n]
    np.take(_TERNARY, entries, axis=0, out=rows, mode="clip")
    return rows.reshape(n, PROJECTIONS)


def scan(held: Sequence[Held], length: int, seed: bytes) -> Scan:
    """One pass over all vectors. No messages: each member holds what its terms of ||u||^2 need.

    Projections run in float64 and are exact: each share is cut into two halves of 32 bits, and a chunk's sum of
    them stays below 2^53.
    """
    import torch

    n_held = len(held)
    norms, total = [0] * n_held, np.zeros(length, np.uint64)
    projections = np.zeros((n_held, PROJECTIONS), np.uint64)
    coin, raw = Stream(seed), room(_BYTES * CHUNK)
    rows, halves = np.empty((CHUNK, _BYTES, 4)), np.empty((2 * n_held, CHUNK))
    streams, scratch = [h.stream(length) for h in held], np.empty(CHUNK, np.uint64)
    for span in chunks(length):
        n = span.stop - span.start
        part, twice = total[span], scratch[:n]
        for h, stream in enumerate(streams):
            own, following = stream.next()
            np.add(part, own, out=part)
            np.add(following, following, out=twice)
            np.add(twice, own, out=twice)
            norms[h] += int(np.dot(own, twice))  # x_j^2 + 2 x_j x_{j+1}; over the members that is (Σ x)^2
            both = own.view(np.uint32).reshape(n, 2)
            halves[2 * h, :n], halves[2 * h + 1, :n] = both[:, 0], both[:, 1]
        signs = projection_rows(coin, n, raw, rows)
        found = torch.from_numpy(halves[:, :n]) @ torch.from_numpy(signs)
        low_high = found.to(torch.int64).numpy().view(np.uint64).reshape(n_held, 2, PROJECTIONS)
        projections += low_high[:, 0] + (low_high[:, 1] << np.uint64(32))
    return Scan(np.array([v % (1 << 64) for v in norms], np.uint64), projections, total)


def too_long(engine: Engine, found: Scan, bound: int) -> U64:
    """Shared bits (H,): whether a vector fails. All 81 conditions of a vector are joined before anything opens."""
    limit = engine.public(math.floor(SLACK * bound))
    norms = engine.public(bound * bound) - found.norms
    conditions = np.concatenate(
        [norms[:, None], limit - found.projections, limit + found.projections], axis=1
    )
    return engine.either(engine.negative(conditions))


def accepted(engine: Engine, found: Scan, bound: int) -> list[bool]:
    """For each vector whether it is within ``bound``; the members learn that and nothing else."""
    return [not failed for failed in engine.open_bits(too_long(engine, found, bound))]


def sum_accepted(found: Scan, held: Sequence[Held], accept: Sequence[bool]) -> U64:
    """Additive share (d,) of the sum of the accepted vectors; the others are taken out of the total."""
    out = [h for h, yes in zip(held, accept, strict=True) if not yes]
    return found.total - add_own(out, found.total.size) if out else found.total


def zero_out(engine: Engine, held: Sequence[Held], failed: U64, length: int) -> U64:
    """Additive share (d,) of Σ (1 - failed_h) u_h, where nobody learns ``failed``, shared bits (H,).

    Whose vector was dropped stays unknown, so no commitment can be checked against the result.
    """
    keep = engine.public(1) - engine.to_arithmetic(failed)
    keep_own, keep_following = engine.replicate(keep)
    keep_both = keep_own + keep_following
    total, scratch = engine.zero(length), np.empty(CHUNK, np.uint64)
    streams = [h.stream(length) for h in held]
    for span in chunks(length):
        part, product = total[span], scratch[: span.stop - span.start]
        for h, stream in enumerate(streams):
            own, following = stream.next()
            np.multiply(own, keep_both[h], out=product)
            np.add(part, product, out=part)
            np.multiply(following, keep_own[h], out=product)
            np.add(part, product, out=part)
    return total
