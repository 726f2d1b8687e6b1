"""Signatures and addresses are compared with eth_keys' pure Python implementation."""

import pickle

import pytest
from coincurve import PublicKey
from eth_keys import KeyAPI
from eth_keys.backends import NativeECCBackend
from hypothesis import given, settings
from hypothesis import strategies as st

from consilium_errors import Hostile, Misuse
from crypto.identity import ORDER, AgentKey, recover, verify

KEY = AgentKey.from_bytes(bytes(range(1, 33)))
DIGEST = bytes(range(32, 64))
SIGNATURE = KEY.sign(DIGEST)
FIELD = 2**256 - 2**32 - 977


def refused(call, *args):
    with pytest.raises(Hostile) as error:
        call(*args)
    return error.value.code


def test_vectors(vectors):
    for case in vectors("signatures"):
        secret, address, digest, signature = (
            bytes.fromhex(case[k]) for k in ("secret", "address", "digest", "signature")
        )
        key = AgentKey.from_bytes(secret)
        assert (key.address, key.sign(digest)) == (address, signature)
        verify(digest, signature, address)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, ORDER - 1), st.binary(min_size=32, max_size=32))
def test_agrees_with_eth_keys(secret, digest):
    key = AgentKey.from_bytes(secret.to_bytes(32, "big"))
    reference = KeyAPI(NativeECCBackend).PrivateKey(key.secret)
    theirs = reference.sign_msg_hash(digest).to_bytes()
    assert key.address == reference.public_key.to_canonical_address()
    assert key.sign(digest) == theirs[:64] + bytes([27 + theirs[64]])
    assert recover(digest, key.sign(digest)) == key.address


def test_low_s_always():
    for i in range(200):
        assert int.from_bytes(KEY.sign(i.to_bytes(32, "big"))[32:64], "big") <= ORDER // 2


def test_the_mirrored_signature_is_refused():
    """(r, -s) with the other parity is the same signature to plain ECDSA; the reference still recovers it."""
    s = ORDER - int.from_bytes(SIGNATURE[32:64], "big")
    mirrored = SIGNATURE[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - SIGNATURE[64]])
    api = KeyAPI(NativeECCBackend)
    raw = api.Signature(mirrored[:64] + bytes([mirrored[64] - 27]))
    assert raw.recover_public_key_from_msg_hash(DIGEST).to_canonical_address() == KEY.address
    assert refused(recover, DIGEST, mirrored) == "signature.malformed"


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIGNATURE[:64],
        SIGNATURE + b"\0",
        *(SIGNATURE[:64] + bytes([v]) for v in (0, 1, 26, 29, 30, 37, 255)),
        bytes(32) + SIGNATURE[32:],
        SIGNATURE[:32] + bytes(32) + SIGNATURE[64:],
        ORDER.to_bytes(32, "big") + SIGNATURE[32:],
        SIGNATURE[:32] + ORDER.to_bytes(32, "big") + SIGNATURE[64:],
        SIGNATURE[:32] + (ORDER // 2 + 1).to_bytes(32, "big") + SIGNATURE[64:],
        b"\xff" * 65,
    ],
)
def test_other_encodings(signature):
    assert refused(recover, DIGEST, signature) == "signature.malformed"
    assert refused(verify, DIGEST, signature, KEY.address) == "signature.malformed"


def test_r_that_is_no_points_x():
    r = next(x for x in range(1, 100) if pow(x**3 + 7, (FIELD - 1) // 2, FIELD) != 1)
    assert refused(recover, DIGEST, r.to_bytes(32, "big") + SIGNATURE[32:]) == "signature.malformed"


@pytest.mark.parametrize("v", [29, 30])
def test_r_that_wrapped_around_the_order(v):
    """Plain ECDSA recovers from such an r; Ethereum has no v for it."""
    x = next(x for x in range(ORDER + 1, FIELD) if pow(x**3 + 7, (FIELD - 1) // 2, FIELD) == 1)
    signature = (x - ORDER).to_bytes(32, "big") + (1).to_bytes(32, "big")
    PublicKey.from_signature_and_message(signature + bytes([v - 27]), DIGEST, hasher=None)  # possible
    assert refused(recover, DIGEST, signature + bytes([v])) == "signature.malformed"


def test_another_signer_or_digest():
    other = AgentKey.generate()
    assert refused(verify, DIGEST, other.sign(DIGEST), KEY.address) == "signature.wrong_signer"
    assert refused(verify, bytes(32), SIGNATURE, KEY.address) == "signature.wrong_signer"
    assert refused(verify, DIGEST, SIGNATURE, b"") == "signature.wrong_signer"
    verify(DIGEST, SIGNATURE, KEY.address)


@settings(max_examples=300)
@given(st.integers(0, 64), st.integers(1, 255))
def test_no_altered_signature_passes(position, flip):
    altered = bytearray(SIGNATURE)
    altered[position] ^= flip
    assert refused(verify, DIGEST, bytes(altered), KEY.address) in {
        "signature.malformed",
        "signature.wrong_signer",
    }


@settings(max_examples=300)
@given(st.binary(max_size=70) | st.binary(min_size=64, max_size=64).map(lambda rs: rs + b"\x1b"))
def test_foreign_bytes_never_crash(signature):
    # Even where some key recovers, it is nobody's.
    codes = {"signature.malformed", "signature.wrong_signer"}
    assert refused(verify, DIGEST, signature, KEY.address) in codes


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
def test_digest_length_is_the_callers_mistake(digest):
    for call in (KEY.sign, lambda d: recover(d, SIGNATURE), lambda d: verify(d, SIGNATURE, KEY.address)):
        with pytest.raises(Misuse) as error:
            call(digest)
        assert error.value.code == "identity.digest"


@pytest.mark.parametrize("secret", [b"", bytes(32), bytes(31), ORDER.to_bytes(32, "big"), b"\xff" * 32])
def test_impossible_secrets(secret):
    with pytest.raises(Misuse) as error:
        AgentKey.from_bytes(secret)
    assert error.value.code == "identity.secret"


def test_nothing_shows_the_secret(tmp_path):
    shown = repr(KEY) + str(KEY) + f"{KEY}"
    assert KEY.address.hex() in shown
    assert KEY.secret.hex() not in shown
    assert str(KEY.secret) not in shown
    with pytest.raises(Misuse):
        pickle.dumps(KEY)


def test_key_file(tmp_path):
    key = AgentKey.load_or_create(tmp_path / "keys" / "agent")
    assert AgentKey.load_or_create(tmp_path / "keys" / "agent").address == key.address
    assert (tmp_path / "keys" / "agent").read_bytes() == key.secret
    (tmp_path / "keys" / "agent").write_bytes(bytes(32))
    with pytest.raises(Misuse) as error:
        AgentKey.load_or_create(tmp_path / "keys" / "agent")
    assert error.value.code == "identity.secret"
