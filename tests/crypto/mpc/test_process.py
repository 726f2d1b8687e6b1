"""A job in its own process: results, errors, crashes."""

import os
import signal
import time

import pytest

from consilium_errors import Hostile, Unavailable
from crypto.mpc.process import Job


def double(n: int) -> int:
    return 2 * n


def refuse() -> None:
    raise Hostile("mpc.share", "a share", "a remedy")


def fall() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def loaded() -> bool:
    import sys

    return {"torch", "crypten"} <= set(sys.modules)


def test_results_and_errors_come_back():
    with Job(double, 21) as job:
        assert job.result(60) == 42
    with Job(refuse) as job, pytest.raises(Hostile) as e:
        job.result(60)
    assert (e.value.code, str(e.value), e.value.remedy) == ("mpc.share", "a share", "a remedy")


def test_the_library_is_loaded_before_the_job_begins():
    with Job(loaded) as job:
        assert job.result(60)


def test_a_crash_and_a_hang_are_unavailable_and_leave_no_process():
    with Job(fall) as job, pytest.raises(Unavailable) as e:
        job.result(60)
    assert e.value.code == "mpc.job"
    with Job(time.sleep, 60) as job:
        pid = job.pid
        with pytest.raises(Unavailable):
            job.result(0.2)
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
