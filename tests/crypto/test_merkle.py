import hashlib
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from consilium_errors import Hostile, Misuse
from crypto import merkle
from crypto.merkle import Proof


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def rfc6962(leaves):
    """Section 2.1, as it is written there."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return sha(b"\0" + leaves[0])
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha(b"\1" + rfc6962(leaves[:k]) + rfc6962(leaves[k:]))


def openzeppelin_process(encoded, path):
    """MerkleProof.processProof over a double-hashed leaf."""
    node = keccak(keccak(encoded))
    for sibling in path:
        node = keccak(min(node, sibling) + max(node, sibling))
    return node


def leaves_of(size):
    return [b"leaf %d" % i for i in range(size)]


def refused(*args):
    with pytest.raises(Hostile) as error:
        merkle.verify(*args)
    return error.value.code


def test_vectors(vectors):
    for case in vectors("merkle"):
        leaves = [bytes.fromhex(leaf) for leaf in case["leaves"]]
        assert merkle.root(leaves).hex() == case["root"]
        assert [n.hex() for n in merkle.proof(leaves, case["index"]).path] == case["path"]
        assert merkle.openzeppelin_root(leaves).hex() == case["openzeppelin_root"]
        assert [n.hex() for n in merkle.openzeppelin_proof(leaves, case["index"])] == case[
            "openzeppelin_path"
        ]


def test_certificate_transparency_tree():
    """The eight-leaf tree of the Certificate Transparency test data."""
    text = "|00|10|2021|3031|40414243|5051525354555657|606162636465666768696a6b6c6d6e6f"
    root = merkle.root([bytes.fromhex(leaf) for leaf in text.split("|")])
    assert root.hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("size", range(1, 36))
def test_agrees_with_the_rfc_and_every_proof_verifies(size):
    leaves = leaves_of(size)
    root = merkle.root(leaves)
    assert root == rfc6962(leaves)
    for i, leaf in enumerate(leaves):
        merkle.verify(root, leaf, merkle.proof(leaves, i))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 100])
def test_proofs_of_all_leaves_at_once(size):
    leaves = leaves_of(size)
    assert merkle.proofs(leaves) == [merkle.proof(leaves, i) for i in range(size)]


def test_empty_tree():
    assert merkle.root([]) == rfc6962([])


@given(st.integers(1, 40), st.data())
def test_altered_proofs(size, data):
    leaves = leaves_of(size)
    index = data.draw(st.integers(0, size - 1))
    root, good = merkle.root(leaves), merkle.proof(leaves, index)
    path = list(good.path)
    codes = {"merkle.mismatch", "merkle.malformed"}
    assert refused(root, b"another", good) == "merkle.mismatch"
    assert refused(sha(b""), leaves[index], good) == "merkle.mismatch"
    assert refused(root, leaves[index], replace(good, path=(*path, bytes(32)))) in codes
    if path:
        k = data.draw(st.integers(0, len(path) - 1))
        flipped = bytes([path[k][0] ^ 1]) + path[k][1:]
        assert refused(root, leaves[index], replace(good, path=(*path[:k], flipped, *path[k + 1 :]))) in codes
        assert refused(root, leaves[index], replace(good, path=(*path[:k], *path[k + 1 :]))) in codes
        assert refused(root, leaves[index], replace(good, index=index ^ 1)) in codes


@given(
    st.integers(-3, 2**70),
    st.integers(-3, 2**70),
    st.lists(st.binary(min_size=31, max_size=33) | st.just(bytes(32)), max_size=70),
)
def test_foreign_proofs_never_crash(index, size, path):
    assert refused(bytes(32), b"leaf", Proof(index, size, tuple(path))).startswith("merkle.")


def test_the_shape_must_fit_the_claimed_size():
    first, second = leaves_of(2)
    root, sibling = merkle.root([first, second]), sha(b"\0" + first)
    merkle.verify(root, second, Proof(1, 2, (sibling,)))
    assert refused(root, second, Proof(0, 1, (sibling,))) == "merkle.malformed"  # too long
    assert refused(merkle.root([first]), first, Proof(0, 5, ())) == "merkle.malformed"  # too short
    assert refused(root, second, Proof(1, 2, (sibling[:31],))) == "merkle.malformed"
    assert refused(root, second, Proof(2, 2, (sibling,))) == "merkle.malformed"


def test_an_inner_node_is_no_leaf():
    """The second-preimage attack that trees without domain separation fall to."""
    leaves = leaves_of(4)
    hashes = [sha(b"\0" + leaf) for leaf in leaves]
    inner, sibling = hashes[0] + hashes[1], sha(b"\1" + hashes[2] + hashes[3])
    assert sha(b"\1" + sha(b"\1" + inner) + sibling) == merkle.root(leaves)  # the path is real
    assert refused(merkle.root(leaves), inner, Proof(0, 2, (sibling,))) == "merkle.mismatch"


def test_openzeppelin_readme_tree():
    """Values and root from the README of @openzeppelin/merkle-tree."""
    rows = [("0x" + "11" * 20, 5 * 10**18), ("0x" + "22" * 20, 25 * 10**17)]
    encoded = [encode(["address", "uint256"], row) for row in rows]
    root = "d4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77"
    assert merkle.openzeppelin_root(encoded).hex() == root
    assert merkle.openzeppelin_root(encoded[::-1]).hex() == root


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13, 33])
def test_openzeppelin_proofs(size):
    leaves = leaves_of(size)
    root = merkle.openzeppelin_root(leaves)
    for i, leaf in enumerate(leaves):
        path = merkle.openzeppelin_proof(leaves, i)
        assert openzeppelin_process(leaf, path) == root
        assert openzeppelin_process(leaf + b"x", path) != root
        if path:
            assert openzeppelin_process(leaf, path[:-1]) != root


def test_misuse():
    for call in (merkle.proof, merkle.openzeppelin_proof):
        for index in (-1, 3):
            with pytest.raises(Misuse) as error:
                call(leaves_of(3), index)
            assert error.value.code == "merkle.index"
    with pytest.raises(Misuse) as error:
        merkle.openzeppelin_root([])
    assert error.value.code == "merkle.empty"
