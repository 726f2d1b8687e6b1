"""Who a TLS certificate speaks for: one URI subject alternative name ``consilium://<role>/<0xaddress>``.

TLS proves that the consortium's authority issued the certificate and that the peer holds its key. This module
reads what it says, and keeps out what has expired or was revoked since (RFC 5280 certificates and lists).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast, get_args

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from consilium_errors import Hostile, Misuse, Refused

Role = Literal["sponsor", "regulator", "hospital", "coordinator", "committee"]
ROLES: tuple[Role, ...] = get_args(Role)
_NAME = re.compile(rf"consilium://({'|'.join(ROLES)})/0x([0-9a-f]{{40}})")


def now() -> datetime:
    return datetime.now(UTC)


def uri(role: Role, org: bytes) -> str:
    """The name that the authority writes into a certificate; ``org`` has 20 bytes."""
    return f"consilium://{role}/0x{org.hex()}"


@dataclass(frozen=True)
class Member:
    """Whom a certificate names, and for how long."""

    role: Role
    org: bytes
    serial: int
    not_before: datetime
    not_after: datetime

    def check_time(self, at: datetime) -> None:
        """Raises Refused ``certificate.expired`` outside the certificate's time."""
        if not self.not_before <= at <= self.not_after:
            raise Refused("certificate.expired", "the certificate is not valid at this time", _RENEW)


_RENEW = "ask the consortium's authority for a new certificate (consilium provision renew)"


@lru_cache(maxsize=1024)
def member_of(pem: bytes) -> Member:
    """Read the name in a certificate whose chain TLS has verified.

    Raises:
        Hostile: ``certificate.malformed``; ``certificate.name`` unless it names exactly one member.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, UnsupportedAlgorithm):
        raise Hostile("certificate.malformed", "not a certificate with a subject alternative name") from None
    found = [n for n in names.get_values_for_type(x509.UniformResourceIdentifier) if ":" in n]
    matched = _NAME.fullmatch(found[0]) if len(found) == 1 else None
    if matched is None:
        raise Hostile("certificate.name", "the certificate names no one member of a consortium")
    return Member(
        role=cast(Role, matched[1]),
        org=bytes.fromhex(matched[2]),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


class Revocations:
    """The authority's revocation list in a PEM file, read again whenever the file changes.

    A list that its authority did not sign, or that is damaged, never replaces the last good one; without a good
    one everybody is refused.

    Raises:
        Misuse: ``certificate.list`` if the first list is missing or bad.
    """

    def __init__(self, path: Path, ca_pem: bytes) -> None:
        self._path, self._ca_pem = path, ca_pem
        self._ca = x509.load_pem_x509_certificate(ca_pem)
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._serials: frozenset[int] = frozenset()
        self._refresh()
        if self._seen is None:
            raise Misuse(
                "certificate.list", f"no revocation list in {path}", "write the authority's list there"
            )

    def __reduce__(self) -> tuple[type[Revocations], tuple[Path, bytes]]:
        """For a child process, which reads the list itself."""
        return Revocations, (self._path, self._ca_pem)

    def check(self, member: Member) -> None:
        """Raises Refused ``certificate.revoked``."""
        with self._lock:
            self._refresh()
            if member.serial in self._serials:
                raise Refused("certificate.revoked", "the certificate was revoked", _RENEW)

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
            if mark == self._seen:
                return
            found = _serials(self._path.read_bytes(), self._ca)
        except OSError:
            return  # being replaced: the last good list stays in force
        except Misuse:
            if self._seen is None:
                raise
            return
        self._seen, self._serials = mark, found


def _serials(pem: bytes, ca: x509.Certificate) -> frozenset[int]:
    try:
        listed = x509.load_pem_x509_crl(pem)
        signed = listed.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        signed = False
    if not signed:
        raise Misuse("certificate.list", "not a revocation list by the consortium's authority", _LIST)
    return frozenset(entry.serial_number for entry in listed)


_LIST = "copy the list from the authority again"


def check_own(ca: bytes, certificate: bytes, key: bytes, *, clock: Callable[[], datetime] = now) -> Member:
    """One's own files before they are used: a mistake is named at home, not as a broken connection.

    Args:
        ca, certificate, key: PEM.

    Raises:
        Misuse: ``certificate.malformed``, ``certificate.foreign``, ``certificate.key``, ``certificate.expired``.
    """
    try:
        own, authority = x509.load_pem_x509_certificate(certificate), x509.load_pem_x509_certificate(ca)
        secret = serialization.load_pem_private_key(key, None)
        member = member_of(certificate)
    except (ValueError, TypeError, UnsupportedAlgorithm, Hostile):
        raise Misuse("certificate.malformed", "a certificate or key cannot be read", _KIT) from None
    try:
        own.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        raise Misuse("certificate.foreign", "the certificate is another authority's", _KIT) from None
    if secret.public_key() != own.public_key():
        raise Misuse("certificate.key", "the key belongs to another certificate", _KIT)
    if not member.not_before <= clock() <= member.not_after:
        raise Misuse("certificate.expired", f"valid until {member.not_after:%Y-%m-%d %H:%M} UTC", _RENEW)
    return member


_KIT = "use ca.pem, tls.pem and tls.key of one kit"
