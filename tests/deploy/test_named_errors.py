"""A full disk and what else may happen to a loop: named, nothing lost, and work goes on by itself."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from consilium_errors import Hostile, Misuse, Unavailable
from consilium_records import RecordStore, named
from crypto.vault import Vault
from deploy import ops
from deploy.checks import failing, good
from participants.serve import Loop
from participants.store import open_store

BODY = bytes(200_000)


@pytest.fixture
def store(home: Path) -> RecordStore:
    return open_store(f"sqlite:///{home / 'hospital.db'}", Vault.load_or_create(home / "vault.key"))


def limit(store: RecordStore, pages: int) -> None:
    """SQLite's own limit: it then says what it says on a full disk."""
    with store._engine.connect() as db:
        db.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_named_and_nothing_is_half_written(store: RecordStore) -> None:
    store.commit([("a", "first", b"1")])
    limit(store, 1)
    with pytest.raises(Unavailable) as caught:
        store.commit([("a", "small", b"2"), ("a", "large", BODY)], send=[(b"x" * 20, BODY)])
    assert caught.value.code == "disk.full"
    assert "free space" in caught.value.remedy
    limit(store, 1 << 30)
    assert dict(store.slots("a", "")) == {"first": b"1"}
    assert store.outgoing() == []
    store.commit([("a", "large", BODY)])
    assert store.get("a", "large") == BODY


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_file_system_is_the_same(number: int) -> None:
    found = named(OSError(number, "no room"))
    assert found is not None
    assert found.code == "disk.full"


def test_what_we_do_not_know_is_not_renamed() -> None:
    assert named(OSError(errno.EACCES, "no")) is None
    assert named(ValueError("x")) is None
    ours = Misuse("a.b", "x")
    assert named(ours) is ours
    away = named(sa.exc.OperationalError("SELECT 1", None, Exception("secret text")))
    assert away is not None
    assert away.code == "store.unusable"
    assert "secret text" not in away.diagnostics()


class Turns:
    """A hospital whose turns end as listed."""

    def __init__(self, *ends: Exception | bool) -> None:
        self._ends = list(ends)
        self.stop = threading.Event()

    def tick(self) -> bool:
        if len(self._ends) == 1:
            self.stop.set()
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


def test_no_error_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("participants.serve.FAILED_WAIT_S", 0.0)
    turns = Turns(
        OSError(errno.ENOSPC, "full"), Unavailable("rpc.unreachable", "x"), Hostile("chain.rpcs_disagree", "x"),
        ZeroDivisionError("a value"), True, False,
    )  # fmt: skip
    told: list[str] = []
    loop = Loop(turns, observe=lambda code, seconds: told.append(code), idle_s=0.0)  # type: ignore[arg-type]
    loop.run(turns.stop)
    assert told == ["disk.full", "rpc.unreachable", "chain.rpcs_disagree", "hospital.internal", "", ""]


@pytest.fixture
def _talkative() -> Iterator[None]:
    """The session shows errors only."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("_talkative")
def test_the_watch_warns_once_and_says_when_it_is_good_again() -> None:
    metrics = ops.HospitalMetrics()
    state = failing("disk", "disk.full", "0 GiB", "free space")

    def broken() -> list[object]:
        raise RuntimeError("not of ours")

    with structlog.testing.capture_logs() as logged:
        watch = ops.Watch([broken, lambda: [state]], metrics.registry)  # type: ignore[list-item]
        watch.look()
        watch.look()
        state = good("disk", "10 GiB")
        watch.look()
    events = [(e["event"], e.get("code")) for e in logged if e["event"] != "check failed"]
    assert events == [("check", "disk.full"), ("check good again", None)]
    assert metrics.registry.get_sample_value("consilium_check", {"check": "disk"}) == 0.0
