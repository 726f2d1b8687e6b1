"""Children are started again, and never outlive their parent."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from consilium_children import Child
from tests.transport.world import until

CHILD = "import consilium_children, time; consilium_children.end_with_parent(); print('up', flush=True); time.sleep(60)"
PARENT = (
    "import sys, time; from pathlib import Path; from consilium_children import Child\n"
    "child = Child('c', [sys.executable, '-c', sys.argv[2]], log_path=Path(sys.argv[1]))\n"
    "child.start()\n"
    "while child.pid is None: time.sleep(.01)\n"
    "print(child.pid, flush=True); time.sleep(60)"
)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_killed_child_is_started_again_and_its_log_is_private(tmp_path: Path) -> None:
    child = Child("c", [sys.executable, "-c", CHILD], log_path=tmp_path / "log")
    child.start()
    try:
        until(lambda: "up" in (tmp_path / "log").read_text() if (tmp_path / "log").exists() else False)
        first = child.pid
        assert first
        os.kill(first, signal.SIGKILL)
        until(lambda: child.pid not in (None, first))
        assert child.last_exit == -signal.SIGKILL
        assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    finally:
        child.stop()
    assert child.pid is None


def test_a_command_that_cannot_run_does_not_spin(tmp_path: Path) -> None:
    child = Child("c", [str(tmp_path / "nothing")], log_path=tmp_path / "log")
    child.start()
    child.stop()
    assert child.starts == 0


def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        until(lambda: "up" in (tmp_path / "log").read_text())
        parent.kill()
    until(lambda: not alive(pid))
