"""An organisation's agent key: secp256k1 with Ethereum's addresses and signatures.

The contract checks the same signatures: r | s | v (65 bytes), nonces after RFC 6979, low s (EIP-2), v 27 or
28. Exactly one encoding of a signature is accepted, so nobody can turn one into another that also passes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from consilium_errors import Hostile, Misuse

from . import keyfiles

SIGNATURE_BYTES: Final = 65
ADDRESS_BYTES: Final = 20
#: Order of secp256k1 (SEC 2).
ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class AgentKey:
    """A private key that signs for one organisation. Its repr shows the address only."""

    __slots__ = ("_key", "address")

    address: bytes

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.address = _address(key.public_key)

    @classmethod
    def generate(cls) -> AgentKey:
        return cls(PrivateKey())

    @classmethod
    def from_bytes(cls, secret: bytes) -> AgentKey:
        """From 32 big-endian bytes.

        Raises:
            Misuse: ``identity.secret`` unless the number is in 1..order-1.
        """
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < ORDER:
            raise Misuse("identity.secret", "an agent key is a number of 32 bytes in 1..order-1")
        return cls(PrivateKey(secret))

    @classmethod
    def load_or_create(cls, path: Path) -> AgentKey:
        """From a key file (0600), made when missing.

        Raises:
            Misuse: ``key_file.permissions``, ``key_file.malformed``, ``identity.secret``.
        """
        return cls.from_bytes(keyfiles.load_or_create(path, lambda: cls.generate().secret))

    @property
    def secret(self) -> bytes:
        return self._key.secret

    def sign(self, digest: bytes) -> bytes:
        """Signature over a digest of 32 bytes; the same digest always gives the same bytes.

        Raises:
            Misuse: ``identity.digest``.
        """
        raw = self._key.sign_recoverable(_digest(digest), hasher=None)
        return raw[:64] + bytes([27 + raw[64]])

    def __repr__(self) -> str:
        return f"AgentKey(0x{self.address.hex()})"

    def __reduce__(self) -> str:
        raise Misuse("identity.pickle", "an agent key is not pickled; store its file")


def recover(digest: bytes, signature: bytes) -> bytes:
    """Address (20 bytes) of whoever signed ``digest``.

    Raises:
        Hostile: ``signature.malformed`` for any encoding but the one canonical, and where no key recovers.
        Misuse: ``identity.digest``.
    """
    _digest(digest)
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (27, 28):
        raise _malformed()
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not 0 < r < ORDER or not 0 < s <= ORDER // 2:
        raise _malformed()
    try:
        key = PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except ValueError:  # no point has that r
        raise _malformed() from None
    return _address(key)


def verify(digest: bytes, signature: bytes, address: bytes) -> None:
    """Nothing if the key of ``address`` signed ``digest``.

    Raises:
        Hostile: ``signature.malformed``, or ``signature.wrong_signer`` for a signature by another key or over
            another digest.
        Misuse: ``identity.digest``.
    """
    signer = recover(digest, signature)
    if signer != address:
        raise Hostile(
            "signature.wrong_signer", f"expected a signature by 0x{address.hex()}, found 0x{signer.hex()}"
        )


def _address(key: PublicKey) -> bytes:
    return keccak(key.format(compressed=False)[1:])[12:]


def _digest(digest: bytes) -> bytes:
    if len(digest) != 32:
        raise Misuse("identity.digest", f"a digest has 32 bytes, not {len(digest)}")
    return digest


def _malformed() -> Hostile:
    return Hostile("signature.malformed", "not a canonical signature r|s|v with low s")
