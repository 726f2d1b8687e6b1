"""The process from which each decryption is forked. Run as ``python -m crypto.secure_sum._zygote FD``.

It has one thread, has loaded everything, holds no key and reads no ciphertext. For each socket that arrives
on FD it forks a child, hands the child's pidfd back through that socket, and forgets it. The child limits
itself, reads one request from the socket, answers, and ends. The zygote ends when FD closes.

Request:  `REQUEST` (m, bytes of the total, seconds), 32 bytes of seed, the total.
Answer:   b"+" and m little-endian uint64, or b"-", a length byte and the code of a typed refusal.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import socket
import struct
import sys
import time

from consilium_errors import Error
from crypto.secure_sum import bfv

REQUEST = struct.Struct("<QQd")
GRANTED, REFUSED, PIDFD = b"+", b"-", b"p"
_BASE_BYTES = 256 << 20


def receive(sock: socket.socket, size: int, deadline: float | None = None) -> bytearray:
    """Exactly ``size`` bytes, or EOFError; TimeoutError once ``time.monotonic()`` has passed ``deadline``."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        if deadline is not None:
            sock.settimeout(max(deadline - time.monotonic(), 1e-6))
        got = sock.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
    return data


def serve(control: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    while True:
        note, fds, _, _ = socket.recv_fds(control, 1, 1)
        if not note or not fds:
            return
        with socket.socket(fileno=fds[0]) as job:
            pid = os.fork()
            if not pid:
                control.close()
                _child(job)
            with contextlib.suppress(OSError):  # the child or the caller is already gone: the socket closes
                pidfd = os.pidfd_open(pid)
                try:
                    socket.send_fds(job, [PIDFD], [pidfd])
                finally:
                    os.close(pidfd)


def _child(job: socket.socket) -> None:
    try:
        m, size, seconds = REQUEST.unpack(receive(job, REQUEST.size))
        _limit(m, size, seconds)
        _answer(job, m, size)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _answer(job: socket.socket, m: int, size: int) -> None:
    seed = bytes(receive(job, bfv.SEED_BYTES))
    total = bytes(receive(job, size))
    try:
        opened = bfv.decrypt(seed, total, m)
    except Error as refusal:
        code = refusal.code.encode()
        job.sendall(REFUSED + bytes([len(code)]) + code)
        return
    job.sendall(GRANTED)
    job.sendall(opened.astype("<u8", copy=False).data)


def _limit(m: int, size: int, seconds: float) -> None:
    """Bound memory, processor time, open files and wall clock; no core file, which would hold the key."""
    with open("/proc/self/statm") as f:  # noqa: PTH123
        used = int(f.read().split()[0]) * resource.getpagesize()
    cpu = math.ceil(seconds) + 1
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_AS: used + _BASE_BYTES + 4 * size + 64 * m,
    }
    for which, most in limits.items():
        _, hard = resource.getrlimit(which)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)  # kills it even if the caller is gone


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    _warm()
    serve(control)


def _warm() -> None:
    """Load SEAL and run it once, so that children need not; on a key and a message that mean nothing."""
    import numpy as np

    adder = bfv.Adder(1)
    adder.add(bfv.encrypt(bytes(bfv.SEED_BYTES), np.zeros(1, np.uint64)))
    bfv.decrypt(bytes(bfv.SEED_BYTES), adder.total(), 1)


if __name__ == "__main__":
    main()
