"""The golden check after a dispute, made and verified again by code that is not the round's own."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from crypto.commitments import Generators, Pedersen
from crypto.commitments.curve import curve
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.protos.golden_round import ORGS, headers, of, one, payload, said, secret
from tests.protos.test_digests_reference import tagged
from tests.protos.test_round_secrets import Q, hkdf, once, pair_key, values
from tests.vectors.make_round import RANGE

SLOTS, BITS = 5, 44
ROWS = -(-len(values(ORGS[0])) // SLOTS)


@cache
def points() -> list[bytes]:
    """G_0.. G_(ROWS - 1), then H, compressed."""
    found = Generators.load(ROWS)
    return curve().compressed(np.concatenate([found.points[:ROWS], found.blinder]))


def commit(scalars: list[int], blind: int) -> bytes:
    return curve().weighted(points(), [s % Q for s in scalars] + [blind % Q])


def packed(org: bytes) -> list[int]:
    held = values(org)
    return [
        sum(v << (BITS * k) for k, v in enumerate(held[i : i + SLOTS])) for i in range(0, len(held), SLOTS)
    ]


def drawn(key: bytes, n: int) -> list[int]:
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    found: list[int] = []
    while len(found) < n:
        word = int.from_bytes(stream.update(bytes(32)), "little") % 2**255
        if word < Q:
            found.append(word)
    return found


def opening(org: bytes) -> tuple[int, list[bytes], list[int]]:
    """ω, the points by peer ascending, w."""
    checked = payload("checked", org, pb.Checked)
    assert checked.lock_id == of("lock_id")
    plain = once(hkdf("checked", of("group"), org, of("lock_id")), of("lock_id"), checked.sealed)
    start = 32 + 48 * (len(ORGS) - 1)
    assert len(plain) == start + 32 * ROWS
    shown = [plain[i : i + 48] for i in range(32, start, 48)]
    w = [int.from_bytes(plain[i : i + 32], "little") for i in range(start, len(plain), 32)]
    return int.from_bytes(plain[:32], "big"), shown, w


@pytest.mark.parametrize("org", ORGS, ids=[o.hex()[:6] for o in ORGS])
def test_an_opening_is_the_committed_scalars_under_the_pairs_masks(org: bytes) -> None:
    blind, w, shown = int.from_bytes(secret(org, "r"), "big"), packed(org), []
    assert commit(w, blind) == secret(org, "commitment")
    for peer in ORGS:
        if peer != org:
            *masks, last = drawn(hkdf("checked-pair", pair_key(org, peer), of("lock_id")), ROWS + 1)
            sign = 1 if org < peer else -1
            w = [x + sign * m for x, m in zip(w, masks, strict=True)]
            blind += sign * last
            shown.append(commit(masks, last))
    assert opening(org) == (blind % Q, shown, [x % Q for x in w])


def test_the_openings_add_up_to_the_sum_of_the_round() -> None:
    openings = [opening(org) for org in ORGS]
    assert sum(o[0] for o in openings) % Q == int.from_bytes(of("randomness"), "big")
    totals = [sum(column) % Q for column in zip(*(o[2] for o in openings), strict=True)]
    fields = [s >> (BITS * k) & (1 << BITS) - 1 for s in totals for k in range(SLOTS)][: len(values(ORGS[0]))]
    assert b"".join(f.to_bytes(8, "little") for f in fields) == of("sum")


def test_the_messages_around_them() -> None:
    request = wire.parse(pb.CheckRequest, one("check"))
    whole = wire.parse(pb.CheckedAll, one("checked-all"))
    assert request.lock_id == whole.lock_id == of("lock_id")
    assert [wire.encode(s) for s in whole.checked] == [said("checked")[org] for org in ORGS]
    assert list(whole.unlocks) == list(wire.parse(pb.Sum, one("sum")).unlocks)
    [(org, _)] = said("verdict").items()
    verdict = payload("verdict", org, pb.Verdict)
    assert verdict.about == hashlib.sha256(one("ranges")).digest()
    assert [tuple(a.orgs) for a in verdict.accused] == [(o,) for o in ORGS if o != org]


def part(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data


def test_the_proof_of_range() -> None:
    """Read and verified by hand: the statement is one scalar of five fields, the second of them bounded."""
    [(org, _)] = said("range").items()
    proof = payload("range", org, pb.RangeProof).proof
    n, m = 5 * RANGE.value_bits, RANGE.most.bit_length()
    numbers, at = [], 0
    for _ in range(3):  # challenge, response of the randomness, response of D's
        numbers.append(int.from_bytes(proof[at : at + 32], "big"))
        at += 32
    challenge, blind, link = numbers
    bits = []
    for _ in range(n + m):
        words = [int.from_bytes(proof[at + 48 + 32 * k : at + 80 + 32 * k], "big") for k in range(3)]
        bits.append((proof[at : at + 48], *words))
        at += 48 + 96
    z = [int.from_bytes(proof[at + 32 * k : at + 32 * (k + 1)], "little") for k in range(ROWS)]
    assert at + 32 * ROWS == len(proof)
    g, h, add = points()[0], points()[-1], curve().weighted
    weights = [1 << (BITS * f + k) for f in range(5) for k in range(RANGE.value_bits)]
    in_value = [1 << k if f == 1 else 0 for f in range(5) for k in range(RANGE.value_bits)]
    shown = [bit[0] for bit in bits]
    assert add(shown, [*in_value, *(1 << k for k in range(m))]) == add([g], [RANGE.most])
    firsts = []
    for point, zero, answer, other in bits:
        firsts.append(add([h, point], [answer, -zero % Q]))
        rest = (challenge - zero) % Q
        firsts.append(add([h, point, g], [other, -rest % Q, rest]))
    [header] = [x for x in headers() if x.org == org]
    firsts.append(add([*points(), header.commitment], [*z, blind, -challenge % Q]))
    firsts.append(add([g, h, *shown[:n]], [z[0], link, *(-challenge * w % Q for w in weights)]))
    lists = (RANGE.rows, RANGE.limbs, (RANGE.value_bits, RANGE.most))
    statement = b"".join(part(b"".join(x.to_bytes(32, "big") for x in one_)) for one_ in lists)
    context = tagged("range", of("lock_id"), org)
    parts = (context, statement, header.commitment, b"".join(shown), b"".join(firsts))
    digest = hashlib.sha512(b"consilium/1\0range" + b"".join(map(part, parts))).digest()
    assert int.from_bytes(digest, "big") % Q == challenge


def test_the_library_commits_alike() -> None:
    pedersen = Pedersen(len(values(ORGS[0])), 44, Generators.load(ROWS))
    for org in ORGS:
        u, r = np.array(values(org), np.uint64), int.from_bytes(secret(org, "r"), "big")
        assert pedersen.commit_scalars(pedersen.scalars(u), r) == secret(org, "commitment")
