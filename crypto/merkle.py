"""Merkle trees: SHA-256 after RFC 6962 (section 2.1), and the keccak tree of OpenZeppelin's MerkleProof.

Leaves and inner nodes are hashed apart (a prefix here, a double hash there), so no node passes for a leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eth_hash.auto import keccak

from consilium_errors import Hostile, Misuse

_HASH_BYTES = 32


@dataclass(frozen=True)
class Proof:
    """Path from the leaf at ``index`` of ``size`` up to the root: siblings of 32 bytes, lowest first.

    The root does not bind ``size``: who relies on the position must know the size from elsewhere.
    """

    index: int
    size: int
    path: tuple[bytes, ...]


def root(leaves: Sequence[bytes]) -> bytes:
    """Merkle tree hash of ``leaves`` in their order; of none, SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256().digest()
    *_, top = _levels(leaves)
    return top[0]


def proof(leaves: Sequence[bytes], index: int) -> Proof:
    """Proof that ``leaves[index]`` is in `root`. Costs as much as the root.

    Raises:
        Misuse: ``merkle.index``.
    """
    _check_index(index, len(leaves))
    return _proof(list(_levels(leaves)), index)


def proofs(leaves: Sequence[bytes]) -> list[Proof]:
    """`proof` of each leaf, for the price of one."""
    levels = list(_levels(leaves))
    return [_proof(levels, index) for index in range(len(leaves))]


def _proof(levels: list[list[bytes]], index: int) -> Proof:
    path, at = [], index
    for level in levels:
        if at ^ 1 < len(level):
            path.append(level[at ^ 1])
        at >>= 1
    return Proof(index, len(levels[0]), tuple(path))


def verify(expected_root: bytes, leaf: bytes, claim: Proof) -> None:
    """Nothing if ``claim`` leads from ``leaf`` to ``expected_root`` (RFC 9162, section 2.1.3.2).

    Raises:
        Hostile: ``merkle.malformed`` for an impossible shape, ``merkle.mismatch`` for another leaf or root.
    """
    at, last = claim.index, claim.size - 1
    if not 0 <= at <= last or any(len(node) != _HASH_BYTES for node in claim.path):
        raise _malformed()
    node = _leaf(leaf)
    for sibling in claim.path:
        if last == 0:
            raise _malformed()
        if at & 1 or at == last:
            node = _node(sibling, node)
            while not at & 1 and at:  # levels on which this node had no sibling
                at, last = at >> 1, last >> 1
        else:
            node = _node(node, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise _malformed()
    if node != expected_root:
        raise Hostile("merkle.mismatch", "the leaf is not in the tree with this root")


def _levels(leaves: Sequence[bytes]) -> Iterator[list[bytes]]:
    # A node without a sibling moves up as it is, which gives RFC 6962's split at powers of two.
    level = [_leaf(leaf) for leaf in leaves]
    yield level
    while len(level) > 1:
        pairs = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) & ~1 :]
        yield level


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


# OpenZeppelin ----------------------------------------------------------------------------------------


def openzeppelin_leaf(encoded: bytes) -> bytes:
    """keccak256(keccak256(``encoded``)), where ``encoded`` is the leaf's ``abi.encode``."""
    return keccak(keccak(encoded))


def openzeppelin_root(encoded: Sequence[bytes]) -> bytes:
    """Root of the ``StandardMerkleTree`` of @openzeppelin/merkle-tree; the order of leaves does not matter.

    Raises:
        Misuse: ``merkle.empty``.
    """
    return _heap(encoded)[0]


def openzeppelin_proof(encoded: Sequence[bytes], index: int) -> list[bytes]:
    """Siblings from ``encoded[index]`` up, as ``MerkleProof.verify`` takes them.

    Raises:
        Misuse: ``merkle.index``, ``merkle.empty``.
    """
    _check_index(index, len(encoded))
    heap = _heap(encoded)
    at = heap.index(openzeppelin_leaf(encoded[index]), len(encoded) - 1)
    path = []
    while at:
        path.append(heap[at + 1 if at & 1 else at - 1])
        at = (at - 1) // 2
    return path


def _heap(encoded: Sequence[bytes]) -> list[bytes]:
    # Node i has the children 2i+1 and 2i+2; sorted leaves fill the array from its end.
    if not encoded:
        raise Misuse("merkle.empty", "this tree needs at least one leaf")
    leaves = sorted(map(openzeppelin_leaf, encoded))
    heap = [b""] * (len(leaves) - 1) + leaves[::-1]
    for i in reversed(range(len(leaves) - 1)):
        left, right = heap[2 * i + 1], heap[2 * i + 2]
        heap[i] = keccak(left + right if left < right else right + left)
    return heap


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise Misuse("merkle.index", f"no leaf {index} among {size}")


def _malformed() -> Hostile:
    return Hostile("merkle.malformed", "the proof does not have the shape that its index and size demand")
