"""Child processes that are kept running: started, watched, started again, and never left behind.

A child holds the read end of a pipe as its standard input; it ends when the pipe closes (`end_with_parent`), so
that a parent killed with SIGKILL leaves no orphan. A command that is not ours is `bound` by the kernel instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import structlog

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
STEADY_S = 10.0
MAX_LOG = 16 << 20


class Child:
    """One command, run again whenever it ends.

    Args:
        name: for the log. ``log_path``: its output, 0600, begun anew beyond 16 MiB.
        before: called before each start, e.g. to remove a stale socket.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.starts = 0
        self.last_exit: int | None = None
        self._command, self.log_path, self._before = list(command), log_path, before
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"child-{name}", daemon=True)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        self._thread.start()

    def stop(self, grace_s: float = 5.0) -> None:
        self._stopping.set()
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join(grace_s)

    def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._run_once()
            except OSError as error:
                log.warning("child not started", child=self.name, error=type(error).__name__)
            if self._stopping.is_set():
                return
            log.warning("child ended", child=self.name, status=self.last_exit)
            steady = time.monotonic() - began > STEADY_S
            pause = FIRST_PAUSE_S if steady else min(pause * 2, LONGEST_PAUSE_S)
            self._stopping.wait(pause)

    def _run_once(self) -> None:
        self._before()
        with self._open_log() as output:
            self._process = process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=self._environment
            )
        self.starts += 1
        if self._stopping.is_set():
            process.kill()
        self.last_exit = process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _open_log(self) -> BinaryIO:
        too_long = self.log_path.exists() and self.log_path.stat().st_size > MAX_LOG
        mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if too_long else 0)
        return os.fdopen(os.open(self.log_path, mode, 0o600), "ab")


def end_with_parent() -> None:
    """Called in a child: end at once when the parent is gone."""

    def watch() -> None:
        while True:
            try:
                if not os.read(0, 1):
                    break
            except OSError:
                break
        os._exit(0)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


#: Asks the kernel to be killed with its parent, looks whether that is still there, becomes the command.
_BIND = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9);"
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


def bound(command: Sequence[str]) -> list[str]:
    """The command, killed by the kernel as soon as the thread that started it ends (Linux, prctl(2))."""
    return [sys.executable, "-I", "-S", "-c", _BIND, str(os.getpid()), *command]


def python(module: str, *arguments: str) -> list[str]:
    """Command that runs a module of ours in this interpreter."""
    return [sys.executable, "-m", module, *arguments]
