import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from consilium_errors import Error, Hostile, Misuse, Unavailable
from crypto.secure_sum import bfv, child
from crypto.secure_sum._zygote import REQUEST, receive

ROOT = Path(__file__).parents[3]
BIG = 2_000_000  # coefficients: long enough to catch a decryption at work


def total_of(seed: bytes, m: int) -> tuple[bytes, np.ndarray]:
    """A total of many blocks, cheaply: one encrypted block, repeated."""
    c = np.arange(bfv.N, dtype=np.uint64)
    adder = bfv.Adder(bfv.N)
    adder.add(bfv.encrypt(seed, c))
    one, times = adder.total(), -(-m // bfv.N)
    c0, c1 = one[: 7 * bfv.N], one[7 * bfv.N :]
    return (c0 * times)[: 7 * m] + c1 * times, np.tile(c, times)[:m]


@pytest.fixture(scope="module")
def seed() -> bytes:
    return os.urandom(32)


@pytest.fixture(scope="module")
def big(seed) -> tuple[bytes, np.ndarray]:
    return total_of(seed, BIG)


@pytest.fixture
def decryptors() -> Iterator[child.Decryptors]:
    with child.Decryptors() as made:
        yield made


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_for(found: Callable[[], object], seconds: float = 20) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.002)
    raise AssertionError("did not happen")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Job(threading.Thread):
    """A decryption in a thread, so that its child can be attacked."""

    def __init__(
        self, decryptors: child.Decryptors, seed: bytes, total: bytes, m: int, timeout_s: float
    ) -> None:
        super().__init__()
        self._call = lambda: decryptors.decrypt(seed, total, m, timeout_s=timeout_s)
        self.result: np.ndarray | Error | None = None
        decryptors.decrypt(seed, *small(seed), timeout_s=20)  # the zygote is up
        wait_for(lambda: not children(decryptors.pid))
        self.start()
        self.child = wait_for(lambda: children(decryptors.pid))[0]

    def run(self) -> None:
        try:
            self.result = self._call()
        except Error as e:
            self.result = e

    def outcome(self) -> np.ndarray | Error | None:
        self.join(30)
        return self.result


def small(seed: bytes) -> tuple[bytes, int]:
    return total_of(seed, 10)[0], 10


@pytest.mark.parametrize("m", [1, 4096, 4097, 50_000])
def test_round_trip(seed, m):
    total, c = total_of(seed, m)
    assert np.array_equal(child.decrypt_in_child(seed, total, m, timeout_s=20), c)


def test_refusals_keep_their_code(seed, decryptors):
    total, m = small(seed)
    for bad, code in [
        (total[1:], "ciphertext.length"),
        (b"\xff" * 7 + total[7:], "ciphertext.coefficient"),
        (total[: 7 * m] + bytes(7 * bfv.N), "ciphertext.transparent"),
    ]:
        with pytest.raises(Hostile) as e:
            decryptors.decrypt(seed, bad, m, timeout_s=20)
        assert e.value.code == code


def test_mistakes(seed, decryptors):
    total, m = small(seed)
    for args, timeout, code in [
        ((seed[1:], total, m), 1, "sum.key"),
        ((seed, total, m), 0, "sum.timeout"),
        ((seed, total, m), float("inf"), "sum.timeout"),
        ((seed, total, 0), 1, "sum.empty"),
    ]:
        with pytest.raises(Misuse) as e:
            decryptors.decrypt(*args, timeout_s=timeout)
        assert e.value.code == code
    assert decryptors.pid is None


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_is_a_typed_error_and_the_next_one_works(seed, big, decryptors, kill):
    job = Job(decryptors, seed, big[0], BIG, 30)
    os.kill(job.child, kill)
    error = job.outcome()
    assert isinstance(error, Hostile)
    assert error.code == "ciphertext.crashed_decryptor"
    assert decryptors.decrypt(seed, *small(seed), timeout_s=20).tolist() == list(range(10))


def test_a_hang_ends_with_the_timeout_and_leaves_no_process(seed, big, decryptors):
    started = time.monotonic()
    job = Job(decryptors, seed, big[0], BIG, 1.0)
    os.kill(job.child, signal.SIGSTOP)
    error = job.outcome()
    assert time.monotonic() - started < 5
    assert isinstance(error, Hostile)
    assert error.code == "ciphertext.crashed_decryptor"
    wait_for(lambda: gone(job.child))


def test_too_short_a_timeout(seed, big, decryptors):
    decryptors.decrypt(seed, *small(seed), timeout_s=20)
    with pytest.raises(Hostile) as e:
        decryptors.decrypt(seed, big[0], BIG, timeout_s=0.02)
    assert e.value.code == "ciphertext.crashed_decryptor"


