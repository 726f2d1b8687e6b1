"""A consortium's authority for tests, and what an attacker would have instead."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crypto.certificates import Role, uri
from crypto.mpc.handshake import host_of

DAY = timedelta(days=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Papers:
    """PEM."""

    ca: bytes
    certificate: bytes
    key: bytes

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate).serial_number

    def files(self, folder: Path) -> dict[str, Path]:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = {"ca": "ca.pem", "certificate": "tls.pem", "key": "tls.key"}
        paths = {name: folder / file for name, file in found.items()}
        for name, path in paths.items():
            path.write_bytes(getattr(self, name))
            path.chmod(0o600)
        return paths


class Authority:
    def __init__(self, name: str = "test consortium") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        role: Role,
        org: bytes,
        *,
        begins: timedelta = -DAY,
        ends: timedelta = DAY,
        names: list[str] | None = None,
        uses: list[x509.ObjectIdentifier] | None = None,
    ) -> Papers:
        """A member's certificate; a coordinator's also serves, on loopback.

        Args:
            begins, ends: from now.
            names: URI names instead of the member's own. uses: instead of the role's own.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        alternative: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(n) for n in ([uri(role, org)] if names is None else names)
        ]
        if role == "committee":
            alternative.append(x509.DNSName(host_of(org)))
        alternative += [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(uses or ([SERVER, CLIENT] if role == "coordinator" else [CLIENT])),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Papers(
            self.pem,
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def revocations(self, *serials: int) -> bytes:
        """A signed list, PEM."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - DAY).next_update(now + DAY)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
