"""What an account has signed: durable before it is sent, by the name of its effect."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import rlp
from eth_hash.auto import keccak

from crypto.identity import AgentKey


class Store(Protocol):
    """Bytes by name, durable before a method returns."""

    def get(self, key: str) -> bytes | None: ...

    def swap(self, key: str, before: bytes | None, after: bytes) -> bool:
        """Put ``after`` if ``before`` still stands there; False if another was faster."""


class MemoryStore(dict[str, bytes]):
    """Not durable: for tests and for reading tools."""

    def swap(self, key: str, before: bytes | None, after: bytes) -> bool:
        if self.get(key) != before:
            return False
        self[key] = after
        return True


class SqliteStore:
    """One file, 0600, synchronous; several processes may share it."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE IF NOT EXISTS sent (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            row = self._db.execute("SELECT value FROM sent WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def swap(self, key: str, before: bytes | None, after: bytes) -> bool:
        with self._lock:
            if before is None:
                done = self._db.execute("INSERT OR IGNORE INTO sent VALUES (?, ?)", (key, after))
            else:
                query = "UPDATE sent SET value = ? WHERE key = ? AND value = ?"
                done = self._db.execute(query, (after, key, before))
        return done.rowcount == 1

    def close(self) -> None:
        self._db.close()


@dataclass(frozen=True)
class Fees:
    """Of one transaction: wei per gas to the block's maker, wei per gas at most, units of gas."""

    tip: int
    most: int
    gas: int

    def raised(self, base: int, tip: int, cap: int) -> Fees | None:
        """What a node takes in place of these (an eighth more of both), enough for a block of base fee ``base``.

        Args:
            tip: what the node suggests now. ``cap``: wei per gas at most; None is returned beyond it.
        """
        least_tip, least = self.tip * 9 // 8 + 1, self.most * 9 // 8 + 1
        if least > cap:
            return None
        most = min(max(least, 2 * base + max(least_tip, tip)), cap)
        return Fees(min(max(least_tip, tip), most), most, self.gas)


@dataclass(frozen=True)
class Version:
    """The same transaction under one offer of fees."""

    raw: bytes
    tx_hash: bytes
    fees: Fees


@dataclass(frozen=True)
class Signed:
    """All versions of one transaction, the newest last; with their one nonce at most one of them is mined.

    Args:
        request: digest of what it does.
    """

    nonce: int
    request: str
    versions: tuple[Version, ...]

    @property
    def newest(self) -> Version:
        return self.versions[-1]

    def with_(self, version: Version) -> Signed:
        return replace(self, versions=(*self.versions, version))

    def to_bytes(self) -> bytes:
        listed = [[v.raw.hex(), v.fees.tip, v.fees.most, v.fees.gas] for v in self.versions]
        return json.dumps([self.nonce, self.request, listed]).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> Signed:
        nonce, request, listed = json.loads(value)
        versions = ((bytes.fromhex(raw), Fees(*fees)) for raw, *fees in listed)
        return cls(nonce, request, tuple(Version(raw, keccak(raw), fees) for raw, fees in versions))


def sign(key: AgentKey, chain_id: int, nonce: int, fees: Fees, request: dict[str, Any]) -> Version:
    """An EIP-1559 transaction.

    Args:
        request: ``to`` (absent to deploy), ``data``, ``value`` as in JSON-RPC.
    """
    to, calldata = (bytes.fromhex(request.get(name, "0x")[2:]) for name in ("to", "data"))
    fields = [chain_id, nonce, fees.tip, fees.most, fees.gas, to, int(request["value"], 16), calldata, []]
    signature = key.sign(keccak(b"\x02" + rlp.encode(fields)))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    raw = b"\x02" + bytes(rlp.encode([*fields, signature[64] - 27, r, s]))
    return Version(raw, keccak(raw), fees)
