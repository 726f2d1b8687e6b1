"""Records that are remembered in memory are the ones on the disk, and are forgotten with them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

import consilium_records
from consilium_errors import Hostile, Misuse, Unavailable
from consilium_records import RECORD, RecordStore
from coordinator.store import open_store
from crypto.vault import Vault
from participants.store import open_store as open_hospital_store
from tests.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, home: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{home / 'records.db'}"
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture
def store(url: str) -> Iterator[RecordStore]:
    opened = open_store(url)
    yield opened
    opened.close()


def on_disk(store: RecordStore) -> list[tuple[str, str]]:
    with store._engine.connect() as db:
        return [(r.scope, r.slot) for r in db.execute(sa.select(RECORD.c.scope, RECORD.c.slot))]


def in_memory(store: RecordStore) -> list[tuple[str, str]]:
    return list(store._remembered._bodies)


def test_forgotten_in_memory_too(store: RecordStore) -> None:
    scopes = ("s/1", "s/1/aa", "s/10", "s")
    store.commit([(scope, "key", b"secret") for scope in scopes])
    assert all(store.get(scope, "key") == b"secret" for scope in scopes)
    store.commit(forget=["s/1"])
    left = [("s/10", "key"), ("s", "key")]
    assert sorted(in_memory(store)) == sorted(on_disk(store)) == sorted(left)
    assert store.get("s/1/aa", "key") is None
    assert store.slots("s/1", "") == {}


def test_written_and_forgotten_at_once(store: RecordStore) -> None:
    store.commit([("s/1", "key", b"secret"), ("s", "public", b"p")], forget=["s/1"])
    assert in_memory(store) == on_disk(store) == [("s", "public")]


def test_a_read_that_forgetting_overtakes_is_not_kept(store: RecordStore) -> None:
    store.commit([("s/1", "key", b"secret")])
    fresh = RecordStore(store._engine, Slow(lambda: fresh.commit(forget=["s/1"])))
    assert fresh.get("s/1", "key") == b"secret"  # it was there when it was asked for
    assert in_memory(fresh) == []
    assert fresh.get("s/1", "key") is None


class Slow(consilium_records.Plain):
    """Something happens, in another thread, between reading a record and returning it."""

    def __init__(self, meanwhile) -> None:  # type: ignore[no-untyped-def]
        self._meanwhile = meanwhile

    def open(self, name: str, sealed: bytes) -> bytes:
        thread = threading.Thread(target=self._meanwhile)
        thread.start()
        thread.join()
        return sealed


def test_what_failed_to_be_written_is_not_remembered(store: RecordStore) -> None:
    store.commit([("s", "a", b"1")])
    with pytest.raises(Misuse, match="already recorded") as refused:
        store.commit([("s", "b", b"2"), ("s", "a", b"other")], forget=["s"])
    assert refused.value.code == "store.conflict"
    assert (store.get("s", "a"), store.get("s", "b")) == (b"1", None)


def test_memory_is_bounded(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consilium_records, "REMEMBERED_BYTES", 1000)
    bodies = {f"{i}": bytes([i]) * (100 + 50 * i) for i in range(12)}
    store.commit([("s", slot, body) for slot, body in bodies.items()])
    for slot, body in [*bodies.items(), *reversed(bodies.items())]:
        assert store.get("s", slot) == body
        kept = store._remembered._bodies.values()
        assert sum(map(len, kept)) == store._remembered._bytes <= 1000
    assert store.slots("s", "1") == {s: b for s, b in bodies.items() if s.startswith("1")}


def test_another_process_finds_an_altered_record(home: Path, url: str) -> None:
    vault = Vault.load_or_create(home / "vault.key")
    store = open_hospital_store(url, vault)
    store.commit([("s", "a", b"1"), ("s", "b", b"2")])
    with store._engine.begin() as db:
        db.execute(sa.update(RECORD).where(RECORD.c.slot == "a").values(body=b"\1" + bytes(40)))
    store.close()
    with pytest.raises(Hostile, match="vault") as refused:
        open_hospital_store(url, vault).get("s", "a")
    assert refused.value.code == "vault.open"


def test_only_the_outbox_is_written_unsynced(home: Path) -> None:
    store = open_store(f"sqlite:///{home / 'records.db'}")
    said: list[str] = []
    sa.event.listen(store._engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    store.commit([("s", "a", b"1")], [(bytes(20), b"letter")])
    assert said[0] == "PRAGMA synchronous=FULL"
    said.clear()
    store.sent(store.outgoing()[0].number)
    writes = said.index("BEGIN IMMEDIATE")
    assert said[writes - 1] == "PRAGMA synchronous=NORMAL"
    said.clear()
    store.commit([("s", "b", b"1")])
    assert said[0] == "PRAGMA synchronous=FULL"


def test_letters_leave_in_order(store: RecordStore) -> None:
    for number in range(5):
        store.commit(send=[(bytes(20), b"%d" % number)])
    queued = store.outgoing()
    assert [o.body for o in queued] == [b"0", b"1", b"2", b"3", b"4"]
    store.sent(queued[0].number)
    assert [o.body for o in store.outgoing()] == [b"1", b"2", b"3", b"4"]


def test_what_could_not_be_posted_stays(store: RecordStore) -> None:
    posted: list[bytes] = []

    def post(to: bytes, body: bytes) -> None:
        if body == b"3" and posted.count(b"2") == 1:
            raise OSError
        posted.append(body)

    for number in range(5):
        store.commit(send=[(bytes(20), b"%d" % number)])
    with pytest.raises(OSError):
        store.flush(post)
    assert [o.body for o in store.outgoing()] == [b"3", b"4"]
    posted.clear()
    assert store.flush(post)
    assert posted == [b"3", b"4"]
    assert not store.flush(post)


def test_nothing_is_written_where_there_is_nothing(home: Path) -> None:
    store = open_store(f"sqlite:///{home / 'records.db'}")
    said: list[str] = []
    sa.event.listen(store._engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    store.commit()
    assert said == []
    store.get("s", "none")
    assert len(said) == 1  # a read is one statement


def test_two_processes_write_the_same_record_at_once(url: str) -> None:
    """Equal bytes are nothing to either; of different ones, one is told of the conflict."""
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(open_store, [url] * 4))  # all four make the schema
        for number in range(10):
            list(pool.map(lambda s, n=number: s.commit([("same", f"{n}", b"x")]), stores))  # type: ignore[misc]

        def differs(number: int) -> str:
            try:
                stores[number].commit([("other", "a", bytes([number]))], [(bytes(20), b"letter")])
            except Misuse as error:
                return error.code
            return "written"

        assert sorted(pool.map(differs, range(4))) == ["store.conflict"] * 3 + ["written"]
    assert len(stores[0].outgoing()) == 1
    for store in stores:
        store.close()


def test_many_open_a_new_file_at_once(home: Path) -> None:
    for number in range(20):
        url = f"sqlite:///{home / f'{number}.db'}"
        with ThreadPoolExecutor(4) as pool:
            for store in pool.map(open_store, [url] * 4):
                store.close()


def test_a_database_that_is_away_is_named_and_comes_back(postgres: Postgres) -> None:
    store = open_store(postgres.database())
    store.commit([("s", "a", b"1")])
    postgres.stop(signal.SIGQUIT)  # no orderly end
    try:
        with pytest.raises(Unavailable) as caught:
            store.commit([("s", "b", b"2")])
        assert caught.value.code == "store.unusable"
    finally:
        postgres.start()
    store.commit([("s", "b", b"2")])
    fresh = RecordStore(store._engine)
    assert (fresh.get("s", "a"), fresh.get("s", "b")) == (b"1", b"2")
    store.close()
