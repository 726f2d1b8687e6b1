"""Records that are remembered in memory are the ones on the disk, and are forgotten with them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

import consilium_records
from consilium_errors import Hostile, Misuse
from consilium_records import RECORD, RecordStore
from coordinator.store import open_store
from crypto.vault import Vault
from participants.store import open_store as open_hospital_store


@pytest.fixture
def store(home: Path) -> RecordStore:
    return open_store(f"sqlite:///{home / 'records.db'}")


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


def test_another_process_finds_an_altered_record(home: Path) -> None:
    vault = Vault.load_or_create(home / "vault.key")
    url = f"sqlite:///{home / 'hospital.db'}"
    store = open_hospital_store(url, vault)
    store.commit([("s", "a", b"1"), ("s", "b", b"2")])
    with store._engine.begin() as db:
        db.execute(sa.update(RECORD).where(RECORD.c.slot == "a").values(body=b"\1" + bytes(40)))
    store.close()
    with pytest.raises(Hostile, match="vault") as refused:
        open_hospital_store(url, vault).get("s", "a")
    assert refused.value.code == "vault.open"


def test_only_the_outbox_is_written_unsynced(store: RecordStore) -> None:
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
