"""The coordinator's memory: nothing in it is secret."""

from __future__ import annotations

from pathlib import Path

from consilium_records import RecordStore, migrate, open_engine


def open_store(url: str) -> RecordStore:
    """The store at an SQLAlchemy URL (SQLite or PostgreSQL), its schema brought up to date."""
    engine = open_engine(url)
    migrate(engine, str(Path(__file__).parent / "migrations"))
    return RecordStore(engine)
