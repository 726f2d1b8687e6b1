"""The SuperLink as a child process: started, watched, started again; reachable through a Unix socket only.

It keeps everything in memory. Letters live in the spool; when it dies, nodes and run are registered anew.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Final

from consilium_children import Child, python
from consilium_errors import Unavailable
from coordinator.transport import grid

#: Most systems hold a socket's path in 108 bytes.
_LONGEST_SOCKET: Final = 100

#: Flower reports to its makers and looks for updates unless told not to.
QUIET: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_LOG_LEVEL": "WARNING",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


class SuperLink:
    """Args: folder: private (0700), for secret, socket and log."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.socket = _socket_in(folder)
        self.secret = grid.new_secret()
        secret_file = folder / "superlink.secret"
        _write_private(secret_file, self.secret)
        arguments = ("--socket", self.socket, "--secret-file", secret_file)
        self.child = Child(
            "superlink",
            python("coordinator.transport.server", *map(str, arguments)),
            log_path=folder / "superlink.log",
            environment={**QUIET, "FLWR_HOME": str(folder / "flower")},
            before=self._before,
        )

    def start(self) -> None:
        self.child.start()

    def stop(self) -> None:
        self.child.stop()
        self.socket.unlink(missing_ok=True)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Raises Unavailable ``transport.superlink`` if it does not come up."""
        deadline = time.monotonic() + timeout_s
        while not (self.child.pid and self.socket.exists()):
            if time.monotonic() > deadline:
                raise Unavailable(
                    "transport.superlink", "the SuperLink does not start", f"see {self.child.log_path}"
                )
            time.sleep(0.02)

    def _before(self) -> None:
        self.socket.unlink(missing_ok=True)


def _socket_in(folder: Path) -> Path:
    path = folder / "superlink.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    return Path(tempfile.mkdtemp(prefix="consilium-")) / path.name


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
