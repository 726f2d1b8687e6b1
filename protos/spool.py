"""The durable half of a mailbox that reaches over a wire: letters to send, letters that came, in one SQLite file.

Letters to one peer are numbered 1, 2, 3, … within a *stream*, a random name of the numbering. The file keeps a
letter until the peer has all of it; it keeps of an incoming letter what has arrived, and delivers it whole, once,
in order. Several processes may use the file at once (hospital and its node); each may be killed at any instant.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from consilium_errors import Hostile, Misuse, Unavailable
from protos.mailbox import Letter

MAX_LETTER = (256 << 20) + (64 << 10)
MAX_BACKLOG = 1 << 30
STREAM_BYTES = 16
_UNUSABLE = (sqlite3.OperationalError, sqlite3.DatabaseError)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outgoing (peer BLOB, number INTEGER, body BLOB NOT NULL, PRIMARY KEY (peer, number));
CREATE TABLE IF NOT EXISTS numbering (peer BLOB PRIMARY KEY, stream BLOB NOT NULL, next INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS wanted (peer BLOB PRIMARY KEY, stream BLOB, number INTEGER, offset INTEGER);
CREATE TABLE IF NOT EXISTS retired (peer BLOB, stream BLOB, PRIMARY KEY (peer, stream));
CREATE TABLE IF NOT EXISTS part (peer BLOB, offset INTEGER, total INTEGER, data BLOB, PRIMARY KEY (peer, offset));
CREATE TABLE IF NOT EXISTS incoming
    (number INTEGER PRIMARY KEY AUTOINCREMENT, recipient BLOB, sender BLOB, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS incoming_recipient ON incoming (recipient, number);
"""


class Numbering(NamedTuple):
    """Of letters to one peer: ``first`` is the oldest kept, ``next`` the number that the next one gets."""

    stream: bytes
    first: int
    next: int


class Wanted(NamedTuple):
    """The next byte wanted from one peer; ``stream`` is empty before its first letter."""

    stream: bytes
    number: int
    offset: int


class Part(NamedTuple):
    """``data`` stands at ``offset`` of letter ``number``, which has ``total`` bytes."""

    number: int
    total: int
    offset: int
    data: bytes


