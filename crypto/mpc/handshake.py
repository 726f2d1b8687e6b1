"""One TLS 1.3 connection between two members: who is at the other end, and that both mean the same session.

The certificate must name exactly ``consilium://committee/<0xaddress>`` of a pinned member. Each connection
carries frames one way only, from the dialler: an OpenSSL connection is not for two threads at once.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consilium_errors import Hostile, Misuse
from crypto.certificates import Revocations, member_of, now

_HELLO: Final = b"consilium mpc/1\0"
SESSION_BYTES: Final = 32


@dataclass(frozen=True)
class Credentials:
    """PEM files of one kit; ``revocations`` keeps out what the authority has withdrawn since."""

    ca: Path
    certificate: Path
    key: Path
    revocations: Revocations | None = None

    def context(self, purpose: int) -> ssl.SSLContext:
        """For ``ssl.PROTOCOL_TLS_CLIENT`` or ``ssl.PROTOCOL_TLS_SERVER``.

        Raises:
            Misuse: ``mpc.credentials``.
        """
        context = ssl.SSLContext(purpose)
        context.check_hostname = False  # a member is named by its address, which `identify` compares
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.options |= ssl.OP_NO_TICKET
        if purpose == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # the dialler never reads, so nothing may be sent to it
        try:
            context.load_verify_locations(self.ca)
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError):
            raise Misuse("mpc.credentials", "ca, certificate or key cannot be read", "use one kit") from None
        return context


@dataclass(frozen=True)
class Session:
    """Who talks about what.

    Args:
        rank: ours among ``orgs``, the pinned members' addresses.
        name: 32 bytes, equal at all members; another session's connection is refused.
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


def identify(tls: ssl.SSLSocket, orgs: Sequence[bytes], credentials: Credentials) -> int:
    """Rank of the pinned member at the other end.

    Raises:
        Hostile: ``mpc.peer_identity``, ``certificate.*``. Refused: ``certificate.expired``, ``certificate.revoked``.
    """
    certificate = tls.getpeercert(binary_form=True)
    if tls.version() != "TLSv1.3" or certificate is None:
        raise Hostile("mpc.peer_identity", "a connection without TLS 1.3 on both sides")
    member = member_of(ssl.DER_cert_to_PEM_cert(certificate).encode())
    member.check_time(now())
    if credentials.revocations is not None:
        credentials.revocations.check(member)
    if member.role != "committee" or member.org not in orgs:
        raise Hostile(
            "mpc.peer_identity", f"0x{member.org.hex()} as {member.role} is no member of the committee"
        )
    return orgs.index(member.org)


def dial(
    raw: socket.socket, context: ssl.SSLContext, peer: int, session: Session, credentials: Credentials
) -> ssl.SSLSocket:
    """Raises Hostile ``mpc.peer_identity``; OSError if the connection fails or the peer declines."""
    tls = context.wrap_socket(raw)
    try:
        if identify(tls, session.orgs, credentials) != peer:
            raise Hostile("mpc.peer_identity", f"another member answers at the address of member {peer}")
        tls.sendall(session.hello(session.rank, peer))
        expected = session.hello(peer, session.rank)
        if _exactly(tls, len(expected)) != expected:
            raise ConnectionError("the peer is in another session")
    except BaseException:
        tls.close()
        raise
    return tls


def answer(
    raw: socket.socket, context: ssl.SSLContext, session: Session, credentials: Credentials
) -> tuple[int, ssl.SSLSocket]:
    """Raises Hostile ``mpc.peer_identity``; OSError if the connection fails."""
    tls = context.wrap_socket(raw, server_side=True)
    try:
        peer = identify(tls, session.orgs, credentials)
        expected = session.hello(peer, session.rank)
        if peer == session.rank or _exactly(tls, len(expected)) != expected:
            raise Hostile("mpc.peer_identity", "a member greets from another session")
        tls.sendall(session.hello(session.rank, peer))
    except BaseException:
        tls.close()
        raise
    return peer, tls


def _exactly(tls: ssl.SSLSocket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        step = tls.recv(size - len(found))
        if not step:
            raise ConnectionError("closed during the greeting")
        found += step
    return found
