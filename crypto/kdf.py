"""Keys from secrets: HKDF-SHA256 (RFC 5869) over parts that cannot be confused with one another."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consilium_errors import Misuse

_DOMAIN = b"consilium/1 kdf\0"
MAX_BYTES = 255 * 32


def derive(label: str, *parts: bytes, length: int = 32) -> bytes:
    """Key of ``length`` bytes for the purpose ``label`` from secret and public ``parts``.

    Each part stands behind its length (8 bytes, big endian), so no two lists of parts read the same.
    The length of the key is bound too: a short key is not the beginning of a longer one. At least one part
    must hold at least 16 bytes of secret entropy; which one does not matter.

    Raises:
        Misuse: ``kdf.no_input`` without parts; ``kdf.length`` for a length outside 1..8160.
    """
    if not any(parts):
        raise Misuse("kdf.no_input", "a key needs at least one part that is not empty")
    if not 1 <= length <= MAX_BYTES:
        raise Misuse("kdf.length", f"a key has 1 to {MAX_BYTES} bytes, asked for {length}")
    material = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    info = _DOMAIN + length.to_bytes(2, "big") + label.encode()
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(material)
