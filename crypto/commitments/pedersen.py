"""Packed Pedersen vector commitments (Pedersen 1991) on BLS12-381 G1.

Com(u; r) = Σ s_i·G_i + r·H, where the scalar s_i holds the next 11 fields of 22 bits, or 5 of 44, lowest
first. It hides u perfectly, binds under discrete logarithms, and adds: Σ Com(u_i; r_i) = Com(Σ u_i; Σ r_i) as
long as no field of the sum outgrows its slot, which the guard bits of `crypto.secure_sum` see to.

**What the check of a sum proves.** The sum that came out of the ciphers is the sum of what was committed to
before the plan, and no other. It does not prove that a poster can open its own C_i: sums are opened, single
commitments are not.

**The cancelling commitment.** Who posts last can post Com(y; s) - C_1, and algebra alone would take (y; s) as
an opening of the sum. Here that gains nothing. X is what was decrypted, and R the sum of the ρ_i that each
hospital sends with its upload, so the check asks for u_1 + u_2 = y and r_1 + ρ_2 = s, with u_2 and ρ_2 fixed
by a signed receipt before anything of hospital 1 is opened: the poster would have to know u_1 and r_1. What
is left to it is to make the check fail; a dispute then asks for an opening under masks (`masked`), which it
cannot give without contradicting a peer. Two who collude can shift a common term between their commitments;
no sum moves, and where a proof of range is asked for (`ranges`) neither can give one. A copied C_1 is a special
case, and refused at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from consilium_errors import Hostile, Misuse

from . import scalars as numbers
from .curve import LIMBS, Curve, Q, Scalars, curve
from .generators import Generators

SlotBits = Literal[22, 44]
#: Fields per scalar: as many as fit below the group order of 255 bits.
SLOTS: Final[dict[int, int]] = {22: 11, 44: 5}


def random_scalar() -> int:
    """Fresh randomness r in 1..Q-1 for one commitment."""
    return 1 + secrets.randbelow(Q - 1)


def generators_needed(length: int, slot_bits: SlotBits) -> int:
    """How many points of `Generators` a vector takes.

    Raises:
        Misuse: ``commitment.slot_bits``, ``commitment.length``.
    """
    if slot_bits not in SLOTS:
        raise Misuse("commitment.slot_bits", f"slots have {sorted(SLOTS)} bits, not {slot_bits}")
    if length < 1:
        raise Misuse("commitment.length", f"a vector has at least one field, not {length}")
    return -(-length // SLOTS[slot_bits])


def check_points(commitments: Sequence[bytes], *, using: Curve | None = None) -> None:
    """Refuse commitments that no honest set holds; worth doing before the lock, which cannot be refunded.

    Raises:
        Hostile: ``commitment.point`` unless each is the one encoding of a point of G1 other than 0,
            ``commitment.duplicate`` if two are equal (randomness is fresh, so one was copied).
    """
    _add(using or curve(), commitments)


class Pedersen:
    """Commitments to vectors of ``length`` fields below 2**slot_bits. Safe to share between threads.

    Args:
        generators: at least `generators_needed`.

    Raises:
        Misuse: ``commitment.slot_bits``, ``commitment.length``, ``commitment.generators``.
    """

    def __init__(
        self, length: int, slot_bits: SlotBits, generators: Generators, *, using: Curve | None = None
    ) -> None:
        needed = generators_needed(length, slot_bits)
        if (
            generators.points.ndim != 2
            or generators.points.shape[1] != LIMBS
            or len(generators.points) < needed
        ):
            raise Misuse(
                "commitment.generators",
                f"{needed} generators are needed, {len(generators.points)} are loaded",
                f"Generators.load({needed})",
            )
        self.length, self.slot_bits = length, slot_bits
        self.slots, self.rows = SLOTS[slot_bits], needed
        self.curve = using or curve()
        self._basis = self.curve.basis(generators.points[:needed], generators.blinder)
        self._bits = self.slots * slot_bits
        #: G_0 and H, compressed.
        self.base, self.blinder = self.curve.compressed(
            np.concatenate([generators.points[:1], generators.blinder])
        )

    def commit(self, u: NDArray[np.uint64], r: int) -> bytes:
        """Compressed commitment (48 bytes) to ``u``, uint64 (length,), under ``r`` from `random_scalar`.

        Raises:
            Misuse: ``commitment.shape``, ``commitment.out_of_range`` for a field of 2**slot_bits or more,
                ``commitment.randomness`` unless 0 < r < Q.
        """
        self._check_shape(u)
        if int(u.max()) >> self.slot_bits:
            raise Misuse("commitment.out_of_range", f"a field does not fit {self.slot_bits} bits")
        if not 0 < r < Q:
            raise Misuse("commitment.randomness", "randomness lies in 1..Q-1")
        return self._basis.combine(self._pack(u), self._bits, r)

    def verify_sum(self, X: NDArray[np.uint64], R: int, commitments: Sequence[bytes]) -> None:
        """Nothing if ``commitments`` add up to the commitment to ``X``, uint64 (length,), under ``R`` mod Q.

        Raises:
            Hostile: ``commitment.point``, ``commitment.duplicate`` as `check_points`;
                ``commitment.out_of_range`` if a total does not fit its slot and would carry into the next;
                ``commitment.mismatch``.
            Misuse: ``commitment.shape``, ``commitment.randomness`` unless 0 <= R < Q, ``commitment.none``.
        """
        self._check_shape(X)
        if not 0 <= R < Q:
            raise Misuse("commitment.randomness", "the sum of randomness is taken modulo Q")
        if not commitments:
            raise Misuse("commitment.none", "there is nothing to verify")
        total = _add(self.curve, commitments)
        if int(X.max()) >> self.slot_bits:
            raise Hostile("commitment.out_of_range", f"a total does not fit {self.slot_bits} bits")
        if total != self._basis.combine(self._pack(X), self._bits, R):
            raise Hostile("commitment.mismatch", "the opened sum is not the sum of the committed inputs")

    # full-width scalars -----------------------------------------------------------------------------------

    def commit_scalars(self, values: Scalars, r: int) -> bytes:
        """Σ values_i·G_i + r·H for ``values`` uint8 (rows, 32) and ``r`` in 0..Q-1; may be the neutral element."""
        return self._basis.combine(values, numbers.BITS, r)

    def scalars(self, u: NDArray[np.uint64]) -> Scalars:
        """What `commit` commits ``u`` by: uint8 (rows, 32).

        Raises:
            Misuse: ``commitment.shape``.
        """
        self._check_shape(u)
        packed = self._pack(u)
        return np.pad(packed, ((0, 0), (0, numbers.BYTES - packed.shape[1])))

    def fields(self, values: Scalars) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Inverse of `scalars`: the fields, uint64 (length,), and which scalars hold more than their fields."""
        words = np.ascontiguousarray(values).view("<u8")
        out = np.empty((self.rows, self.slots), np.uint64)
        mask = np.uint64((1 << self.slot_bits) - 1)
        for j in range(self.slots):
            word, shift = divmod(j * self.slot_bits, 64)
            out[:, j] = words[:, word] >> np.uint64(shift)
            if shift + self.slot_bits > 64:
                out[:, j] |= words[:, word + 1] << np.uint64(64 - shift)
        out &= mask
        beyond = words[:, self._bits // 64] >> np.uint64(self._bits % 64) != 0
        unused = out.reshape(-1)[self.length :]
        beyond[-1] |= bool(unused.any())
        return out.reshape(-1)[: self.length].copy(), beyond

    def _check_shape(self, u: NDArray[Any]) -> None:
        if not isinstance(u, np.ndarray) or u.dtype != np.uint64 or u.shape != (self.length,):
            raise Misuse("commitment.shape", f"expected uint64 of shape ({self.length},)")

    def _pack(self, u: NDArray[np.uint64]) -> Scalars:
        slots, rows = self.slots, self.rows
        fields = np.zeros((rows, slots), np.uint64)
        fields.reshape(-1)[: self.length] = u
        words = np.zeros((rows, 4), "<u8")
        for j in range(slots):
            word, shift = divmod(j * self.slot_bits, 64)
            words[:, word] |= fields[:, j] << np.uint64(shift)
            if shift + self.slot_bits > 64:
                words[:, word + 1] |= fields[:, j] >> np.uint64(64 - shift)
        return np.ascontiguousarray(words.view(np.uint8)[:, : (self._bits + 7) // 8])


def _add(using: Curve, commitments: Sequence[bytes]) -> bytes:
    total = using.add(commitments)
    if len(set(commitments)) != len(commitments):
        raise Hostile("commitment.duplicate", "two hospitals posted the same commitment")
    return total
