"""What a hospital keeps on its own disk, encrypted: AES-256-GCM-SIV (RFC 8452) with random nonces.

SIV, because one vault key lives for years: should a nonce ever come twice, it shows only whether two
entries are equal. The entry's name is bound, so that one entry cannot stand in for another. An older version
of the same entry can: who needs freshness puts it into the name or the content (our stores check the chain).
"""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from consilium_errors import Hostile, Misuse

from . import keyfiles

_VERSION = b"\x01"
_NONCE_BYTES = 12
OVERHEAD = len(_VERSION) + _NONCE_BYTES + 16


class Vault:
    """Seals and opens named entries under one key of 32 bytes. Its repr shows no secret."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != keyfiles.KEY_BYTES:
            raise Misuse("vault.key_length", f"a vault key has {keyfiles.KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCMSIV(key)

    @classmethod
    def load_or_create(cls, path: Path) -> Vault:
        """With the key file ``path`` (0600), made when missing.

        Raises:
            Misuse: ``key_file.permissions``, ``key_file.malformed``.
        """
        return cls(keyfiles.load_or_create(path, lambda: secrets.token_bytes(keyfiles.KEY_BYTES)))

    def seal(self, name: str, plaintext: bytes) -> bytes:
        """The entry as stored: version | nonce | ciphertext, `OVERHEAD` bytes longer."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plaintext, _VERSION + name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Inverse of `seal`.

        Raises:
            Hostile: ``vault.open`` if the entry was altered, truncated, stored under another name or key.
        """
        head = len(_VERSION) + _NONCE_BYTES
        if len(sealed) < OVERHEAD or sealed[:1] != _VERSION:
            raise _unopened()
        try:
            return self._cipher.decrypt(sealed[1:head], sealed[head:], _VERSION + name.encode())
        except (InvalidTag, ValueError):
            raise _unopened() from None

    def __repr__(self) -> str:
        return "Vault()"


def _unopened() -> Hostile:
    return Hostile(
        "vault.open",
        "a stored entry does not open under this vault's key and the entry's name",
        "The disk was altered or the wrong key file is in place; restore both from the same backup.",
    )
