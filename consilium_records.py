"""Write-once records with an outbox, in one SQL database: how hospital and coordinator remember.

A record is named by ``(scope, slot)`` and never changes. Writing it again with the same bytes is nothing; with
other bytes it is an error, so that "never another seal for this lock" is kept by the database itself. What is to
be sent is written in the same transaction and leaves the outbox only when it is posted: a process killed at any
instant either did a step wholly or not at all, and sends at least once.
"""

from __future__ import annotations

import errno
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from consilium_errors import Error, Misuse, Unavailable

REMEMBERED_BYTES = 64 << 20
MIGRATION = 0x636F6E73  # any number, ours
LOCK_S = 30.0
PAGE_BYTES = 32768  # records are megabytes: with SQLite's 4096 writing takes three times as long

METADATA = sa.MetaData()
RECORD = sa.Table(
    "record",
    METADATA,
    sa.Column("scope", sa.String(255), primary_key=True),
    sa.Column("slot", sa.String(255), primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
OUTGOING = sa.Table(
    "outgoing",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("recipient", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)


# Statements made once: making one takes as long as SQLite takes to answer it.
_IN_SCOPE = RECORD.c.scope == sa.bindparam("scope")
_BODY = sa.select(RECORD.c.body).where(_IN_SCOPE, RECORD.c.slot == sa.bindparam("slot"))
_NAMES = sa.select(RECORD.c.slot).where(
    _IN_SCOPE, sa.func.substr(RECORD.c.slot, 1, sa.bindparam("size")) == sa.bindparam("least")
)
# SQLite compares text by code points, so the index finds the prefix; elsewhere a collation may not.
_NAMES_BY_RANGE = _NAMES.where(
    RECORD.c.slot.between(sa.bindparam("least"), sa.bindparam("most", type_=sa.String))
)
_RECORD, _QUEUE = sa.insert(RECORD), sa.insert(OUTGOING)
_QUEUED = sa.select(OUTGOING).order_by(OUTGOING.c.number)


class Cover(Protocol):
    """Encryption at rest: the name of a record is bound to its bytes."""

    def seal(self, name: str, plaintext: bytes) -> bytes: ...

    def open(self, name: str, sealed: bytes) -> bytes: ...


class Plain:
    """No encryption: for what could be published."""

    def seal(self, name: str, plaintext: bytes) -> bytes:
        return plaintext

    def open(self, name: str, sealed: bytes) -> bytes:
        return sealed


class Outgoing(NamedTuple):
    number: int
    recipient: bytes
    body: bytes


class _Remembered:
    """Bodies by name, the latest read ones up to `REMEMBERED_BYTES`: a record never changes.

    What a store forgets is dropped here too; a read that was under way at that time is not kept.
    """

    def __init__(self) -> None:
        self._bodies: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.forgotten = 0

    def get(self, scope: str, slot: str) -> bytes | None:
        with self._lock:
            body = self._bodies.get((scope, slot))
            if body is not None:
                self._bodies.move_to_end((scope, slot))
            return body

    def keep(self, scope: str, slot: str, body: bytes, forgotten: int) -> None:
        """``forgotten``: its count from before the read."""
        with self._lock:
            if forgotten != self.forgotten or len(body) > REMEMBERED_BYTES // 2:
                return
            self._bytes += len(body) - len(self._bodies.pop((scope, slot), b""))
            self._bodies[scope, slot] = body
            while self._bytes > REMEMBERED_BYTES:
                _, oldest = self._bodies.popitem(last=False)
                self._bytes -= len(oldest)

    def forget(self, scopes: Iterable[str]) -> None:
        with self._lock:
            for gone in scopes:
                self.forgotten += 1
                for name in [n for n in self._bodies if n[0] == gone or n[0].startswith(f"{gone}/")]:
                    self._bytes -= len(self._bodies.pop(name))


class RecordStore:
    """Records and outbox of one role over an SQLAlchemy engine whose schema is already migrated."""

    def __init__(self, engine: sa.Engine, cover: Cover | None = None) -> None:
        self._engine = engine
        self._reading = engine.execution_options(reads=True)
        self._writing = engine.execution_options(writes=True)
        self._noting = engine.execution_options(writes=True, lossy=True)
        self._cover = cover or Plain()
        self._remembered = _Remembered()

    def get(self, scope: str, slot: str) -> bytes | None:
        if (known := self._remembered.get(scope, slot)) is not None:
            return known
        forgotten = self._remembered.forgotten
        with self._reading.connect() as db:
            sealed = db.execute(_BODY, {"scope": scope, "slot": slot}).scalar_one_or_none()
        if sealed is None:
            return None
        body = self._cover.open(f"{scope}/{slot}", bytes(sealed))
        self._remembered.keep(scope, slot, body, forgotten)
        return body

    def names(self, scope: str, prefix: str) -> list[str]:
        """Slots of a scope that begin with ``prefix``."""
        asked = {"scope": scope, "least": prefix, "most": prefix + chr(0x10FFFF), "size": len(prefix)}
        query = _NAMES_BY_RANGE if self._engine.dialect.name == "sqlite" else _NAMES
        with self._reading.connect() as db:
            return list(db.execute(query, asked).scalars())

    def slots(self, scope: str, prefix: str) -> Mapping[str, bytes]:
        """`names`, with what is recorded there."""
        found = ((name, self.get(scope, name)) for name in self.names(scope, prefix))
        return {name: body for name, body in found if body is not None}

    def commit(
        self,
        records: Iterable[tuple[str, str, bytes]] = (),
        send: Iterable[tuple[bytes, bytes]] = (),
        forget: Iterable[str] = (),
    ) -> None:
        """Write, forget and queue in one transaction.

        Args:
            records: ``(scope, slot, body)``.
            send: ``(recipient, body)``, in order.
            forget: scopes to delete, with all scopes below them.

        Raises:
            Misuse: ``store.conflict`` when a record exists with other bytes; nothing is written.
            Unavailable: ``disk.full``, ``store.unusable``; nothing is written, and it may be tried again.
        """
        written, letters, scopes = list(records), list(send), list(forget)
        if not (written or letters or scopes):
            return
        forgotten = self._remembered.forgotten
        try:
            self._transact(written, letters, scopes)
        except (
            sa.exc.IntegrityError
        ):  # another process wrote one of them this instant: now it is there to see
            self._transact(written, letters, scopes)
        for scope, slot, body in written:
            self._remembered.keep(scope, slot, body, forgotten)
        self._remembered.forget(scopes)

    def _transact(
        self, records: list[tuple[str, str, bytes]], send: list[tuple[bytes, bytes]], forget: list[str]
    ) -> None:
        with _naming(), self._writing.begin() as db:
            for scope, slot, body in records:
                self._write(db, scope, slot, body)
            for scope in forget:
                below = RECORD.c.scope.startswith(f"{scope}/", autoescape=True)
                db.execute(sa.delete(RECORD).where((RECORD.c.scope == scope) | below))
            if send:
                db.execute(_QUEUE, [{"recipient": recipient, "body": body} for recipient, body in send])

    def _write(self, db: sa.Connection, scope: str, slot: str, body: bytes) -> None:
        known = db.execute(_BODY, {"scope": scope, "slot": slot}).scalar_one_or_none()
        name = f"{scope}/{slot}"
        if known is None:
            sealed = self._cover.seal(name, body)
            db.execute(_RECORD, {"scope": scope, "slot": slot, "body": sealed})
        elif self._cover.open(name, bytes(known)) != body:
            raise Misuse("store.conflict", f"{slot} is already recorded otherwise", "A record never changes.")

    def outgoing(self) -> list[Outgoing]:
        """What is queued, oldest first."""
        with self._reading.connect() as db:
            rows = db.execute(_QUEUED).all()
        return [Outgoing(r.number, bytes(r.recipient), bytes(r.body)) for r in rows]

    def flush(self, post: Callable[[bytes, bytes], None]) -> bool:
        """Post what is queued, oldest first; False if it was nothing. What left before an error is not sent again."""
        posted: list[int] = []
        try:
            for letter in self.outgoing():
                post(letter.recipient, letter.body)
                posted.append(letter.number)
        finally:
            if posted:
                self.sent(*posted)
        return bool(posted)

    def sent(self, *numbers: int) -> None:
        """These letters left. Not synced: what a power cut loses of it is said twice."""
        with _naming(), self._noting.begin() as db:
            db.execute(sa.delete(OUTGOING).where(OUTGOING.c.number.in_(numbers)))

    def close(self) -> None:
        self._engine.dispose()


def named(error: Exception) -> Error | None:
    """What goes wrong with disks and databases, as an error of ours; None for anything else."""
    if isinstance(error, Error):
        return error
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if _is_full(cause):
        remedy = "free space; nothing is lost, and what waits goes on by itself"
        return Unavailable("disk.full", "the disk is full", remedy)
    if isinstance(error, sa.exc.OperationalError) or isinstance(cause, sqlite3.OperationalError):
        remedy = "look at the database's server, or at the file's permissions"
        return Unavailable("store.unusable", f"the database cannot be used ({type(cause).__name__})", remedy)
    return None


def _is_full(cause: object) -> bool:
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return getattr(cause, "sqlstate", None) == "53100"  # PostgreSQL: disk_full


@contextmanager
def _naming() -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        found = named(error)
        if found is None:
            raise
        raise found from error


def open_engine(url: str) -> sa.Engine:
    """An engine that is safe against a kill; SQLite files are made 0600 and synced in full."""
    target = sa.make_url(url)
    if target.drivername == "postgresql":
        target = target.set(drivername="postgresql+psycopg")
    if target.get_backend_name() == "postgresql":
        return sa.create_engine(target, pool_pre_ping=True, client_encoding="utf8")
    if target.get_backend_name() != "sqlite":
        return sa.create_engine(target, pool_pre_ping=True)
    from pathlib import Path

    if target.database and target.database != ":memory:":
        Path(target.database).touch(mode=0o600, exist_ok=True)
        Path(target.database).chmod(0o600)
    engine = sa.create_engine(target, connect_args={"timeout": LOCK_S, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: object, _: object) -> None:
        # The driver's own BEGIN leaves out DDL and reads: a kill would leave half a schema behind.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(f"PRAGMA page_size={PAGE_BYTES}")
        _patiently(lambda: cursor.execute("PRAGMA journal_mode=WAL"))
        for pragma in ("foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if options.get("reads"):  # one statement, which sees one state of the file as it is
            return
        connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if options.get('lossy') else 'FULL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")

    return engine


def _patiently(execute: Callable[[], object]) -> None:
    """The switch to WAL does not wait for the lock of another process that makes it at this instant."""
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            execute()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def migrate(engine: sa.Engine, scripts: str) -> None:
    """Bring the schema up to date with the Alembic scripts of a room."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", scripts)
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":  # SQLite's write lock does it: one process at a time
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
