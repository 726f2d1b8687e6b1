"""One serving process for each state folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consilium_errors import Misuse


@contextmanager
def alone(state: Path, code: str) -> Iterator[None]:
    """No other process serves from ``state`` meanwhile.

    Raises:
        Misuse: ``code``.
    """
    descriptor = os.open(state / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Misuse(code, "this kit is being served already", "stop that process first") from None
        yield
    finally:
        os.close(descriptor)