def test_limits_of_the_child(seed, big, decryptors):
    job = Job(decryptors, seed, big[0], BIG, 3.0)

    def limits() -> dict[str, list[str]]:
        lines = Path(f"/proc/{job.child}/limits").read_text().splitlines()
        return {line[:26].strip(): line[26:].split()[:2] for line in lines}

    wait_for(lambda: limits()["Max address space"][0] != "unlimited")  # the last to be set
    os.kill(job.child, signal.SIGSTOP)
    rows = limits()
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max cpu time"] == ["4", "4"]
    assert rows["Max open files"] == ["32", "32"]
    assert int(rows["Max address space"][1]) < 3 << 30
    os.kill(job.child, signal.SIGCONT)
    assert np.array_equal(job.outcome(), big[1])


def test_each_decryption_has_a_process_of_its_own(seed, big, decryptors):
    first = Job(decryptors, seed, big[0], BIG, 30)
    assert np.array_equal(first.outcome(), big[1])
    second = Job(decryptors, seed, big[0], BIG, 30)
    assert np.array_equal(second.outcome(), big[1])
    assert first.child != second.child
    wait_for(lambda: gone(second.child))


def test_a_dead_zygote_is_replaced_and_its_children_finish(seed, big, decryptors):
    job = Job(decryptors, seed, big[0], BIG, 30)
    before = decryptors.pid
    os.kill(before, signal.SIGKILL)
    assert decryptors.decrypt(seed, *small(seed), timeout_s=20).tolist() == list(range(10))
    assert decryptors.pid != before
    assert np.array_equal(job.outcome(), big[1])


def test_shutdown_ends_it_and_it_can_start_again(seed, decryptors):
    decryptors.warm()
    first = decryptors.pid
    decryptors.decrypt(seed, *small(seed), timeout_s=20)
    assert decryptors.pid == first
    decryptors.shutdown()
    assert decryptors.pid is None
    assert gone(first)
    decryptors.decrypt(seed, *small(seed), timeout_s=20)
    assert decryptors.pid != first


def test_no_process_can_be_started(seed, decryptors, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unavailable) as e:
        decryptors.decrypt(seed, *small(seed), timeout_s=5)
    assert e.value.code == "sum.decryptor"


def test_threads_share_it(seed, decryptors):
    results = []

    def work(k: int) -> None:
        own = bytes([k]) * 32
        total, c = total_of(own, 9000)
        for _ in range(5):
            results.append(np.array_equal(decryptors.decrypt(own, total, 9000, timeout_s=20), c))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [True] * 20


def test_the_zygote_gets_nothing_of_ours(seed, decryptors, monkeypatch):
    monkeypatch.setenv("CONSILIUM_TEST_SECRET", "hunter2")
    secret = os.memfd_create("secret", 0)
    os.set_inheritable(secret, True)
    decryptors.decrypt(seed, *small(seed), timeout_s=20)
    assert b"hunter2" not in Path(f"/proc/{decryptors.pid}/environ").read_bytes()
    links = [str(p.readlink()) for p in Path(f"/proc/{decryptors.pid}/fd").iterdir()]
    assert not any("secret" in link for link in links)
    assert os.getsid(decryptors.pid) == decryptors.pid  # a Ctrl-C at our terminal is not for it
    # one thread, so that forking it is safe
    assert len(list(Path(f"/proc/{decryptors.pid}/task").iterdir())) == 1
    os.close(secret)


def test_the_zygote_ends_with_its_owner():
    code = (
        "import os, signal; from crypto.secure_sum import child\n"
        "child.warm(); print(child._shared.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=30)
    assert run.returncode == -signal.SIGKILL
    wait_for(lambda: gone(int(run.stdout)))


def slowly(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for _ in range(100):
            sock.sendall(b"+")
            time.sleep(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"?" + bytes(80),
        b"+" + bytes(79),
        b"+" + (1 << 45).to_bytes(8, "little") * 10,
        b"-",
        b"-\xff" + b"a" * 254,
        b"-\x07unknown",
        b"-\x04\xff\xff\xff\xff",
        slowly,
    ],
    ids=["nothing", "note", "short", "range", "bare", "cut", "code", "bytes", "slowly"],
)
def test_a_child_that_was_taken_over_is_a_crash(seed, decryptors, monkeypatch, answer):
    total, m = small(seed)
    near, far = socket.socketpair()

    def taken_over() -> None:
        with far:
            receive(far, REQUEST.size + len(seed) + len(total))
            answer(far) if callable(answer) else far.sendall(answer)

    puppet = subprocess.Popen(["sleep", "60"])
    monkeypatch.setattr(decryptors, "_fork", lambda: (near, os.pidfd_open(puppet.pid)))
    peer = threading.Thread(target=taken_over)
    peer.start()
    started = time.monotonic()
    with pytest.raises(Hostile) as e:
        decryptors.decrypt(seed, total, m, timeout_s=0.5)
    assert e.value.code == "ciphertext.crashed_decryptor"
    assert time.monotonic() - started < 2
    assert puppet.wait(5) == -signal.SIGKILL
    peer.join()
