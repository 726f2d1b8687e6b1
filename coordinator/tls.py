"""The server's own certificate, taken from its files anew when they change: renewal needs no restart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc
import structlog

from consilium_errors import Misuse
from crypto import certificates

log = structlog.get_logger(__name__)

Mark = tuple[tuple[int, int, int], ...]


class OwnPapers:
    """CA, certificate and key of one member, checked before they are used.

    Raises:
        Misuse: ``certificate.*`` for files that do not fit; ``server.role`` if they are not ``org``'s in the
            coordinator's role.
    """

    def __init__(self, ca: Path, certificate: Path, key: Path, org: bytes) -> None:
        self._paths, self._org = (ca, certificate, key), org
        self._lock = threading.Lock()
        self._seen = self._mark()
        self._configuration = self._load()

    def credentials(self) -> grpc.ServerCredentials:
        """Mutual TLS; the files are looked at with each new connection."""
        newer = cast(Callable[[], grpc.ServerCertificateConfiguration], self._newer)  # None: as before
        return grpc.dynamic_ssl_server_credentials(
            self._configuration, newer, require_client_authentication=True
        )

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What replaces the configuration in force; files that do not fit (yet) replace nothing."""
        with self._lock:
            try:
                mark = self._mark()
                if mark == self._seen:
                    return None
                found = self._load()
            except Misuse as error:
                log.warning("certificate not replaced", code=error.code)
                return None
            self._seen = mark
            log.info("certificate replaced")
            return found

    def _load(self) -> grpc.ServerCertificateConfiguration:
        ca, certificate, key = (_read(path) for path in self._paths)
        member = certificates.check_own(ca, certificate, key)
        if (member.role, member.org) != ("coordinator", self._org):
            raise Misuse("server.role", "the certificate is not this coordinator's", "use its own kit")
        self.ca = ca
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=ca)

    def _mark(self) -> Mark:
        try:
            found = [path.stat() for path in self._paths]
        except OSError:
            raise _missing(self._paths[1]) from None
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in found)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise _missing(path) from None


def _missing(path: Path) -> Misuse:
    return Misuse("certificate.missing", f"cannot read {path}", "name a kit's files")
