"""Decryption in a process of its own, with limits and a timeout: whatever native code does, the caller lives.

Each decryption has a fresh process, forked in milliseconds from one that has everything loaded and knows
nothing (`_zygote`), so a broken one finds no other key in its memory. The caller, which may have threads,
never forks.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from consilium_errors import Hostile, Misuse, Unavailable
from crypto.secure_sum import bfv
from crypto.secure_sum._zygote import GRANTED, PIDFD, REFUSED, REQUEST, receive
from crypto.secure_sum.masks import PLAIN_BITS
from crypto.secure_sum.packing import U64

_REFUSALS = {"ciphertext.length", "ciphertext.coefficient", "ciphertext.transparent"}
_START_S = 60.0


class Decryptors:
    """Owns the process from which decryptions are forked. Threads may share it; it starts on first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = 0

    def __enter__(self) -> Decryptors:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    @property
    def pid(self) -> int | None:
        """Process id of the zygote, if one runs."""
        return self._zygote.pid if self._zygote else None

    def warm(self) -> None:
        """Start loading now, in the background; returns at once."""
        with self._lock:
            self._running()

    def shutdown(self) -> None:
        """End the zygote. Decryptions under way end by themselves; a later one starts a new zygote."""
        with self._lock:
            self._stop()

    def decrypt(self, seed: bytes, total: bytes, m: int, *, timeout_s: float) -> U64:
        """As `bfv.decrypt`, in a process of its own.

        Args:
            seed: 32 bytes; crosses to the child through a socket pair.
            total: ``bfv.total_size(m)`` bytes.
            m: number of coefficients.
            timeout_s: seconds from the request to the answer, without the start of the zygote.

        Raises:
            Hostile: as `bfv.decrypt`; ``ciphertext.crashed_decryptor`` if the child crashed or ran out
                of memory or time.
            Misuse: ``sum.key``, ``sum.empty``, ``sum.timeout``.
            Unavailable: ``sum.decryptor`` if no child can be started.
        """
        if len(seed) != bfv.SEED_BYTES:
            raise Misuse("sum.key", f"a key seed has {bfv.SEED_BYTES} bytes, not {len(seed)}")
        if not 0 < timeout_s < 1e6:
            raise Misuse("sum.timeout", f"a timeout of {timeout_s} s")
        bfv.check_total(total, m)
        job, pidfd = self._fork()
        try:
            with job:
                return _ask(job, seed, total, m, timeout_s)
        except (OSError, EOFError) as e:
            raise Hostile("ciphertext.crashed_decryptor", f"the decryption gave no answer: {e!r}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)

    def _fork(self) -> tuple[socket.socket, int]:
        """A child's socket and pidfd. A zygote found dead is replaced once."""
        for _ in range(2):
            job, far = socket.socketpair()
            job.settimeout(_START_S)
            control = None
            try:
                with self._lock, far:
                    control = self._running()
                    socket.send_fds(control, [b"j"], [far.fileno()])
                note, fds, _, _ = socket.recv_fds(job, 1, 1)
                if note == PIDFD and fds:
                    return job, fds[0]
            except OSError:
                pass
            job.close()
            self._discard(control)
        raise Unavailable("sum.decryptor", "no decryption process starts", "check memory and process limits")

    def _discard(self, control: socket.socket | None) -> None:
        with self._lock:
            if self._control is control:  # else another thread has replaced it already
                self._stop()

    def _running(self) -> socket.socket:
        alive = self._zygote is not None and self._owner == os.getpid() and self._zygote.poll() is None
        if alive and self._control is not None:
            return self._control
        self._stop()
        self._zygote, self._control = _start()
        self._owner = os.getpid()
        return self._control

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._zygote is not None and self._owner == os.getpid():
            self._zygote.kill()
            self._zygote.wait()
        self._control = self._zygote = None


def _start() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A zygote without our environment, files, terminal or signals."""
    near, far = socket.socketpair()
    root = str(Path(__file__).resolve().parents[2])
    kept = {k: v for k in ("PATH", "LD_LIBRARY_PATH", "LANG") if (v := os.environ.get(k))}
    with far:
        zygote = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "crypto.secure_sum._zygote", str(far.fileno())],
            pass_fds=[far.fileno()],
            env={**kept, "PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return zygote, near


def _ask(job: socket.socket, seed: bytes, total: bytes, m: int, timeout_s: float) -> U64:
    deadline = time.monotonic() + timeout_s
    job.settimeout(timeout_s)
    job.sendall(REQUEST.pack(m, len(total), timeout_s) + seed)
    job.sendall(total)
    note = receive(job, 1, deadline)
    if note == REFUSED:
        code = receive(job, receive(job, 1, deadline)[0], deadline).decode("ascii", "replace")
        if code in _REFUSALS:
            raise Hostile(code, "the decryption process refused the total")
        raise EOFError
    if note != GRANTED:
        raise EOFError
    opened = np.frombuffer(receive(job, 8 * m, deadline), "<u8").astype(np.uint64, copy=False)
    if int(opened.max()) >> PLAIN_BITS:
        raise EOFError
    return opened


_shared = Decryptors()
atexit.register(_shared.shutdown)


def decrypt_in_child(seed: bytes, total: bytes, m: int, *, timeout_s: float) -> U64:
    """`Decryptors.decrypt` on the process-wide instance."""
    return _shared.decrypt(seed, total, m, timeout_s=timeout_s)


def warm() -> None:
    _shared.warm()


def shutdown() -> None:
    _shared.shutdown()
