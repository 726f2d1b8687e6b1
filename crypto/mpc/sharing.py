"""Three-party replicated sharing of integers modulo 2^64 (Araki et al., CCS 2016, doi:10.1145/2976749.2978331).

u = x_1 + x_2 + x_3 with x_1 = PRG(s_1), x_2 = PRG(s_2), x_3 = c + PRG(s_3): three seeds, and one vector

    c = u - PRG(s_1) - PRG(s_2) - PRG(s_3)

that is uniform to whoever lacks a seed. Member j gets the seeds j and j+1 (cyclically), sealed to it, and c
travels beside them, so that a hospital sends 8 bytes a value and not 16. Each member then holds two of three
shares: products need no message between members, and either of a seed's two holders can check the other.

The randomness r of the hospital's commitment is shared additively modulo q in the same envelopes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from consilium_errors import Hostile, Misuse
from crypto import envelopes
from crypto.commitments import Q
from crypto.mpc.prg import I64, KEY_BYTES, U64, Stream, room
from crypto.mpc.words import PARTIES, tagged

#: Two seeds and a share of the commitment's randomness.
PLAINTEXT_BYTES: Final = 2 * KEY_BYTES + 32
ENVELOPE_BYTES: Final = PLAINTEXT_BYTES + envelopes.OVERHEAD
CHUNK: Final = 1 << 13


def upload_size(length: int) -> int:
    """Bytes of an upload of ``length`` values."""
    return 8 * length + PARTIES * ENVELOPE_BYTES


def upload_digest(ciphertext_digest: bytes) -> bytes:
    """How `Terms` name an upload; ``ciphertext_digest`` is the sha256 of its bytes."""
    return tagged("upload", ciphertext_digest)


@dataclass(frozen=True)
class Shares:
    """A vector in shares: ``blob`` is c (8 bytes a value), ``plaintexts`` one per member."""

    blob: bytes
    plaintexts: tuple[bytes, bytes, bytes]


@dataclass(frozen=True)
class Upload:
    """What a hospital posts: c, and a sealed envelope for each member."""

    blob: bytes
    envelopes: tuple[bytes, bytes, bytes]

    def to_bytes(self) -> bytes:
        """c, then the three envelopes: `upload_size` bytes."""
        return b"".join((self.blob, *self.envelopes))

    @classmethod
    def from_bytes(cls, body: bytes) -> Upload:
        """Cut anything apart, also what is too short: whether it can be read shows in `open_upload`."""
        at = max(len(body) - PARTIES * ENVELOPE_BYTES, 0)
        first, second, third = (
            body[at + j * ENVELOPE_BYTES : at + (j + 1) * ENVELOPE_BYTES] for j in range(PARTIES)
        )
        return cls(body[:at], (first, second, third))

    def digest(self) -> bytes:
        """As `upload_digest` of what the hospital's receipt signs."""
        digest = hashlib.sha256(self.blob)
        for envelope in self.envelopes:
            digest.update(envelope)
        return upload_digest(digest.digest())


@dataclass(frozen=True)
class Held:
    """What one member holds of one hospital's vector: its own share's seed, the next one's, c, and its part of r."""

    rank: int
    own: bytes
    following: bytes
    blinding: int
    blob: bytes

    def stream(self, length: int) -> HeldStream:
        return HeldStream(self, length)


def share(u: I64, r: int) -> Shares:
    """Fresh shares of ``u``, int64 (d,), and of the commitment's randomness ``r`` mod Q.

    Raises:
        Misuse: ``mpc.shape``, ``mpc.randomness``.
    """
    if u.dtype != np.int64 or u.ndim != 1 or not u.size:
        raise Misuse("mpc.shape", f"expected int64 of one dimension, found {u.dtype}{list(u.shape)}")
    if not 0 <= r < Q:
        raise Misuse("mpc.randomness", "randomness lies in 0..Q-1")
    seeds = [secrets.token_bytes(KEY_BYTES) for _ in range(PARTIES)]
    c = u.view(np.uint64).copy()
    streams = [Stream(seed) for seed in seeds]
    for start in range(0, c.size, CHUNK):
        part = c[start : start + CHUNK]
        for stream in streams:
            part -= stream.words(part.size)
    parts = [secrets.randbelow(Q), secrets.randbelow(Q)]
    parts.append((r - sum(parts)) % Q)
    first, second, third = (
        seeds[j] + seeds[(j + 1) % PARTIES] + parts[j].to_bytes(32, "big") for j in range(PARTIES)
    )
    return Shares(c.astype("<u8", copy=False).tobytes(), (first, second, third))


