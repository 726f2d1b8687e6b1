"""The committee's words are those of the golden vectors."""

import hashlib
import json

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from crypto.mpc import sharing
from tests.vectors.make_committee import FILE, made, make, terms

GOLDEN = json.loads(FILE.read_text())


def test_nothing_has_changed():
    assert make() == GOLDEN


def by_hand(tag: str, *parts: bytes) -> str:
    body = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(b"consilium/1 mpc\0" + tag.encode() + b"\0" + body).hexdigest()


def test_digests_by_hand():
    its = terms()
    assert GOLDEN["envelope_info"] == by_hand("envelope", made("plan"), its.orgs[0], its.members[0])
    numbers = b"".join(n.to_bytes(16, "big", signed=True) for n in (5, 3, 0, 0, -1))
    assert GOLDEN["set"] == by_hand("set", b"".join(its.orgs), made("inputs"), numbers, b"sum")
    uploads = b"".join(its.upload_hashes)
    assert GOLDEN["terms"] == by_hand(
        "terms",
        made("lock"),
        made("plan"),
        its.release,
        uploads,
        b"".join(its.members),
        bytes.fromhex(GOLDEN["set"]),
    )


def test_shares_by_hand():
    """AES-256-CTR from counter 0 (NIST SP 800-38A), little-endian words; the third share has c added."""
    stream = Cipher(algorithms.AES256(made("first")), modes.CTR(bytes(16))).encryptor().update(bytes(40))
    assert bytes.fromhex(GOLDEN["words"]) == stream[:32]
    assert bytes.fromhex(GOLDEN["held_own"]) == stream  # rank 1 has the second share, a seed alone
    third = Cipher(algorithms.AES256(made("second")), modes.CTR(bytes(16))).encryptor().update(bytes(40))
    blob = made("blob", 40)
    added = b"".join(
        (
            (int.from_bytes(blob[i : i + 8], "little") + int.from_bytes(third[i : i + 8], "little")) % 2**64
        ).to_bytes(8, "little")
        for i in range(0, 40, 8)
    )
    assert bytes.fromhex(GOLDEN["held_following"]) == added


def test_an_upload_is_cut_apart_as_it_was_put_together():
    upload = sharing.Upload(bytes(16), tuple(made(str(i), sharing.ENVELOPE_BYTES) for i in range(3)))
    assert sharing.Upload.from_bytes(upload.to_bytes()) == upload
    assert len(upload.to_bytes()) == sharing.upload_size(2)
    for short in (b"", b"x" * 5, b"x" * (3 * sharing.ENVELOPE_BYTES - 1)):
        assert sharing.Upload.from_bytes(short).blob == b""
