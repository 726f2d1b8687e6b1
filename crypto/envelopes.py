"""Sealed to one party: HPKE (RFC 9180) with the hybrid KEM MLKEM768-X25519 (X-Wing), and one-time AEAD.

The KEM stays safe while either ML-KEM-768 or X25519 does. Keys and ciphertexts are X-Wing's
(draft-connolly-cfrg-xwing-kem): the secret is a seed of 32 bytes, the public key ML-KEM's then X25519's.
The suite is (0x647a, HKDF-SHA256, AES-256-GCM); a sealed message is the encapsulation, then the ciphertext.

``cryptography`` takes no associated data here: what a message is bound to goes into ``info``.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consilium_errors import Hostile, Misuse

SECRET_BYTES = 32
PUBLIC_BYTES = 1184 + 32
OVERHEAD = 1088 + 32 + 16
ONCE_KEY_BYTES = 32
ONCE_OVERHEAD = 16

_MLKEM_PUBLIC = 1184
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_ZERO_NONCE = bytes(12)


def generate() -> tuple[bytes, bytes]:
    """A fresh pair: secret (`SECRET_BYTES`), public (`PUBLIC_BYTES`)."""
    secret = secrets.token_bytes(SECRET_BYTES)
    return secret, public_of(secret)


def public_of(secret: bytes) -> bytes:
    """The public key that belongs to ``secret``, e.g. to check a secret shown in a complaint.

    Raises:
        Misuse: ``envelope.secret_length``.
    """
    mlkem, x25519 = _halves(secret)
    return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def check_public(public: bytes) -> None:
    """Refuse a public key to which nothing can be sealed.

    Raises:
        Hostile: ``envelope.public_key`` for a wrong length, ML-KEM coefficients out of range, or an X25519
            point of small order.
    """
    try:
        # A point of small order shows only when it is used, so use it.
        _SUITE.encrypt(b"", _public(public))
    except ValueError:
        raise _bad_public() from None


def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """``plaintext`` sealed to ``public`` and bound to ``info``; `OVERHEAD` bytes longer.

    Raises:
        Hostile: ``envelope.public_key``, as `check_public`.
    """
    try:
        return _SUITE.encrypt(plaintext, _public(public), info)
    except ValueError:
        raise _bad_public() from None


def open_sealed(secret: bytes, info: bytes, sealed: bytes) -> bytes:
    """What was sealed to ``secret``'s public key under the same ``info``.

    Raises:
        Hostile: ``envelope.open``, one answer to every failure: whoever sent it learns nothing about why.
        Misuse: ``envelope.secret_length``.
    """
    return Opener(secret).open(info, sealed)


class Opener:
    """`open_sealed` for many messages to one secret, whose key is worked out once.

    Raises:
        Misuse: ``envelope.secret_length``.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hpke.MLKEM768X25519PrivateKey(*_halves(secret))

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """Raises Hostile ``envelope.open``."""
        try:
            return _SUITE.decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError):
            raise _unopened() from None


def seal_once(key: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """AES-256-GCM with a nonce of zeros, for a key that seals once in its life; `ONCE_OVERHEAD` bytes longer.

    GCM fails when one key meets one nonce with two plaintexts, so a nonce only has to differ between uses of
    the same key. These keys come from `crypto.kdf.derive` over fresh secrets of one attempt and over who
    seals what, so each meets exactly one plaintext: there is no second use for a nonce to tell apart. Sending
    again means sending the same stored bytes. Anything else must use `seal` or `crypto.vault`.

    Raises:
        Misuse: ``envelope.once_key_length``.
    """
    return _once(key).encrypt(_ZERO_NONCE, plaintext, aad)


def open_once(key: bytes, aad: bytes, sealed: bytes) -> bytes:
    """Inverse of `seal_once`.

    Raises:
        Hostile: ``envelope.open`` for every failure.
        Misuse: ``envelope.once_key_length``.
    """
    cipher = _once(key)
    try:
        return cipher.decrypt(_ZERO_NONCE, sealed, aad)
    except (InvalidTag, ValueError):
        raise _unopened() from None


def _halves(secret: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    if len(secret) != SECRET_BYTES:
        raise Misuse("envelope.secret_length", f"an HPKE secret has {SECRET_BYTES} bytes, not {len(secret)}")
    expanded = hashlib.shake_256(secret).digest(96)  # X-Wing, expandDecapsulationKey
    return (
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )


def _public(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_BYTES:
        raise _bad_public()
    return hpke.MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC]),
        X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:]),
    )


def _once(key: bytes) -> AESGCM:
    if len(key) != ONCE_KEY_BYTES:
        raise Misuse("envelope.once_key_length", f"a one-time key has {ONCE_KEY_BYTES} bytes, not {len(key)}")
    return AESGCM(key)


def _bad_public() -> Hostile:
    return Hostile("envelope.public_key", "not a usable MLKEM768-X25519 public key")


def _unopened() -> Hostile:
    return Hostile("envelope.open", "a sealed message does not open under this key and binding")
