"""Proof that some fields behind a vector commitment are in range, showing nothing else of it.

When an opened sum is out of range at one place, somebody committed to what is out of range there. Each party then
proves of its own C = Σ s_i·G_i + r·H that the fields of the scalars at that place have at most ``value_bits``,
and the value that they make up is at most ``most``. Were all of these true, the sum would be in range: so at
least one of the parties cannot prove it.

The proof is one Σ-protocol with one challenge, made non-interactive by Fiat and Shamir's hash:

* every bit b of those fields has a commitment B = b·G + t·H, and an OR-proof (Cramer, Damgård, Schoenmakers 1994)
  that B or B - G is a multiple of H. G is G_0 for all of them;
* ``most`` minus the value has bits too, whose commitments add up with the value's to most·G exactly;
* an opening (z, z_r) of C (Schnorr, Okamoto), in which the response of each scalar shown in bits is that of its
  D = Σ 2^k·B too: so D holds the scalar that C holds.

Special sound, so under discrete logarithms whoever proves could open C, with fields in range; perfectly
zero-knowledge for honest verifiers, hence in the random oracle model: it can be shown to anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consilium_errors import Hostile, Misuse

from . import scalars
from .curve import POINT_BYTES, Q
from .pedersen import Pedersen

_WIDE: Final = 250  # bits: a sum of two such numbers does not reach Q
_DOMAIN: Final = b"consilium/1\0range"
_BIT_BYTES: Final = POINT_BYTES + 3 * scalars.BYTES


@dataclass(frozen=True)
class Range:
    """What is to be proven of one's commitment.

    Args:
        rows: scalars whose fields have at most ``value_bits``, ascending.
        limbs: fields in ``rows``, lowest first, that make up a value Σ 2^(value_bits·k)·field_k …
        most: … of at most this. Without limbs nothing more is said.
    """

    rows: tuple[int, ...]
    value_bits: int
    limbs: tuple[int, ...] = ()
    most: int = 0

    def check(self, pedersen: Pedersen) -> None:
        """Raises Misuse ``range.statement``."""
        ok = self.rows and all(0 <= row < pedersen.rows for row in self.rows)
        ok = ok and tuple(sorted(set(self.rows))) == self.rows and 1 <= self.value_bits <= pedersen.slot_bits
        ok = ok and len(set(self.limbs)) == len(self.limbs)
        ok = ok and all(0 <= f < pedersen.length and f // pedersen.slots in self.rows for f in self.limbs)
        ok = ok and self.value_bits * len(self.limbs) <= _WIDE and 0 <= self.most < 1 << _WIDE
        if not ok:
            raise Misuse("range.statement", "no range of this commitment's fields")

    def to_bytes(self) -> bytes:
        lists = (self.rows, self.limbs, (self.value_bits, self.most))
        return b"".join(_part(b"".join(n.to_bytes(32, "big") for n in one)) for one in lists)


class _Place(NamedTuple):
    """Of one bit: its scalar, its field, its weight in the scalar and in the value."""

    row: int
    field: int
    shift: int
    weight: int
    in_value: int


def _places(pedersen: Pedersen, what: Range) -> list[_Place]:
    found = []
    for row in what.rows:
        for j in range(min(pedersen.slots, pedersen.length - row * pedersen.slots)):
            field = row * pedersen.slots + j
            limb = what.limbs.index(field) if field in what.limbs else None
            for k in range(what.value_bits):
                value = 0 if limb is None else 1 << (what.value_bits * limb + k)
                found.append(_Place(row, field, k, 1 << (pedersen.slot_bits * j + k), value))
    return found


def _rest_bits(what: Range) -> int:
    """Bits of ``most`` minus the value."""
    return max(1, what.most.bit_length()) if what.limbs else 0


def proof_bytes(pedersen: Pedersen, what: Range) -> int:
    bits = len(_places(pedersen, what)) + _rest_bits(what)
    return scalars.BYTES * (2 + len(what.rows) + pedersen.rows) + _BIT_BYTES * bits


class _Bit(NamedTuple):
    point: bytes
    challenge: int  # of "it is 0"; the other is what is missing to the whole
    zero: int
    one: int

    def to_bytes(self) -> bytes:
        return self.point + b"".join(n.to_bytes(32, "big") for n in self[1:])


class _Proof(NamedTuple):
    challenge: int
    blind: int  # z_r
    links: list[int]  # of the randomness of each D
    bits: list[_Bit]
    values: list[int]  # z

    def to_bytes(self) -> bytes:
        head = b"".join(n.to_bytes(32, "big") for n in (self.challenge, self.blind, *self.links))
        return head + b"".join(bit.to_bytes() for bit in self.bits) + scalars.from_ints(self.values).tobytes()


def _read(pedersen: Pedersen, what: Range, data: bytes) -> _Proof:
    if len(data) != proof_bytes(pedersen, what):
        raise Hostile("range.length", "a proof of another statement")
    at = 0

    def number() -> int:
        nonlocal at
        at += 32
        if (value := int.from_bytes(data[at - 32 : at], "big")) >= Q:
            raise Hostile("scalars.range", "a number is not below the group's order")
        return value

    head = [number() for _ in range(2 + len(what.rows))]
    bits = []
    for _ in range(len(_places(pedersen, what)) + _rest_bits(what)):
        point = data[at : at + POINT_BYTES]
        at += POINT_BYTES
        bits.append(_Bit(point, number(), number(), number()))
    values = scalars.to_ints(scalars.from_bytes(data[at:], pedersen.rows))
    return _Proof(head[0], head[1], head[2:], bits, values)


class _Group:
    """G, H and what the proofs do with them."""

    def __init__(self, pedersen: Pedersen) -> None:
        self.g, self.h, self.add = pedersen.base, pedersen.blinder, pedersen.curve.weighted

    def commit(self, value: int, blind: int) -> bytes:
        return self.add([self.g, self.h], [value % Q, blind % Q])

    def zero(self, point: bytes, challenge: int, answer: int) -> bytes:
        """First word of a proof that ``point`` is a multiple of H."""
        return self.add([self.h, point], [answer, -challenge % Q])

    def one(self, point: bytes, challenge: int, answer: int) -> bytes:
        """Likewise for ``point`` - G."""
        return self.add([self.h, point, self.g], [answer, -challenge % Q, challenge])


def prove(
    pedersen: Pedersen,
    what: Range,
    context: bytes,
    opening: tuple[NDArray[np.uint64], int],
    random: Callable[[int], bytes],
) -> bytes:
    """The proof for one's own commitment, opened by fields uint64 (length,) and randomness.

    Args:
        context: whatever the proof is bound to: who proves, and in what matter.

    Raises:
        Misuse: ``range.statement``, ``range.false`` where the fields are not in range.
    """
    what.check(pedersen)
    u, r = opening
    group, places, s = _Group(pedersen), _places(pedersen, what), scalars.to_ints(pedersen.scalars(u))
    value = sum(int(u[f]) << (what.value_bits * k) for k, f in enumerate(what.limbs))
    if any(int(u[p.field]) >> what.value_bits for p in places) or (what.limbs and value > what.most):
        raise Misuse("range.false", "the committed fields are not in range")
    bits = [int(u[p.field]) >> p.shift & 1 for p in places]
    rest = [(what.most - value) >> k & 1 for k in range(_rest_bits(what))]
    draws = iter(
        scalars.to_ints(scalars.uniform(random(32), 4 * len(bits + rest) + len(s) + len(what.rows) + 1))
    )
    blinds = [next(draws) for _ in bits + rest]
    if rest:  # so that value and rest add up to most·G, with nothing of H
        of_value = sum(p.in_value * t for p, t in zip(places, blinds, strict=False))
        of_rest = sum(t << k for k, t in enumerate(blinds[len(bits) :]) if k)
        blinds[len(bits)] = -(of_value + of_rest) % Q
    links = [
        sum(p.weight * t for p, t in zip(places, blinds, strict=False) if p.row == row) % Q
        for row in what.rows
    ]
    points = [group.commit(b, t) for b, t in zip(bits + rest, blinds, strict=True)]
    firsts, kept = [], []
    for b, point in zip(bits + rest, points, strict=True):
        nonce, other, answer = next(draws), next(draws), next(draws)
        real = group.add([group.h], [nonce])
        if b:
            firsts += [group.zero(point, other, answer), real]
        else:
            firsts += [real, group.one(point, other, answer)]
        kept.append((b, nonce, other, answer))
    nonces, nonce_r = [next(draws) for _ in s], next(draws)
    nonce_links = [next(draws) for _ in what.rows]
    firsts.append(pedersen.commit_scalars(scalars.from_ints(nonces), nonce_r))
    firsts += [group.commit(nonces[row], t) for row, t in zip(what.rows, nonce_links, strict=True)]
    commitment = pedersen.commit_scalars(pedersen.scalars(u), r)
    c = _challenge(what, context, commitment, points, firsts)
    shown = [_answer(c, *one, t, point) for one, t, point in zip(kept, blinds, points, strict=True)]
    return _Proof(
        c,
        (nonce_r + c * r) % Q,
        [(a + c * t) % Q for a, t in zip(nonce_links, links, strict=True)],
        shown,
        [(a + c * x) % Q for a, x in zip(nonces, s, strict=True)],
    ).to_bytes()


def _answer(c: int, bit: int, nonce: int, other: int, answer: int, blind: int, point: bytes) -> _Bit:
    real = (c - other) % Q
    mine = (nonce + real * blind) % Q
    return _Bit(point, other, answer, mine) if bit else _Bit(point, real, mine, answer)


def verify(pedersen: Pedersen, what: Range, context: bytes, commitment: bytes, proof: bytes) -> None:
    """Nothing if whoever made ``proof`` could open ``commitment`` with fields in range.

    Raises:
        Hostile: ``range.length``, ``range.sum``, ``range.proof``, ``scalars.range``, ``commitment.point``.
        Misuse: ``range.statement``.
    """
    what.check(pedersen)
    group, places, its = _Group(pedersen), _places(pedersen, what), _read(pedersen, what, proof)
    c, points = its.challenge, [bit.point for bit in its.bits]
    if rest := points[len(places) :]:
        weights = [p.in_value for p in places] + [1 << k for k in range(len(rest))]
        if group.add(points, weights) != group.commit(what.most, 0):
            raise Hostile("range.sum", "the bits do not add up to the bound")
    firsts = []
    for bit in its.bits:
        firsts.append(group.zero(bit.point, bit.challenge, bit.zero))
        firsts.append(group.one(bit.point, (c - bit.challenge) % Q, bit.one))
    own = pedersen.commit_scalars(scalars.from_ints(its.values), its.blind)
    firsts.append(pedersen.curve.weighted([own, commitment], [1, -c % Q]))
    for row, link in zip(what.rows, its.links, strict=True):
        here = [(point, p.weight) for point, p in zip(points, places, strict=False) if p.row == row]
        held = group.add([point for point, _ in here], [weight for _, weight in here])
        firsts.append(group.add([group.g, group.h, held], [its.values[row], link, -c % Q]))
    if c != _challenge(what, context, commitment, points, firsts):
        raise Hostile("range.proof", "the proof does not hold")


def _challenge(
    what: Range, context: bytes, commitment: bytes, points: Sequence[bytes], firsts: Sequence[bytes]
) -> int:
    parts: Iterator[bytes] = iter((context, what.to_bytes(), commitment, b"".join(points), b"".join(firsts)))
    digest = hashlib.sha512(_DOMAIN + b"".join(map(_part, parts))).digest()
    return int.from_bytes(digest, "big") % Q


def _part(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data
