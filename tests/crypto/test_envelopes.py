"""HPKE is checked against RFC 9180 and X-Wing written out below, one-time AEAD against pycryptodome."""

import hashlib
import hmac

import pytest
from Crypto.Cipher import AES
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from consilium_errors import Hostile, Misuse
from crypto import envelopes
from crypto.envelopes import open_once, open_sealed, seal, seal_once

SECRET, PUBLIC = envelopes.generate()
INFO = b"context|i|j"
SEALED = seal(PUBLIC, INFO, b"the seed of a mask")
ONCE_KEY = bytes(range(32))

_SUITE = b"HPKE" + (0x647A).to_bytes(2, "big") + (1).to_bytes(2, "big") + (2).to_bytes(2, "big")


def refused(open_it, *args):
    with pytest.raises(Hostile) as error:
        open_it(*args)
    return error.value


def outcome(call, *args):
    try:
        call(*args)
    except Hostile as error:
        return error.code
    return "ok"


def xwing_decapsulate(secret: bytes, encapsulated: bytes) -> bytes:
    expanded = hashlib.shake_256(secret).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
    ct_x = encapsulated[1088:]
    ss_x = x25519.exchange(X25519PublicKey.from_public_bytes(ct_x))
    ss_m = mlkem.decapsulate(encapsulated[:1088])
    return hashlib.sha3_256(
        ss_m + ss_x + ct_x + x25519.public_key().public_bytes_raw() + rb"\.//^\\"[:6]
    ).digest()


def labeled_extract(salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + _SUITE + label + material, "sha256")


def labeled_expand(key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    block = length.to_bytes(2, "big") + b"HPKE-v1" + _SUITE + label + info + b"\1"
    return hmac.digest(key, block, "sha256")[:length]


def rfc9180_open(secret: bytes, info: bytes, sealed: bytes) -> bytes:
    encapsulated, ciphertext = sealed[:1120], sealed[1120:]
    shared = xwing_decapsulate(secret, encapsulated)
    context = b"\0" + labeled_extract(b"", b"psk_id_hash", b"") + labeled_extract(b"", b"info_hash", info)
    key_schedule = labeled_extract(shared, b"secret", b"")
    key = labeled_expand(key_schedule, b"key", context, 32)
    nonce = labeled_expand(key_schedule, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def test_vectors(vectors):
    hpke, once = (
        {k: bytes.fromhex(v) for k, v in vectors("envelopes")[name].items()} for name in ("hpke", "once")
    )
    assert envelopes.public_of(hpke["secret"]) == hpke["public"]
    assert open_sealed(hpke["secret"], hpke["info"], hpke["sealed"]) == hpke["plaintext"]
    assert seal_once(once["key"], once["aad"], once["plaintext"]) == once["sealed"]
    assert open_once(once["key"], once["aad"], once["sealed"]) == once["plaintext"]


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=80))
def test_opens_for_an_independent_implementation(plaintext, info):
    sealed = seal(PUBLIC, info, plaintext)
    assert len(sealed) == len(plaintext) + envelopes.OVERHEAD
    assert open_sealed(SECRET, info, sealed) == plaintext == rfc9180_open(SECRET, info, sealed)


def test_lengths_and_freshness():
    assert (len(SECRET), len(PUBLIC)) == (envelopes.SECRET_BYTES, envelopes.PUBLIC_BYTES)
    assert envelopes.generate() != (SECRET, PUBLIC)
    assert seal(PUBLIC, INFO, b"x") != seal(PUBLIC, INFO, b"x")
    envelopes.check_public(PUBLIC)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_one_altered_byte_gives_the_one_opaque_error(position, flip):
    altered = bytearray(SEALED)
    altered[position] ^= flip
    assert refused(open_sealed, SECRET, INFO, bytes(altered)).code == "envelope.open"


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=1400), st.integers(0, len(SEALED) - 1).map(lambda n: SEALED[:n])))
def test_garbage_and_truncation(sealed):
    assert refused(open_sealed, SECRET, INFO, sealed).code == "envelope.open"


def test_every_failure_reads_the_same():
    zero_share = SEALED[:1088] + bytes(32) + SEALED[1120:]  # X25519 of small order fails inside the library
    other, _ = envelopes.generate()
    failures = [
        refused(open_sealed, SECRET, INFO, b""),
        refused(open_sealed, SECRET, INFO, SEALED + b"\0"),
        refused(open_sealed, SECRET, INFO, zero_share),
        refused(open_sealed, SECRET, INFO + b"k", SEALED),
        refused(open_sealed, other, INFO, SEALED),
    ]
    assert {(f.code, str(f), f.remedy, f.__cause__, f.__suppress_context__) for f in failures} == {
        ("envelope.open", str(failures[0]), "", None, True)
    }


# Encodings of the X25519 points of order 1, 2, 4 and 8 (RFC 7748, section 7; cr.yp.to/ecdh.html).
SMALL_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 19 - 1).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 19 + 1).to_bytes(32, "little"),
]


@pytest.mark.parametrize(
    "public",
    [
        b"",
        PUBLIC[:-1],
        PUBLIC + b"\0",
        b"\xff" * 1184 + PUBLIC[1184:],
        *(PUBLIC[:1184] + p for p in SMALL_ORDER),
    ],
)
def test_unusable_public_keys(public):
    assert refused(envelopes.check_public, public).code == "envelope.public_key"
    assert refused(seal, public, INFO, b"x").code == "envelope.public_key"


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=envelopes.PUBLIC_BYTES, max_size=envelopes.PUBLIC_BYTES))
def test_foreign_public_keys_never_crash(public):
    assert outcome(envelopes.check_public, public) in {"ok", "envelope.public_key"}
    assert outcome(seal, public, INFO, b"x") == outcome(envelopes.check_public, public)


@pytest.mark.parametrize("size", [0, 31, 33, 96])
def test_secret_length_is_the_callers_mistake(size):
    for call in (lambda s: open_sealed(s, INFO, SEALED), envelopes.public_of):
        with pytest.raises(Misuse) as error:
            call(bytes(size))
        assert error.value.code == "envelope.secret_length"


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_once_is_aes_gcm_with_zero_nonce(plaintext, aad):
    sealed = seal_once(ONCE_KEY, aad, plaintext)
    cipher = AES.new(ONCE_KEY, AES.MODE_GCM, nonce=bytes(12))
    cipher.update(aad)
    assert sealed == b"".join(cipher.encrypt_and_digest(plaintext))
    assert len(sealed) == len(plaintext) + envelopes.ONCE_OVERHEAD
    assert open_once(ONCE_KEY, aad, sealed) == plaintext


@given(st.data())
def test_once_refuses_alterations(data):
    sealed = bytearray(seal_once(ONCE_KEY, b"lock", b"self-mask seed"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    assert refused(open_once, ONCE_KEY, b"lock", bytes(sealed)).code == "envelope.open"


def test_once_refuses_other_keys_bindings_and_lengths():
    sealed = seal_once(ONCE_KEY, b"lock", b"seed")
    assert refused(open_once, bytes(32), b"lock", sealed).code == "envelope.open"
    assert refused(open_once, ONCE_KEY, b"another lock", sealed).code == "envelope.open"
    assert refused(open_once, ONCE_KEY, b"lock", sealed[:15]).code == "envelope.open"
    with pytest.raises(Misuse) as error:
        seal_once(b"short", b"", b"")
    assert error.value.code == "envelope.once_key_length"
