"""Secret sharing of a self-mask (Shamir 1979, modulo the prime Q), with shares that cannot be altered.

A dealer's secret is the constant term of a random polynomial of degree ``threshold - 1``; holder j (from 1) gets
its value at j, and the path that leads from it to a published Merkle root. So nobody can pass on another share
than was dealt. A dealer whose shares do not give the secret that it promised by hash is found out when they are
put together, and has then only done what it could do by uploading rubbish. Fewer than ``threshold`` shares fit
every secret alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from consilium_errors import Hostile, Misuse
from crypto import merkle
from crypto.commitments import Q

SHARE_BYTES: Final = 32
MAX_PARTIES: Final = 128


class Dealt(NamedTuple):
    """``pieces[j - 1]`` is for holder j: its share (32 bytes) and its path (32 bytes a level)."""

    root: bytes
    pieces: tuple[bytes, ...]


def threshold_for(parties: int, collusion: int) -> int:
    """How many of a dealer's ``parties - 1`` peers it takes: as many as a seal needs, and more than may conspire.

    Raises:
        Misuse: ``sharing.collusion`` where no such number is left.
    """
    needed = max(collusion + 1, parties - max(collusion, 1))
    if not 2 <= needed <= parties - 1 < MAX_PARTIES:
        raise Misuse("sharing.collusion", f"{parties} hospitals cannot bear {collusion} that conspire")
    return needed


def random_secret(random: Callable[[int], bytes]) -> bytes:
    """A uniform secret in 1..Q-1, 32 bytes big-endian."""
    return _bytes(1 + int.from_bytes(random(64), "big") % (Q - 1))


def deal(secret: bytes, parties: int, threshold: int, random: Callable[[int], bytes]) -> Dealt:
    """One piece for each of ``parties``, the dealer's own place among them."""
    coefficients = [_scalar(secret), *(_scalar(random_secret(random)) for _ in range(threshold - 1))]
    shares = []
    for j in range(1, parties + 1):
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * j + coefficient) % Q
        shares.append(_bytes(value))
    pieces = (
        share + b"".join(proof.path) for share, proof in zip(shares, merkle.proofs(shares), strict=True)
    )
    return Dealt(merkle.root(shares), tuple(pieces))


def check_piece(piece: bytes, holder: int, parties: int, root: bytes) -> None:
    """Nothing if ``piece`` is what the dealer of ``root`` made for ``holder``.

    Raises:
        Hostile: ``sharing.scalar``, ``merkle.*``.
    """
    share, path = piece[:SHARE_BYTES], piece[SHARE_BYTES:]
    _scalar(share)
    levels = tuple(path[i : i + 32] for i in range(0, len(path), 32))
    merkle.verify(root, share, merkle.Proof(holder - 1, parties, levels))


def recover(pieces: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret, from checked pieces by holder.

    Raises:
        Hostile: ``sharing.too_few``.
    """
    if len(pieces) < threshold:
        raise Hostile("sharing.too_few", "too few shares to recover the self-mask")
    chosen = sorted(pieces)[:threshold]
    total = 0
    for j in chosen:
        top = bottom = 1
        for other in chosen:
            if other != j:
                top, bottom = top * other % Q, bottom * (other - j) % Q
        total += _scalar(pieces[j][:SHARE_BYTES]) * top * pow(bottom, -1, Q)
    return _bytes(total % Q)


def _bytes(value: int) -> bytes:
    return value.to_bytes(SHARE_BYTES, "big")


def _scalar(share: bytes) -> int:
    value = int.from_bytes(share, "big")
    if len(share) != SHARE_BYTES or value >= Q:
        raise Hostile("sharing.scalar", "not a number of 32 bytes below the field's order")
    return value
