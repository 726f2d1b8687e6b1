"""The golden round's secrets, and the sum: keys, masks, shares and blinds by code that is not the round's own.

HKDF by hand, masks from AES, shares by Lagrange. Only the ciphers of `crypto` (HPKE, BFV, Pedersen), which have
vectors of their own, are used as they are.
"""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto import envelopes
from crypto.commitments import Generators, Pedersen, generators_needed
from crypto.secure_sum import bfv
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.protos.golden_round import HOSPITALS, ORGS, headers, of, one, payload, said, secret
from tests.protos.test_digests_reference import tagged

Q = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001  # order of BLS12-381's G1


def hkdf(label: str, *parts: bytes) -> bytes:
    """RFC 5869 with a zero salt, 32 bytes; parts behind their lengths."""
    material = b"".join(len(p).to_bytes(8, "big") + p for p in parts)
    prk = hmac.digest(bytes(32), material, "sha256")
    info = b"consilium/1 kdf\0" + (32).to_bytes(2, "big") + label.encode()
    return hmac.digest(prk, info + b"\1", "sha256")


def keystream(key: bytes, n: int, start: bytes = bytes(16)) -> list[int]:
    raw = Cipher(algorithms.AES256(key), modes.CTR(start)).encryptor().update(bytes(8 * n))
    return [int.from_bytes(raw[i : i + 8], "little") % 2**45 for i in range(0, 8 * n, 8)]


def scalar(key: bytes) -> int:
    raw = Cipher(algorithms.AES256(key), modes.CTR(b"\x80" + bytes(15))).encryptor().update(bytes(64))
    return int.from_bytes(raw, "little") % Q


def pair_secret(sender: bytes, to: bytes) -> bytes:
    return bytes.fromhex(next(h for h in HOSPITALS if h["org"] == sender.hex())["pairs"][to.hex()])


def pair_key(a: bytes, b: bytes) -> bytes:
    low, high = sorted((a, b))
    return hkdf("pair", pair_secret(low, high), pair_secret(high, low), of("plan_hash"))


def values(org: bytes) -> list[int]:
    raw = secret(org, "values")
    return [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]


def once(key: bytes, aad: bytes, sealed: bytes) -> bytes:
    return AESGCM(key).decrypt(bytes(12), sealed, aad)


# keys -------------------------------------------------------------------------------------------------------


def test_boxes_hold_g_and_the_pairs_secret() -> None:
    for sender in ORGS:
        ready = wire.parse(pb.Ready, said("ready")[sender])
        for signed in ready.boxes:
            box = wire.parse(pb.Box, signed.payload)
            info = tagged("box", of("ctx_hash"), sender, box.to)
            plain = envelopes.open_sealed(secret(box.to, "hpke_secret"), info, box.sealed)
            assert plain[:64] == secret(sender, "g") + pair_secret(sender, box.to)
            check_path(plain[64:], ORGS.index(box.to), sender)
        [header] = [h for h in headers() if h.org == sender]
        assert header.g_hash == tagged("g", of("ctx_hash"), sender, secret(sender, "g"))
    for org in ORGS:
        public = payload("hello", org, pb.Hello).hpke_key
        assert envelopes.public_of(secret(org, "hpke_secret")) == public


def check_path(piece: bytes, index: int, dealer: bytes) -> None:
    """Of four leaves: RFC 6962, two levels."""
    node = hashlib.sha256(b"\0" + piece[:32]).digest()
    for level in range(2):
        sibling = piece[32 * (level + 1) : 32 * (level + 2)]
        pair = sibling + node if index >> level & 1 else node + sibling
        node = hashlib.sha256(b"\1" + pair).digest()
    [header] = [h for h in headers() if h.org == dealer]
    assert (len(piece), node) == (96, header.shares_root)


def test_three_shares_give_the_self_mask_that_the_header_promised() -> None:
    dead = ORGS[-1]
    shares = {}
    for org, body in said("mask-share").items():
        share = wire.parse(pb.MaskShare, wire.parse(pb.Signed, body).payload)
        assert (share.lock_id, share.of) == (of("lock_id"), dead)
        key = hkdf("mask-share", of("group"), dead, org, of("lock_id"))
        piece = once(key, of("lock_id"), share.sealed)
        check_path(piece, ORGS.index(org), dead)
        shares[ORGS.index(org) + 1] = int.from_bytes(piece[:32], "big")
    assert sorted(shares) == [1, 2, 3]
    mask = (3 * shares[1] - 3 * shares[2] + shares[3]) % Q  # Lagrange at 0
    assert mask.to_bytes(32, "big") == secret(dead, "self_mask")
    [header] = [h for h in headers() if h.org == dead]
    assert header.mask_hash == tagged("mask", of("ctx_hash"), dead, secret(dead, "self_mask"))


