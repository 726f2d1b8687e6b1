"""Transactions that are sent once, whatever dies.

Rules of a transaction named by its ``key``:

1. Nothing is stored until the contract would accept it now (``eth_call``); a refusal costs nothing.
2. The signed bytes are stored before they are sent. From then on only these bytes are sent for the key.
3. A lost answer, a lost process or "already known" change nothing: look the hash up, else send
   the same bytes.
4. They are replaced by new ones only when they can never be mined: another transaction has used their nonce
   and is final, or they were mined and reverted (which has no effect).

So two runs with the same key have at most one effect. Example: killed between 2 and sending → the next
``send`` with this key finds the bytes, the node does not know the hash, the bytes are sent.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import rlp
from eth_hash.auto import keccak

from consent_contracts.rpc import NodeError, Rpc, data, field, listed, quantity, record
from consilium_errors import Hostile, Misuse, Refused, Unavailable
from crypto.identity import AgentKey

POLL = 0.05
GAS_MARGIN = 1.25
FEE_MARGIN = 8  # base fees at most grow 12.5 % a block: room for 17 full blocks
REBROADCAST = 5.0
SETTLE = 1.0  # a node may show a new block's nonce a moment before its receipts


class Store(Protocol):
    """Bytes by name, durable before ``put`` returns."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...


class MemoryStore(dict[str, bytes]):
    """Not durable: for tests and for reading tools."""

    def put(self, key: str, value: bytes) -> None:
        self[key] = value


class SqliteStore:
    """One file, 0600, synchronous."""

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

    def put(self, key: str, value: bytes) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO sent VALUES (?, ?)", (key, value))

    def close(self) -> None:
        self._db.close()


