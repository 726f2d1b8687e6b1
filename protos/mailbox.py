"""A mailbox carries opaque bytes between organisations. It is untrusted: it may lose, repeat or reorder.

`MemoryMailbox` serves one process tree; `FileMailbox` (SQLite) serves several processes on one machine and
survives the death of any of them. Both deliver at least once, in order, until acknowledged.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple, Protocol

LOOK_S = 0.03  # other processes ring no bell


class Letter(NamedTuple):
    number: int
    body: bytes


class Mailbox(Protocol):
    def post(self, to: bytes, body: bytes) -> None:
        """Leave ``body`` for the organisation ``to`` (20 bytes)."""

    def fetch(self, to: bytes, most: int = 64) -> list[Letter]:
        """The oldest unacknowledged letters for ``to``."""

    def acknowledge(self, to: bytes, number: int) -> None:
        """``to`` has dealt with the letter and will not need it again."""

    def wait(self, timeout_s: float) -> None:
        """Until a letter may have come; at most ``timeout_s``."""


class MemoryMailbox:
    def __init__(self) -> None:
        self._letters: dict[bytes, dict[int, bytes]] = defaultdict(dict)
        self._next = 0
        self._lock = threading.Lock()
        self._came = threading.Event()

    def post(self, to: bytes, body: bytes) -> None:
        with self._lock:
            self._next += 1
            self._letters[to][self._next] = body
        self._came.set()

    def fetch(self, to: bytes, most: int = 64) -> list[Letter]:
        with self._lock:
            return [Letter(n, b) for n, b in list(self._letters[to].items())[:most]]

    def acknowledge(self, to: bytes, number: int) -> None:
        with self._lock:
            self._letters[to].pop(number, None)

    def wait(self, timeout_s: float) -> None:
        self._came.wait(timeout_s)
        self._came.clear()


class FileMailbox:
    """Letters in one SQLite file, 0600, shared by processes."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS letter"
            " (number INTEGER PRIMARY KEY AUTOINCREMENT, recipient BLOB NOT NULL, body BLOB NOT NULL)"
        )
        self._db.execute("CREATE INDEX IF NOT EXISTS letter_recipient ON letter (recipient, number)")
        self._lock = threading.Lock()

    def post(self, to: bytes, body: bytes) -> None:
        with self._lock:
            self._db.execute("INSERT INTO letter (recipient, body) VALUES (?, ?)", (to, body))

    def fetch(self, to: bytes, most: int = 64) -> list[Letter]:
        with self._lock:
            rows = self._db.execute(
                "SELECT number, body FROM letter WHERE recipient = ? ORDER BY number LIMIT ?", (to, most)
            ).fetchall()
        return [Letter(n, bytes(b)) for n, b in rows]

    def acknowledge(self, to: bytes, number: int) -> None:
        with self._lock:
            self._db.execute("DELETE FROM letter WHERE recipient = ? AND number = ?", (to, number))

    def wait(self, timeout_s: float) -> None:
        time.sleep(min(timeout_s, LOOK_S))

    def close(self) -> None:
        self._db.close()
