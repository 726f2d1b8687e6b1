"""What is agreed on, and the digests over it. Every digest is sha256 over a tag and length-prefixed parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from consilium_errors import Misuse, Refused

PARTIES: Final = 3
MAX_HOSPITALS: Final = 128
MAX_LENGTH: Final = 1 << 24
Method = Literal["sum", "median", "trimmed"]


def tagged(tag: str, *parts: bytes) -> bytes:
    digest = hashlib.sha256(b"consilium/1 mpc\0" + tag.encode() + b"\0")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


@dataclass(frozen=True)
class Terms:
    """The public facts of one job, equal at the three members and at every hospital.

    Args:
        lock_id, plan_hash, inputs_root: as on chain, 32 bytes each.
        release: 32 bytes that name (study, round, k); a same-set retry keeps it under another ``lock_id``.
        orgs: addresses of the locked set, ascending; ``upload_hashes`` of their receipts in that order.
        members: addresses of the three members, in the study's order.
        length: values of one hospital's vector.
        bound: the L2 norm that an accepted vector may have; None accepts all that is well-formed.
        method: how vectors are combined; ``cut`` values are trimmed from each end.
        minimum: the fewest hospitals whose sum may be opened.
        only: in exact mode, the set of the analysis's first opening; another is refused. Each party's own
            knowledge, and in no digest.
        noisy: whether the members add noise (differential privacy).

    Raises:
        Misuse: ``mpc.terms``.
    """

    lock_id: bytes
    plan_hash: bytes
    inputs_root: bytes
    release: bytes
    orgs: tuple[bytes, ...]
    upload_hashes: tuple[bytes, ...]
    members: tuple[bytes, ...]
    length: int
    bound: int | None
    minimum: int
    method: Method = "sum"
    cut: int = 0
    only: tuple[bytes, ...] | None = None
    noisy: bool = False

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip(self.orgs, self.orgs[1:], strict=False))
        members = len(self.members) == len(set(self.members)) == PARTIES
        addresses = all(len(a) == 20 for a in (*self.orgs, *self.members))
        hashes = (self.lock_id, self.plan_hash, self.inputs_root, self.release, *self.upload_hashes)
        if not (ascending and members and addresses and all(len(h) == 32 for h in hashes)):
            raise Misuse("mpc.terms", "ascending distinct addresses of 20 bytes and digests of 32 are needed")
        if not 3 <= self.minimum <= len(self.orgs) <= MAX_HOSPITALS or len(self.orgs) != len(
            self.upload_hashes
        ):
            raise Misuse("mpc.terms", f"{len(self.orgs)} hospitals with a minimum of {self.minimum}")
        if not 1 <= self.length <= MAX_LENGTH or not 0 <= 2 * self.cut < self.minimum:
            raise Misuse("mpc.terms", f"{self.length} values with a cut of {self.cut}")
        if self.method != "sum" and (self.bound is None or self.noisy):
            raise Misuse("mpc.terms", "values are compared only within an L2 bound, and without noise")

    def digest(self) -> bytes:
        return tagged(
            "terms",
            self.lock_id,
            self.plan_hash,
            self.release,
            b"".join(self.upload_hashes),
            b"".join(self.members),
            self.set_digest(),
        )

    def set_digest(self) -> bytes:
        """What a retry of the release must repeat: who is in it, with which committed inputs, by which rules."""
        numbers = (self.length, self.minimum, self.cut, self.noisy, -1 if self.bound is None else self.bound)
        return tagged(
            "set",
            b"".join(self.orgs),
            self.inputs_root,
            b"".join(int(n).to_bytes(16, "big", signed=True) for n in numbers),
            self.method.encode(),
        )


def method_id(method: Method, cut: int, bound: int | None, refuse: bool) -> bytes:
    """32 bytes that name this way of computing; what no commitment proves is called committee-trusted."""
    trust = "committed" if method == "sum" else "committee-trusted"
    rule = f"{method} cut={cut} bound={bound} outside={'refuse' if refuse else 'exclude'}"
    return tagged("method", f"rss3 mod 2^64 aes-256-ctr wire=1 {rule} {trust}".encode())


def bitmap(flags: Sequence[bool]) -> bytes:
    """One byte for each hospital of the locked set."""
    return bytes(map(int, flags))


@dataclass(frozen=True)
class Output:
    """What one member sends to the hospitals of a lock.

    Args:
        member: address. run: 32 bytes that the three made together; outputs of different runs do not add up.
        bad: one byte per hospital of the terms, 1 where its upload was malformed; ``accepted`` likewise.
        noise: the three members' commitments to their noise (48 bytes each), or none in exact mode.
        payload: this member's share of the result, sealed under a key of its own.
        keys: that key for each recipient (HPKE).
        signature: over all of it, by the member's agent key.
    """

    member: bytes
    run: bytes
    bad: bytes
    accepted: bytes
    noise: tuple[bytes, ...]
    payload: bytes
    keys: Mapping[bytes, bytes]
    signature: bytes

    def common(self) -> tuple[object, ...]:
        """What must be equal in all three."""
        return self.run, self.bad, self.accepted, self.noise


def output_digest(
    terms: Terms,
    output_of: bytes,
    common: tuple[bytes, bytes, bytes, Sequence[bytes]],
    payload: bytes,
    keys: Mapping[bytes, bytes],
) -> bytes:
    """What a member signs; ``common`` is run, bad, accepted, noise."""
    run, bad, accepted, noise = common
    sealed = b"".join(org + hashlib.sha256(keys[org]).digest() for org in sorted(keys))
    return tagged(
        "output",
        terms.digest(),
        output_of,
        run,
        bad,
        accepted,
        b"".join(noise),
        hashlib.sha256(payload).digest(),
        sealed,
    )


def payload_aad(terms: Terms, member: bytes, run: bytes) -> bytes:
    return tagged("payload", terms.lock_id, member, run)


class Journal(Protocol):
    """A member's durable, encrypted, write-once records of one release (study, round, k)."""

    def get(self, slot: str) -> bytes | None: ...

    def put(self, slot: str, body: bytes) -> None:
        """Durable when it returns."""


def keep(journal: Journal, slot: str, body: bytes, code: str) -> None:
    """Write ``body`` once; Refused ``code`` if something else stands there."""
    found = journal.get(slot)
    if found is None:
        journal.put(slot, body)
    elif found != body:
        raise Refused(code, f"this release was computed with another {slot}", "start a new study or release")
