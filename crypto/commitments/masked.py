"""An opening of a commitment under masks that cancel in the sum: checked alone, it opens only with all others.

Where the sum of the ciphers is garbled, the parties open their commitments C_i = Com(s_i; r_i) once more, each
under masks modulo Q, which is what the commitments' own arithmetic is modulo:

    w_i = s_i + Σ± M_ij,   ω_i = r_i + Σ± μ_ij,   P_ij = Com(M_ij; μ_ij)

M and μ are uniform, from a key that i and j share; the lower party adds. Then Com(w_i; ω_i) = C_i + Σ± P_ij is
checked of each party by its own words alone, P_ij = P_ji of each pair, and Σ w_i = Σ s_i.

**Hiding**, perfect for uniform masks. Let a coalition know all masks of its own pairs, and let (s, r), (s', r') be
two openings of the same C_i, i outside of it, with the same sums. Their differences d_i commit to 0 and add up to
0, so they can be written as Σ± e_ij over pairs outside of the coalition with every Com(e_ij) = 0. Adding e_ij to
those masks maps one opening to the other and leaves all that is shown, P_ij included, as it is. So what is shown
depends on C_i and the sum over those outside, which any opening of the sum shows. At least two must be outside.

**Soundness**, under discrete logarithms: if all checks hold, (Σ w_i, Σ ω_i) opens Σ C_i, and there is only one.
Whoever follows the protocol passes its own check whatever the others send. Where two points of a pair differ, one
of the two lied; which one, their key would tell, and it is not shown: it would open one more mask of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consilium_errors import Hostile

from . import scalars
from .curve import POINT_BYTES, Q, Scalars
from .pedersen import Pedersen


@dataclass(frozen=True, eq=False)
class MaskedOpening:
    """``values`` w (rows, 32); ``blind`` ω; ``points`` P of each peer, in the order of the peers."""

    values: Scalars
    blind: int
    points: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """ω (32 bytes, big endian) | the points | w (32 bytes each, little endian)."""
        return self.blind.to_bytes(scalars.BYTES, "big") + b"".join(self.points) + self.values.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, rows: int, peers: int) -> MaskedOpening:
        """As it was sent; the points are not looked at yet.

        Raises:
            Hostile: ``masked.length``, ``scalars.range``.
        """
        if len(data) != size(rows, peers):
            raise Hostile(
                "masked.length", f"{len(data)} bytes are no opening of {rows} scalars for {peers} peers"
            )
        blind = int.from_bytes(data[: scalars.BYTES], "big")
        if blind >= Q:
            raise Hostile("scalars.range", "the randomness is not below the group's order")
        start = scalars.BYTES + POINT_BYTES * peers
        points = (data[i : i + POINT_BYTES] for i in range(scalars.BYTES, start, POINT_BYTES))
        return cls(scalars.from_bytes(data[start:], rows), blind, tuple(points))


def size(rows: int, peers: int) -> int:
    """Bytes of an opening of ``rows`` scalars."""
    return scalars.BYTES * (1 + rows) + POINT_BYTES * peers


def mask(pedersen: Pedersen, values: Scalars, r: int, pairs: Sequence[tuple[bytes, bool]]) -> MaskedOpening:
    """The opening (``values``, ``r``) under the masks of every pair.

    Args:
        pairs: for each peer, in order: the key of 32 bytes shared with it for this alone, and whether to add.
    """
    points = []
    for key, adds in pairs:
        drawn = scalars.uniform(key, pedersen.rows + 1)
        over, blind = drawn[:-1], scalars.to_int(drawn[-1])
        points.append(pedersen.commit_scalars(over, blind))
        values = scalars.add(values, over) if adds else scalars.subtract(values, over)
        r += blind if adds else -blind
    return MaskedOpening(values, r % Q, tuple(points))


def verify(pedersen: Pedersen, opening: MaskedOpening, commitment: bytes, adds: Sequence[bool]) -> None:
    """Nothing if the opening is one of ``commitment`` under its own points.

    Args:
        adds: for each peer, whether this party adds their mask.

    Raises:
        Hostile: ``commitment.point`` for a point that is none, ``commitment.mismatch``.
    """
    signed = list(zip(opening.points, adds, strict=True))
    own = pedersen.commit_scalars(opening.values, opening.blind)
    left = pedersen.curve.add([own, *(point for point, plus in signed if not plus)])
    right = pedersen.curve.add([commitment, *(point for point, plus in signed if plus)])
    if left != right:
        raise Hostile("commitment.mismatch", "not an opening of what was committed to")


def total(openings: Sequence[MaskedOpening]) -> tuple[Scalars, int]:
    """Σ w and Σ ω: of all parties, the masks are gone."""
    values = openings[0].values
    for opening in openings[1:]:
        values = scalars.add(values, opening.values)
    return values, sum(opening.blind for opening in openings) % Q
