"""Who is at the other end of a link, and that both mean the same session.

A member's certificate names exactly ``consilium://committee/<0xaddress>``, which the listener reads, and the DNS
name `host_of` that address, which the dialler's TLS compares: gRPC shows a certificate to listeners only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consilium_errors import Hostile, Misuse
from crypto.certificates import Revocations, check_own, member_of, now

_HELLO: Final = b"consilium mpc/1\0"
SESSION_BYTES: Final = 32


@dataclass(frozen=True)
class Credentials:
    """PEM files of one kit; ``revocations`` keeps out what the authority has withdrawn since."""

    ca: Path
    certificate: Path
    key: Path
    revocations: Revocations | None = None

    def read(self) -> tuple[bytes, bytes, bytes]:
        """CA, certificate and key, PEM.

        Raises:
            Misuse: ``mpc.credentials``, ``certificate.*``.
        """
        try:
            found = self.ca.read_bytes(), self.certificate.read_bytes(), self.key.read_bytes()
        except OSError:
            raise Misuse("mpc.credentials", "ca, certificate or key cannot be read", "use one kit") from None
        check_own(*found)
        return found


@dataclass(frozen=True)
class Session:
    """Who talks about what.

    Args:
        rank: ours among ``orgs``, the pinned members' addresses.
        name: 32 bytes, equal at all members; another session's stream is refused.
    """

    rank: int
    orgs: tuple[bytes, ...]
    name: bytes

    def __post_init__(self) -> None:
        if len(self.name) != SESSION_BYTES or not 0 <= self.rank < len(self.orgs):
            raise Misuse("mpc.session", "a session has a name of 32 bytes and a rank among its members")

    def others(self) -> list[int]:
        return [rank for rank in range(len(self.orgs)) if rank != self.rank]

    def hello(self, sender: int, receiver: int) -> bytes:
        return _HELLO + self.name + self.orgs[sender] + self.orgs[receiver]


def host_of(org: bytes) -> str:
    """The DNS name in a member's certificate; it need not resolve."""
    return f"m-{org.hex()}.committee.consilium.internal"


def identify(pem: bytes, orgs: Sequence[bytes], credentials: Credentials) -> int:
    """Rank of the pinned member that a client's certificate names; TLS has verified its chain.

    Raises:
        Hostile: ``mpc.peer_identity``, ``certificate.*``. Refused: ``certificate.expired``, ``certificate.revoked``.
    """
    member = member_of(pem)
    member.check_time(now())
    if credentials.revocations is not None:
        credentials.revocations.check(member)
    if member.role != "committee" or member.org not in orgs:
        raise Hostile(
            "mpc.peer_identity", f"0x{member.org.hex()} as {member.role} is no member of the committee"
        )
    return orgs.index(member.org)
