"""Feeds mutated uploads and totals to the native part. Run apart: ``python mutate.py COUNT SEED``.

What must be accepted is decided by a plain reading of the wire format, written here anew. Ends with 0 if
every mutant was accepted or refused as that says, and prints how many of each.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np

from consilium_errors import Hostile
from crypto.secure_sum import bfv

N, Q = 4096, 72057594037641217
CODES = {f"ciphertext.{x}" for x in ("length", "coefficient", "prng", "transparent")}


def words(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 7], "little") for i in range(0, len(data), 7)]


def good_upload(data: bytes, m: int) -> bool:
    blocks = (m + N - 1) // N
    if len(data) != 7 * m + 65 * blocks:
        return False
    kinds = data[7 * m :: 65]
    return kinds == b"\1" * blocks and max(words(data[: 7 * m])) < Q


def good_total(data: bytes, m: int) -> bool:
    blocks = (m + N - 1) // N
    if len(data) != 7 * m + 7 * N * blocks:
        return False
    c1 = [data[7 * (m + N * b) :][: 7 * N] for b in range(blocks)]
    return max(words(data)) < Q and all(any(block) for block in c1)


def mutate(rng: random.Random, data: bytes, other: bytes, m: int) -> bytes:
    """One change: a bit, a byte, a coefficient, a boundary, the length, or a splice with another message."""
    out = bytearray(data)
    at = rng.randrange(len(out))
    edges = [0, 7 * m - 7, 7 * m - 1, 7 * m, 7 * m + 1, 7 * m + 64, 7 * m + 65, len(out) - 7, len(out) - 1]
    edge = min(max(rng.choice(edges), 0), len(out) - 1)
    size = rng.randrange(1, 200)
    word = rng.choice([Q - 1, Q, Q + 1, 2**56 - 1, 0, rng.getrandbits(56)]).to_bytes(7, "little")
    coefficient = 7 * rng.choice([0, m - 1, rng.randrange(m), rng.randrange(len(out) // 7)])

    def put(start: int, what: bytes) -> None:
        out[start : start + len(what)] = what

    choices: list[Callable[[], object]] = [
        lambda: put(at, bytes([out[at] ^ 1 << rng.randrange(8)])),
        lambda: put(edge, bytes([rng.randrange(256)])),
        lambda: put(coefficient, word),
        lambda: out.__delitem__(slice(at, at + size)),
        lambda: out.__delitem__(slice(edge, None)),
        lambda: put(at, rng.randbytes(size)),
        lambda: out.__setitem__(slice(at, at), rng.randbytes(size)),
        lambda: put(edge, bytes(size)),
        lambda: put(7 * m, bytes(len(out) - 7 * m)),
        lambda: put(at, other[at : at + size]),
        lambda: out.__setitem__(slice(at, None), other[at:]),
        lambda: out.extend(rng.randbytes(size)),
        lambda: out.__setitem__(slice(None), rng.randbytes(rng.randrange(2 * len(out)))),
    ]
    rng.choice(choices)()
    return bytes(out)


def attempt(call: Callable[[], object]) -> bool:
    try:
        call()
    except Hostile as e:
        if e.code not in CODES:
            raise
        return False
    return True


def main(count: int, seed: int) -> None:
    rng = random.Random(seed)
    key, seen = bytes(32), Counter[str]()
    for m in (1, 40, 4100):
        uploads = [bfv.encrypt(key, np.full(m, k, np.uint64)) for k in range(2)]
        adder = bfv.Adder(m)
        for u in uploads:
            adder.add(u)
        totals = [adder.total()]
        adder.add(uploads[0])
        totals.append(adder.total())
        share = count // 6
        for _ in range(share):
            bad = mutate(rng, *rng.sample(uploads, 2), m)
            fresh = bfv.Adder(m)
            accepted = attempt(lambda: fresh.add(bad))  # noqa: B023
            assert accepted == good_upload(bad, m), bad.hex()
            seen[f"upload accepted {accepted}"] += 1
            bad = mutate(rng, *rng.sample(totals, 2), m)
            accepted = attempt(lambda: bfv.decrypt(key, bad, m))  # noqa: B023
            assert accepted == good_total(bad, m)
            seen[f"total accepted {accepted}"] += 1
    for kind in ("upload", "total"):
        assert seen[f"{kind} accepted True"] > share // 10 < seen[f"{kind} accepted False"], seen
    print(sum(seen.values()), dict(seen))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