def test_group_secret_and_salt() -> None:
    assert hkdf("group", *(secret(o, "g") for o in ORGS), of("plan_hash")) == of("group")
    assert hkdf("salt", of("group")) == of("salt")


def test_unlocks_hold_the_self_masks() -> None:
    for org in ORGS:
        unlock = payload("unlock", org, pb.Unlock)
        assert unlock.lock_id == of("lock_id")
        key = hkdf("unlock", of("group"), org, of("lock_id"))
        assert once(key, of("lock_id"), unlock.sealed) == secret(org, "self_mask")


def rho(org: bytes) -> int:
    upload = wire.parse(pb.Upload, said("upload")[org])
    key = hkdf("rho", of("group"), secret(org, "self_mask"), of("plan_hash"))
    return int.from_bytes(once(key, of("plan_hash"), upload.rho_box), "big")


@pytest.mark.parametrize("org", ORGS, ids=[o.hex()[:6] for o in ORGS])
def test_the_blinded_randomness(org: bytes) -> None:
    expected = int.from_bytes(secret(org, "r"), "big")
    for peer in ORGS:
        if peer != org:
            expected += scalar(pair_key(org, peer)) * (1 if org < peer else -1)
    assert rho(org) == expected % Q


def test_the_blinds_cancel() -> None:
    randomness = [int.from_bytes(secret(o, "r"), "big") for o in ORGS]
    assert sum(rho(o) for o in ORGS) % Q == sum(randomness) % Q == int.from_bytes(of("randomness"), "big")


# the sum ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("org", ORGS, ids=[o.hex()[:6] for o in ORGS])
def test_an_upload_is_the_input_under_its_masks(org: bytes) -> None:
    upload, n = wire.parse(pb.Upload, said("upload")[org]), len(values(org))
    adder = bfv.Adder(n)
    adder.add(upload.ciphertext)
    opened = bfv.decrypt(hkdf("bfv", of("group")), adder.total(), n).tolist()
    own = keystream(hkdf("self-mask", secret(org, "self_mask"), of("plan_hash")), n)
    expected = [v + m for v, m in zip(values(org), own, strict=True)]
    for peer in ORGS:
        if peer != org:
            sign = 1 if org < peer else -1
            stream = keystream(pair_key(org, peer), n)
            expected = [e + sign * s for e, s in zip(expected, stream, strict=True)]
    assert opened == [e % 2**45 for e in expected]


def test_the_sum_of_the_uploads_is_the_sum_of_the_inputs() -> None:
    message, n = wire.parse(pb.Sum, one("sum")), len(values(ORGS[0]))
    adder = bfv.Adder(n)
    for org in ORGS:
        adder.add(wire.parse(pb.Upload, said("upload")[org]).ciphertext)
    assert adder.total() == message.total
    opened = bfv.decrypt(hkdf("bfv", of("group")), message.total, n).tolist()
    for org in ORGS:
        own = keystream(hkdf("self-mask", secret(org, "self_mask"), of("plan_hash")), n)
        opened = [(o - m) % 2**45 for o, m in zip(opened, own, strict=True)]
    assert opened == [sum(column) for column in zip(*(values(o) for o in ORGS), strict=True)]
    assert b"".join(v.to_bytes(8, "little") for v in opened) == of("sum")


def test_commitments() -> None:
    n = len(values(ORGS[0]))
    pedersen = Pedersen(n, 44, Generators.load(generators_needed(n, 44), None))
    for org, header in zip(ORGS, headers(), strict=True):
        u, r = np.array(values(org), np.uint64), int.from_bytes(secret(org, "r"), "big")
        assert pedersen.commit(u, r) == secret(org, "commitment") == header.commitment
    total = np.frombuffer(of("sum"), "<u8").astype(np.uint64)
    randomness = int.from_bytes(of("randomness"), "big")
    pedersen.verify_sum(total, randomness, [h.commitment for h in headers()])