class Spool:
    """A `protos.mailbox.Mailbox` for organisation ``me``, and the store behind its wire.

    Args:
        path: SQLite file, made with mode 0600.

    Every method raises Unavailable ``spool.disk`` when the disk is full or the file cannot be used.
    """

    def __init__(self, path: Path, me: bytes, *, most_backlog: int = MAX_BACKLOG) -> None:
        self.me = me
        self._most_backlog = most_backlog
        self._lock = threading.RLock()
        try:
            path.touch(mode=0o600, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            # A letter that was taken over must outlive a power cut: the other side forgets it.
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except (OSError, *_UNUSABLE) as error:
            raise _unusable(error) from error

    # the mailbox --------------------------------------------------------------------------------------

    def post(self, to: bytes, body: bytes) -> None:
        """Raises Misuse ``spool.letter_size``."""
        if len(body) > MAX_LETTER:
            raise Misuse("spool.letter_size", f"a letter of {len(body)} bytes, at most {MAX_LETTER}")
        with self._transaction() as db:
            number = self._numbering(db, to).next
            db.execute("INSERT INTO outgoing VALUES (?, ?, ?)", (to, number, body))
            db.execute("UPDATE numbering SET next = ? WHERE peer = ?", (number + 1, to))

    def fetch(self, to: bytes, most: int = 64) -> list[Letter]:
        query = "SELECT number, body FROM incoming WHERE recipient = ? ORDER BY number LIMIT ?"
        with self._reading() as db:
            return [Letter(n, bytes(b)) for n, b in db.execute(query, (to, most)).fetchall()]

    def acknowledge(self, to: bytes, number: int) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM incoming WHERE recipient = ? AND number = ?", (to, number))

    # what goes out ------------------------------------------------------------------------------------

    def numbering(self, peer: bytes) -> Numbering:
        with self._reading() as db:
            known = db.execute("SELECT 1 FROM numbering WHERE peer = ?", (peer,)).fetchone()
            if known is not None:
                return self._numbering(db, peer)
        with self._transaction() as db:
            return self._numbering(db, peer)

    def last(self, peer: bytes) -> int:
        """Number of the newest letter to ``peer``, 0 before the first. Cheap: asked many times a second."""
        with self._reading() as db:
            row = db.execute("SELECT next FROM numbering WHERE peer = ?", (peer,)).fetchone()
        return int(row[0]) - 1 if row else 0

    def read(self, peer: bytes, number: int, offset: int, most: int) -> Part | None:
        """At most ``most`` bytes of a letter; None if it is not kept."""
        query = "SELECT length(body), substr(body, ?, ?) FROM outgoing WHERE peer = ? AND number = ?"
        with self._reading() as db:
            row = db.execute(query, (offset + 1, most, peer, number)).fetchone()
        return None if row is None else Part(number, row[0], offset, bytes(row[1] or b""))

    def delivered(self, peer: bytes, before: int) -> None:
        """The peer has every letter below ``before``."""
        with self._transaction() as db:
            db.execute("DELETE FROM outgoing WHERE peer = ? AND number < ?", (peer, before))

    def renew_stream(self, peer: bytes) -> None:
        """The peer has letters that we do not remember: our file is an old copy. Count under another name."""
        with self._transaction() as db:
            db.execute(
                "UPDATE numbering SET stream = ? WHERE peer = ?", (secrets.token_bytes(STREAM_BYTES), peer)
            )

    def _numbering(self, db: sqlite3.Connection, peer: bytes) -> Numbering:
        row = db.execute("SELECT stream, next FROM numbering WHERE peer = ?", (peer,)).fetchone()
        if row is None:
            row = (secrets.token_bytes(STREAM_BYTES), 1)
            db.execute("INSERT INTO numbering VALUES (?, ?, ?)", (peer, *row))
        first = db.execute("SELECT min(number) FROM outgoing WHERE peer = ?", (peer,)).fetchone()[0]
        return Numbering(bytes(row[0]), row[1] if first is None else first, row[1])

    # what comes in ------------------------------------------------------------------------------------

    def wanted(self, peer: bytes) -> Wanted:
        with self._reading() as db:
            return self._wanted(db, peer)

    def accept(self, peer: bytes, stream: bytes, first: int, parts: Iterable[Part]) -> bool:
        """Keep the parts that continue what is here; the rest has come before or comes again. True if any did.

        Raises:
            Hostile: ``spool.letter_size``, ``spool.piece``, ``spool.retired`` for a numbering given up before.
        """
        with self._transaction() as db:
            wanted = self._follow(db, peer, stream, first)
            came = False
            for part in parts:
                if (part.number, part.offset) == (wanted.number, wanted.offset):
                    if part.offset == 0 and self._full(db, peer, part.total):
                        break
                    wanted, came = self._keep(db, peer, wanted, part), True
            db.execute(
                "UPDATE wanted SET number = ?, offset = ? WHERE peer = ?",
                (wanted.number, wanted.offset, peer),
            )
            return came

    def _wanted(self, db: sqlite3.Connection, peer: bytes) -> Wanted:
        row = db.execute("SELECT stream, number, offset FROM wanted WHERE peer = ?", (peer,)).fetchone()
        return Wanted(b"", 1, 0) if row is None else Wanted(bytes(row[0]), row[1], row[2])

    def _follow(self, db: sqlite3.Connection, peer: bytes, stream: bytes, first: int) -> Wanted:
        """Where we stand in ``stream``; a new one begins at its oldest letter.

        A letter that we want and the peer no longer keeps was ours once: our file is an old copy, go on behind.
        """
        wanted = self._wanted(db, peer)
        if wanted.stream == stream and wanted.number >= first:
            return wanted
        if db.execute("SELECT 1 FROM retired WHERE peer = ? AND stream = ?", (peer, stream)).fetchone():
            raise Hostile("spool.retired", "a numbering that was given up before")
        if wanted.stream not in (b"", stream):
            db.execute("INSERT INTO retired VALUES (?, ?)", (peer, wanted.stream))
        db.execute("DELETE FROM part WHERE peer = ?", (peer,))
        db.execute("INSERT OR REPLACE INTO wanted VALUES (?, ?, ?, 0)", (peer, stream, first))
        return Wanted(stream, first, 0)

    def _full(self, db: sqlite3.Connection, peer: bytes, total: int) -> bool:
        """Whether a peer has filled its share of the disk: its letters wait until ours are read."""
        query = "SELECT coalesce(sum(length(body)), 0) FROM incoming WHERE sender = ?"
        held = int(db.execute(query, (peer,)).fetchone()[0])
        return held > 0 and held + total > self._most_backlog

    def _keep(self, db: sqlite3.Connection, peer: bytes, wanted: Wanted, part: Part) -> Wanted:
        if part.total > MAX_LETTER:
            raise Hostile("spool.letter_size", f"a letter of {part.total} bytes, at most {MAX_LETTER}")
        end = part.offset + len(part.data)
        if end > part.total or (not part.data and part.total) or self._other_total(db, peer, part):
            raise Hostile("spool.piece", "a piece that does not fit its letter")
        db.execute("INSERT INTO part VALUES (?, ?, ?, ?)", (peer, part.offset, part.total, part.data))
        if end < part.total:
            return wanted._replace(offset=end)
        rows = db.execute("SELECT data FROM part WHERE peer = ? ORDER BY offset", (peer,)).fetchall()
        body = b"".join(bytes(row[0]) for row in rows)
        db.execute("INSERT INTO incoming (recipient, sender, body) VALUES (?, ?, ?)", (self.me, peer, body))
        db.execute("DELETE FROM part WHERE peer = ?", (peer,))
        return wanted._replace(number=wanted.number + 1, offset=0)

    def _other_total(self, db: sqlite3.Connection, peer: bytes, part: Part) -> bool:
        row = db.execute("SELECT total FROM part WHERE peer = ? LIMIT 1", (peer,)).fetchone()
        return row is not None and row[0] != part.total

    # database -----------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except _UNUSABLE as error:
                raise _unusable(error) from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except _UNUSABLE as error:
                raise _unusable(error) from error

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _unusable(error: Exception) -> Unavailable:
    remedy = "free space on the disk, or restore the file's permissions; nothing that was taken over is lost"
    return Unavailable("spool.disk", f"the mailbox's file cannot be used: {error}", remedy)