@dataclass(frozen=True)
class Mined:
    """A transaction that succeeded. ``logs`` are as the node gave them."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    gas_used: int
    created: bytes | None
    logs: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class _Stored:
    raw: bytes
    tx_hash: bytes
    nonce: int
    request: str

    def to_bytes(self) -> bytes:
        fields = [self.raw.hex(), self.tx_hash.hex(), self.nonce, self.request]
        return json.dumps(fields).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> _Stored:
        raw, tx_hash, nonce, request = json.loads(value)
        return cls(bytes.fromhex(raw), bytes.fromhex(tx_hash), nonce, request)


_locks: dict[bytes, threading.Lock] = {}
_locks_guard = threading.Lock()


@contextmanager
def _nonce_lock(address: bytes) -> Iterator[None]:
    """One account signs one transaction at a time, also through several senders in this process."""
    with _locks_guard:
        lock = _locks.setdefault(address, threading.Lock())
    with lock:
        yield


class Sender:
    """Sends as one account.

    Args:
        rpc: one node. Behind a balancer whose nodes lag, rule 4 could see a nonce before its receipt.
        private_key: 32 bytes.
        timeout: seconds to wait until a transaction is mined.
        finality: ``finalized``, or a number of confirmations, for rule 4.
    """

    def __init__(
        self,
        rpc: Rpc | str,
        private_key: bytes,
        store: Store | None = None,
        *,
        timeout: float = 60.0,
        finality: str | int = "finalized",
    ) -> None:
        self.rpc = Rpc(rpc) if isinstance(rpc, str) else rpc
        self._key = AgentKey.from_bytes(private_key)
        self.address = self._key.address
        self._store = MemoryStore() if store is None else store
        self._timeout, self._finality = timeout, finality
        self._chain_id: int | None = None

    def __repr__(self) -> str:
        return f"Sender(0x{self.address.hex()})"

    def chain_id(self) -> int:
        if self._chain_id is None:
            self._chain_id = self.rpc.chain_id()
        return self._chain_id

    def send(self, key: str, to: bytes | None, calldata: bytes, *, value: int = 0) -> Mined:
        """Send once and wait until mined; with a key that was used before, wait for that one.

        Args:
            key: names the effect, e.g. ``lock/<ctx hash>``; the account and the chain are added.
            to: contract, 20 bytes; None deploys.

        Raises:
            Refused: ``chain.<custom_error>``.
            Unavailable: ``chain.not_mined``, ``rpc.*``. The same call may be repeated.
            Misuse: ``sender.key_reused`` for another transaction under the same key.
        """
        request = _request(self.address, to, calldata, value)
        name = f"{self.chain_id()}/{self.address.hex()}/{key}"
        deadline = time.monotonic() + self._timeout
        while True:
            stored = self._stored(name, request)
            if stored is None:
                with _nonce_lock(self.address):
                    # Another thread may have stored this key meanwhile.
                    stored = self._stored(name, request) or self._sign(name, request)
                    self._broadcast(stored)
            mined = self._await(stored, deadline)
            if mined is not None:
                return self._judge(name, mined, request)
            self._store.put(name, b"")

    def _stored(self, name: str, request: dict[str, Any]) -> _Stored | None:
        value = self._store.get(name)
        if not value:
            return None
        stored = _Stored.from_bytes(value)
        if stored.request != _digest(request):
            raise Misuse("sender.key_reused", "this key already names another transaction")
        return stored

    def _sign(self, name: str, request: dict[str, Any]) -> _Stored:
        self.rpc.call("eth_call", request, "latest")
        gas = int(quantity(self.rpc.call("eth_estimateGas", request, "latest")) * GAS_MARGIN)
        nonce = self._nonce("pending")
        base = quantity(self.rpc.block("latest").get("baseFeePerGas", "0x0"))
        tip = quantity(self.rpc.call("eth_maxPriorityFeePerGas"))
        fees = (tip, base * FEE_MARGIN + tip, gas)
        raw = signed_transaction(self._key, self.chain_id(), nonce, fees, request)
        stored = _Stored(raw, keccak(raw), nonce, _digest(request))
        self._store.put(name, stored.to_bytes())
        return stored

    def _nonce(self, block: str) -> int:
        return quantity(self.rpc.call("eth_getTransactionCount", "0x" + self.address.hex(), block))

    def _broadcast(self, stored: _Stored) -> None:
        """The node's answer decides nothing: the hash is looked up afterwards."""
        try:
            said = data(self.rpc.call("eth_sendRawTransaction", "0x" + stored.raw.hex()), 32)
            if said != stored.tx_hash:
                raise Hostile("rpc.malformed", "the node names another transaction than was sent")
        except NodeError as error:
            if not any(word in error.said.lower() for word in _HARMLESS):
                raise
        except Unavailable:
            return

    def _await(self, stored: _Stored, deadline: float) -> dict[str, Any] | None:
        """Its receipt, or None when it can never be mined."""
        sent = time.monotonic() - REBROADCAST + 2 * POLL
        dead_since: float | None = None
        while True:
            try:
                if (receipt := self._receipt(stored)) is not None:
                    return receipt
                if not self._dead(stored):
                    dead_since = None
                elif dead_since is None:
                    dead_since = time.monotonic()
                elif time.monotonic() - dead_since >= SETTLE:
                    return self._receipt(stored)
                if time.monotonic() - sent >= REBROADCAST:
                    sent = time.monotonic()
                    self._broadcast(stored)
            except Unavailable:
                if time.monotonic() >= deadline:
                    raise
            if time.monotonic() >= deadline:
                raise Unavailable("chain.not_mined", "the transaction is sent but not mined yet")
            time.sleep(POLL)

    def _receipt(self, stored: _Stored) -> dict[str, Any] | None:
        found = self.rpc.call("eth_getTransactionReceipt", "0x" + stored.tx_hash.hex())
        if found is None:
            return None
        receipt = record(found)
        if data(field(receipt, "transactionHash"), 32) != stored.tx_hash:
            raise Hostile("rpc.malformed", "another transaction's receipt")
        return receipt

    def _dead(self, stored: _Stored) -> bool:
        if isinstance(self._finality, str):
            return self._nonce(self._finality) > stored.nonce
        number = self.rpc.block("latest")["number"] - self._finality
        return number >= 0 and self._nonce(hex(number)) > stored.nonce

    def _judge(self, name: str, receipt: dict[str, Any], request: dict[str, Any]) -> Mined:
        if quantity(field(receipt, "status")) != 1:
            self._store.put(name, b"")  # rule 4: it had no effect
            self._explain(receipt, request)
        created = receipt.get("contractAddress")
        return Mined(
            tx_hash=data(field(receipt, "transactionHash"), 32),
            block_number=quantity(field(receipt, "blockNumber")),
            block_hash=data(field(receipt, "blockHash"), 32),
            gas_used=quantity(field(receipt, "gasUsed")),
            created=None if created is None else data(created, 20),
            logs=tuple(record(log) for log in listed(field(receipt, "logs"))),
        )

    def _explain(self, receipt: dict[str, Any], request: dict[str, Any]) -> None:
        """Raise the reason: the same call again, on the state it met (or just after)."""
        self.rpc.call("eth_call", request, field(receipt, "blockNumber"))
        raise Refused("chain.reverted", "the transaction was mined and reverted")


def signed_transaction(
    key: AgentKey, chain_id: int, nonce: int, fees: tuple[int, int, int], request: dict[str, Any]
) -> bytes:
    """The bytes of an EIP-1559 transaction.

    Args:
        fees: (tip, most per gas, gas), in wei and units of gas.
        request: ``to`` (absent to deploy), ``data``, ``value`` as in JSON-RPC.
    """
    to, calldata = (bytes.fromhex(request.get(name, "0x")[2:]) for name in ("to", "data"))
    fields = [chain_id, nonce, *fees, to, int(request["value"], 16), calldata, []]
    signature = key.sign(keccak(b"\x02" + rlp.encode(fields)))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return b"\x02" + bytes(rlp.encode([*fields, signature[64] - 27, r, s]))


_HARMLESS = ("already known", "already imported", "nonce too low", "underpriced", "known transaction")


def _request(sender: bytes, to: bytes | None, calldata: bytes, value: int) -> dict[str, Any]:
    request = {"from": "0x" + sender.hex(), "data": "0x" + calldata.hex(), "value": hex(value)}
    return request if to is None else {**request, "to": "0x" + to.hex()}


def _digest(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
