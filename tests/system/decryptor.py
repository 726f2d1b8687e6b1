"""Harm to the processes that decrypt for a hospital, done from inside the hospital, at the one instant that counts.

``job-once``     the child that holds the key is killed at its first decryption;
``job-always``   at every decryption;
``zygote-once``  the process from which children are forked is killed before the first decryption;
``self-once``    the hospital kills itself while its child is at work.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from crypto.secure_sum import child
from crypto.secure_sum.packing import U64
from tests.system.faults import die

_fork, _ask = child.Decryptors._fork, child._ask


def harm(how: str, home: Path, note: Callable[[str], None]) -> None:
    """Wire this process's decryptions to be harmed as ``how`` says; "" for not at all."""
    if not how.startswith(("job", "zygote", "self")):
        return
    mark = home / "harmed"  # outlives the hospital's process

    def due() -> bool:
        if how.endswith("-once") and mark.exists():
            return False
        mark.touch()
        return True

    def fork(self: child.Decryptors) -> tuple[socket.socket, int]:
        if how.startswith("zygote") and due():
            child.warm()
            os.kill(_zygote(), signal.SIGKILL)
            note("zygote killed")
        return _fork(self)

    def ask(job: socket.socket, seed: bytes, total: bytes, m: int, timeout_s: float) -> U64:
        if how.startswith("job") and due():
            for pid in _jobs():
                os.kill(pid, signal.SIGKILL)
                note("job killed")
        elif how.startswith("self") and due():
            (mark.parent / "orphans").write_text(" ".join(map(str, [_zygote(), *_jobs()])))
            die()
        return _ask(job, seed, total, m, timeout_s)

    child.Decryptors._fork = fork  # type: ignore[method-assign]
    child._ask = ask


def _zygote() -> int:
    pid = child._shared.pid
    if pid is None:
        raise AssertionError("no zygote runs")
    return pid


def _jobs() -> list[int]:
    zygote = _zygote()
    found = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
    if not found:
        raise AssertionError("no child decrypts")
    return [int(pid) for pid in found]
