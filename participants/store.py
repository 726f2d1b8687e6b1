"""A hospital's memory: every record is encrypted by the hospital's vault before it reaches the disk."""

from __future__ import annotations

from pathlib import Path

from consilium_records import RecordStore, migrate, open_engine
from crypto.vault import Vault


def open_store(url: str, vault: Vault) -> RecordStore:
    """The store at an SQLAlchemy URL (SQLite or PostgreSQL), its schema brought up to date."""
    engine = open_engine(url)
    migrate(engine, str(Path(__file__).parent / "migrations"))
    return RecordStore(engine, vault)
