"""New certificates for old, and certificates that are not to be believed any more."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from consilium_errors import Hostile, Misuse
from crypto.certificates import Member, member_of
from deploy.provision import files
from deploy.provision.authority import Authority


def renew(kit: Path, authority: Authority, days: int = 397, *, at: datetime | None = None) -> Member:
    """A fresh key and certificate for the same organisation, role and host names; the old pair is kept as
    ``tls.pem.old`` and ``tls.key.old`` until the next renewal. The old certificate stays valid to its end.

    Raises:
        Misuse: ``certificate.missing``, ``certificate.malformed``, ``certificate.foreign``.
    """
    path = kit / "tls.pem"
    old, member = _known(path, authority)
    name = str(old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    alternative = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = [*alternative.get_values_for_type(x509.DNSName)]
    hosts += [str(ip) for ip in alternative.get_values_for_type(x509.IPAddress)]
    papers = authority.issue(name, member.role, member.org, hosts, days, at=at)
    for file in (path, kit / "tls.key"):
        if file.exists():
            shutil.copy2(file, file.with_name(f"{file.name}.old"))
    # A kill between the two leaves a pair that does not fit; `doctor` says so, and renewing again mends it.
    files.write(kit / "tls.key", papers.key)
    files.write(path, papers.certificate)
    files.write(kit / "ca.pem", authority.pem)
    return member_of(papers.certificate)


def _known(path: Path, authority: Authority) -> tuple[x509.Certificate, Member]:
    try:
        pem = path.read_bytes()
        old, member = x509.load_pem_x509_certificate(pem), member_of(pem)
    except OSError:
        raise Misuse(
            "certificate.missing", f"no certificate in {path.parent}", "name a kit's folder"
        ) from None
    except (ValueError, Hostile):
        raise Misuse("certificate.malformed", f"{path} is no certificate of a member", "restore it") from None
    try:
        old.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        raise Misuse(
            "certificate.foreign", f"{path} is another authority's", "name the right one with --authority"
        ) from None
    return old, member


def revoke(name: str, authority: Authority, *, keep: Path | None = None) -> bytes:
    """Put every certificate ever issued to ``name`` on the list; returns the list, for the coordinator.

    Args:
        keep: a certificate that stays good, so that what was lost before a renewal can be revoked.

    Raises:
        Misuse: ``certificate.unknown``.
    """
    spared = x509.load_pem_x509_certificate(keep.read_bytes()).serial_number if keep else None
    serials = [c.serial_number for c in authority.issued(name) if c.serial_number != spared]
    if not serials:
        raise Misuse("certificate.unknown", f"nothing was issued to {name}", "see issued/ of the authority")
    return authority.revoke(serials)
