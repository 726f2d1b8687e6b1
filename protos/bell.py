"""A bell between two processes of one machine: whoever waits for it wakes at once when it is rung.

It carries no meaning: who wakes looks for itself, and looks now and then though nobody rang.
"""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

from consilium_errors import Unavailable


class Bell:
    """A named pipe with mode 0600. Any process may ring; the one that waits keeps it open.

    Raises:
        Unavailable: ``spool.disk`` when it cannot be made or opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            if not path.exists() or not stat.S_ISFIFO(path.stat().st_mode):
                path.unlink(missing_ok=True)
                os.mkfifo(path, 0o600)
            # Both ends: with a reader that never goes, a ring before the wait is kept and none fails.
            self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileExistsError:  # the other process made it this instant
            self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(
                "spool.disk", f"no bell in {path.parent.name}: {error}", "free space"
            ) from error

    def ring(self) -> None:
        try:
            os.write(self._pipe, b"\1")
        except BlockingIOError:
            return  # rung often enough

    def wait(self, timeout_s: float) -> bool:
        """True if it was rung, once for all rings until now."""
        ready, _, _ = select.select([self._pipe], [], [], max(timeout_s, 0.0))
        if not ready:
            return False
        try:
            while os.read(self._pipe, 4096):
                continue
        except BlockingIOError:
            pass
        return True

    def close(self) -> None:
        os.close(self._pipe)
