"""Writes ``tests/vectors/crypto_*.json``, from which a second implementation could be checked. Run by hand:

python -m tests.vectors.make_crypto

Everything is deterministic but HPKE's ciphertext: a new run writes another that opens to the same.
"""

import json
import tempfile
from hashlib import shake_256
from pathlib import Path
from typing import Any

import numpy as np

from crypto import envelopes, identity, kdf, merkle
from crypto.commitments import Generators, Pedersen, Q

FOLDER = Path(__file__).parent


def stream(name: str, size: int) -> bytes:
    """Bytes that look random and are the same on every run."""
    return shake_256(f"consilium test vector {name}".encode()).digest(size)


def kdf_vectors() -> list[dict[str, Any]]:
    cases = [
        ("bfv", [stream("g", 32)], 32),
        ("unlock", [stream("g", 32), b"", b"\1"], 32),
        ("mask", [b"ab"], 64),
    ]
    return [
        {
            "label": label,
            "parts": [part.hex() for part in parts],
            "length": length,
            "key": kdf.derive(label, *parts, length=length).hex(),
        }
        for label, parts, length in cases
    ]


def signature_vectors() -> list[dict[str, str]]:
    rows = []
    for i in range(4):
        key, digest = identity.AgentKey.from_bytes(stream(f"agent {i}", 32)), stream(f"digest {i}", 32)
        rows.append(
            {
                "secret": key.secret.hex(),
                "address": key.address.hex(),
                "digest": digest.hex(),
                "signature": key.sign(digest).hex(),
            }
        )
    return rows


def envelope_vectors() -> dict[str, dict[str, str]]:
    secret, info, plaintext = stream("hpke", 32), b"context|from|to", stream("plaintext", 64)
    key, aad = stream("once", 32), b"lock id"
    public = envelopes.public_of(secret)
    return {
        "hpke": {
            "secret": secret.hex(),
            "public": public.hex(),
            "info": info.hex(),
            "plaintext": plaintext.hex(),
            "sealed": envelopes.seal(public, info, plaintext).hex(),
        },
        "once": {
            "key": key.hex(),
            "aad": aad.hex(),
            "plaintext": plaintext.hex(),
            "sealed": envelopes.seal_once(key, aad, plaintext).hex(),
        },
    }


def merkle_vectors() -> list[dict[str, Any]]:
    rows = []
    for size in (1, 2, 3, 7, 8):
        leaves, index = [stream(f"leaf {i}", 8 + i) for i in range(size)], size // 2
        rows.append(
            {
                "leaves": [leaf.hex() for leaf in leaves],
                "root": merkle.root(leaves).hex(),
                "index": index,
                "path": [node.hex() for node in merkle.proof(leaves, index).path],
                "openzeppelin_root": merkle.openzeppelin_root(leaves).hex(),
                "openzeppelin_path": [node.hex() for node in merkle.openzeppelin_proof(leaves, index)],
            }
        )
    return rows


def commitment_vectors() -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        generators = Generators.load(1, Path(folder))
    for bits, length in ((22, 1), (22, 11), (22, 25), (44, 5), (44, 12)):
        pedersen = Pedersen(length, bits, generators)
        u = np.frombuffer(stream(f"u {bits} {length}", 8 * length), "<u8") >> np.uint64(64 - bits)
        r = int.from_bytes(stream(f"r {bits} {length}", 64), "big") % Q
        rows.append(
            {
                "slot_bits": bits,
                "u": u.tolist(),
                "r": f"{r:064x}",
                "commitment": pedersen.commit(u.astype(np.uint64), r).hex(),
            }
        )
    return rows


def main() -> None:
    for name, make in {
        "kdf": kdf_vectors,
        "signatures": signature_vectors,
        "envelopes": envelope_vectors,
        "merkle": merkle_vectors,
        "commitments": commitment_vectors,
    }.items():
        (FOLDER / f"crypto_{name}.json").write_text(json.dumps(make(), indent=1) + "\n")


if __name__ == "__main__":
    main()