def seal(shares: Shares, plan_hash: bytes, org: bytes, members: Sequence[tuple[bytes, bytes]]) -> Upload:
    """Seal each member's part to it, bound to the plan, the hospital and the member.

    Args:
        members: (address, HPKE public key) of the three, in the study's order.

    Raises:
        Hostile: ``envelope.public_key``. Misuse: ``mpc.members``.
    """
    if len(members) != PARTIES:
        raise Misuse("mpc.members", f"a committee has {PARTIES} members, not {len(members)}")
    first, second, third = (
        envelopes.seal(public, envelope_info(plan_hash, org, member), plaintext)
        for (member, public), plaintext in zip(members, shares.plaintexts, strict=True)
    )
    return Upload(shares.blob, (first, second, third))


def envelope_info(plan_hash: bytes, org: bytes, member: bytes) -> bytes:
    return tagged("envelope", plan_hash, org, member)


def open_upload(
    upload: Upload, rank: int, secret: bytes, *, plan_hash: bytes, org: bytes, member: bytes, length: int
) -> Held:
    """A member's part of an upload whose digest it has compared with the receipt.

    Raises:
        Hostile: ``envelope.open``; ``mpc.share`` for a wrong length or a number that is not reduced.
    """
    info = envelope_info(plan_hash, org, member)
    plaintext = envelopes.open_sealed(secret, info, upload.envelopes[rank])
    if len(plaintext) != PLAINTEXT_BYTES or len(upload.blob) != 8 * length:
        raise Hostile("mpc.share", "a share has another length than the plan says")
    blinding = int.from_bytes(plaintext[2 * KEY_BYTES :], "big")
    if blinding >= Q:
        raise Hostile("mpc.share", "a share of the randomness is not below q")
    return Held(rank, plaintext[:KEY_BYTES], plaintext[KEY_BYTES : 2 * KEY_BYTES], blinding, upload.blob)


class HeldStream:
    """The two shares that a member holds, chunk by chunk, in buffers that the next chunk overwrites."""

    def __init__(self, held: Held, length: int) -> None:
        self._own, self._following = Stream(held.own), Stream(held.following)
        blob = np.frombuffer(held.blob, "<u8", length)
        third = PARTIES - 1  # the share that c belongs to
        self._own_offset = blob if held.rank == third else None
        self._following_offset = blob if (held.rank + 1) % PARTIES == third else None
        self._length, self._at = length, 0
        self._rooms = room(8 * CHUNK), room(8 * CHUNK)
        first, second = (np.frombuffer(r, "<u8", CHUNK) for r in self._rooms)
        self._buffers: tuple[U64, U64] = first, second

    def next(self) -> tuple[U64, U64]:
        """The next `CHUNK` values (fewer at the end) of the own share and of the following one."""
        n = min(CHUNK, self._length - self._at)
        span = slice(self._at, self._at + n)
        own, following = (buffer[:n] for buffer in self._buffers)
        self._fill(self._own, self._rooms[0], own, self._own_offset, span)
        self._fill(self._following, self._rooms[1], following, self._following_offset, span)
        self._at += n
        return own, following

    def next_own(self) -> U64:
        """As `next`, the own share only; do not mix the two on one stream."""
        n = min(CHUNK, self._length - self._at)
        own = self._buffers[0][:n]
        self._fill(self._own, self._rooms[0], own, self._own_offset, slice(self._at, self._at + n))
        self._at += n
        return own

    @staticmethod
    def _fill(stream: Stream, into: bytearray, words: U64, offset: U64 | None, span: slice) -> None:
        stream.into(into, 8 * words.size)
        if offset is not None:
            np.add(words, offset[span], out=words)


def chunks(length: int) -> Iterator[slice]:
    for start in range(0, length, CHUNK):
        yield slice(start, min(start + CHUNK, length))


def add_own(held: Sequence[Held], length: int) -> U64:
    """This member's additive share of the sum of ``held``, uint64 (length,)."""
    total = np.zeros(length, np.uint64)
    streams = [h.stream(length) for h in held]
    for span in chunks(length):
        part = total[span]
        for stream in streams:
            np.add(part, stream.next_own(), out=part)
    return total


def own_matrix(held: Sequence[Held], length: int) -> U64:
    """This member's additive shares of each vector, uint64 (len(held), length)."""
    return np.stack([add_own([h], length) for h in held])


def reconstruct(outputs: Sequence[U64]) -> I64:
    """The value whose three additive shares are ``outputs``, int64 between -2^63 and 2^63 - 1.

    Raises:
        Misuse: ``mpc.members``, ``mpc.shape``.
    """
    if len(outputs) != PARTIES:
        raise Misuse("mpc.members", f"{PARTIES} shares are needed, not {len(outputs)}")
    if len({out.shape for out in outputs}) != 1 or any(out.dtype != np.uint64 for out in outputs):
        raise Misuse("mpc.shape", "shares of one shape, uint64, are needed")
    total: U64 = outputs[0] + outputs[1] + outputs[2]
    return total.view(np.int64)
