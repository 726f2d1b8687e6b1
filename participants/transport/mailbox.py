"""The hospital's mailbox over Flower: a durable spool here, a node as child process that carries it out."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from consilium_children import Child, python
from consilium_errors import Misuse
from protos.bell import Bell
from protos.mailbox import Letter
from protos.spool import Spool

#: Flower reports to its makers and looks for updates unless told not to.
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_LOG_LEVEL": "WARNING"}


@dataclass(frozen=True)
class NodeConfig:
    """The hospital's side.

    Args:
        folder: private; spool, settings, log.
        server: host:port of the coordinator's gate, as its certificate names it.
        ca, certificate, key: PEM files; the certificate names ``consilium://hospital/<address>``.
        node_key: private key of the node (OpenSSH, P-256); the coordinator's roster holds its public half.
        org, coordinator: addresses (20 bytes).
    """

    folder: Path
    server: str
    ca: Path
    certificate: Path
    key: Path
    node_key: Path
    org: bytes
    coordinator: bytes


class NodeMailbox:
    """A `protos.mailbox.Mailbox`; letters go to the coordinator only.

    Raises:
        Misuse: ``transport.file`` names a file of the kit that is not there.
    """

    def __init__(self, config: NodeConfig) -> None:
        for path in (config.ca, config.certificate, config.key, config.node_key):
            if not path.is_file():
                raise Misuse(
                    "transport.file", f"there is no {path}", "run consilium provision, or mend the path"
                )
        config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.folder.chmod(0o700)
        self.config = config
        self.spool = Spool(config.folder / "spool.db", config.org)
        self._came, self._posted = bells(config.folder)
        settings = config.folder / "node.json"
        _write(settings, json.dumps(_settings(config)))
        self.child = Child(
            "node",
            python("participants.transport.node", str(settings)),
            log_path=config.folder / "node.log",
            environment={**QUIET, "FLWR_HOME": str(config.folder / "flower")},
        )

    def start(self) -> None:
        self.child.start()

    def stop(self) -> None:
        self.child.stop()
        self.spool.close()
        self._came.close()
        self._posted.close()

    def trouble(self) -> str:
        """Why the line is down, as a code (``transport.tls``, ``transport.clock_skew``, …); empty if it is not."""
        path = self.config.folder / "node.trouble"
        return path.read_text() if path.exists() else ""

    def post(self, to: bytes, body: bytes) -> None:
        """Raises Misuse ``transport.stranger`` for anybody but the coordinator."""
        if to != self.config.coordinator:
            raise Misuse("transport.stranger", "a hospital writes to its coordinator only")
        self.spool.post(to, body)
        self._posted.ring()

    def fetch(self, to: bytes, most: int = 64) -> list[Letter]:
        return self.spool.fetch(to, most)

    def acknowledge(self, to: bytes, number: int) -> None:
        self.spool.acknowledge(to, number)

    def wait(self, timeout_s: float) -> None:
        self._came.wait(timeout_s)


def bells(folder: Path) -> tuple[Bell, Bell]:
    """Beside the spool: the node rings the first when a letter has come, the hospital the second when it wrote."""
    return Bell(folder / "came.bell"), Bell(folder / "posted.bell")


def _settings(config: NodeConfig) -> dict[str, str]:
    return {
        "server": config.server,
        "ca": str(config.ca),
        "certificate": str(config.certificate),
        "key": str(config.key),
        "node_key": str(config.node_key),
        "spool": str(config.folder / "spool.db"),
        "node_id_file": str(config.folder / "node.id"),
        "trouble_file": str(config.folder / "node.trouble"),
        "org": config.org.hex(),
        "coordinator": config.coordinator.hex(),
    }


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
