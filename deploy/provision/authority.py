"""The consortium's certificate authority: ECDSA on P-256, one level, X.509 as RFC 5280 wants it.

Its folder holds ca.pem, ca.key, revoked.pem (the revocation list) and issued/ (every certificate ever issued).
It is needed to provision, renew and revoke only: keep it offline otherwise.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from consilium_errors import Misuse
from crypto.certificates import Role, now, uri
from deploy.provision import files

PEM = serialization.Encoding.PEM
#: A peer whose clock is a little behind must not refuse a fresh certificate.
BACKDATED = timedelta(minutes=10)
LIST_DAYS = 366


@dataclass(frozen=True)
class Papers:
    """A certificate and its key, PEM. The repr shows neither."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Papers()"


class Authority:
    """Opened from its folder; `create` makes a new one."""

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.folder, self.certificate, self._key = folder, certificate, key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @classmethod
    def open(cls, folder: Path) -> Authority:
        """Raises Misuse ``authority.missing``, ``authority.malformed``."""
        try:
            pem, secret = (folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes()
        except OSError:
            raise Misuse(
                "authority.missing",
                f"no authority in {folder}",
                "name the folder that `consilium provision` made, with --authority",
            ) from None
        try:
            key = serialization.load_pem_private_key(secret, None)
            certificate = x509.load_pem_x509_certificate(pem)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise _malformed(folder) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise _malformed(folder)
        return cls(folder, certificate, key)

    @classmethod
    def create(cls, folder: Path, name: str, days: int, *, at: datetime | None = None) -> Authority:
        """A new authority with an empty revocation list; one that is there is opened instead."""
        files.folder(folder)
        if (folder / "ca.key").exists():
            return cls.open(folder)
        key, since = ec.generate_private_key(ec.SECP256R1()), at or now()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority")])
        ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            _builder(subject, subject, key, since, days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(ski, critical=False)
            .sign(key, hashes.SHA256())
        )
        made = cls(folder, certificate, key)
        # The key comes last: it is what says that the authority is whole.
        files.write(folder / "ca.pem", made.pem)
        files.write(folder / "revoked.pem", made.revocations(()))
        files.write(folder / "ca.key", _secret(key))
        return made

    def issue(
        self,
        name: str,
        role: Role,
        org: bytes,
        hosts: Sequence[str],
        days: int,
        *,
        at: datetime | None = None,
    ) -> Papers:
        """A fresh key and a certificate that speaks for ``org`` (20 bytes) in one role.

        Args:
            hosts: DNS names and IP addresses under which a server answers; empty: a client only.
        """
        key, since = ec.generate_private_key(ec.SECP256R1()), at or now()
        names = [x509.UniformResourceIdentifier(uri(role, org)), *map(_host, hosts)]
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH] + [ExtendedKeyUsageOID.SERVER_AUTH] * bool(hosts)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(subject, self.certificate.subject, key, since, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(aki, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(PEM)
        files.write(files.folder(self.folder / "issued") / f"{name}-{certificate.serial_number:x}.pem", pem)
        return Papers(pem, _secret(key))

    def issued(self, name: str) -> Iterator[x509.Certificate]:
        """Every certificate that ``name`` was ever given."""
        for path in sorted((self.folder / "issued").glob(f"{name}-*.pem")):
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            if certificate.subject.rfc4514_string() == f"CN={name}":
                yield certificate

    def revocations(self, serials: Iterable[int], *, at: datetime | None = None) -> bytes:
        """A signed revocation list, PEM."""
        since = at or now()
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(since).next_update(since + timedelta(days=LIST_DAYS))
        for serial in sorted(set(serials)):
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(PEM)

    def revoke(self, serials: Iterable[int]) -> bytes:
        """Add to the list in the folder; returns it."""
        path = self.folder / "revoked.pem"
        before = [entry.serial_number for entry in x509.load_pem_x509_crl(path.read_bytes())]
        listed = self.revocations([*before, *serials])
        files.write(path, listed)
        return listed


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, since: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - BACKDATED)
        .not_valid_after(since + timedelta(days=days))
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _malformed(folder: Path) -> Misuse:
    return Misuse(
        "authority.malformed", f"the authority in {folder} is damaged", "restore its folder from a backup"
    )
