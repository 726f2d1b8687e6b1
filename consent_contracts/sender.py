"""Transactions that are sent once, whatever dies.

Rules of a transaction named by its ``key``:

1. Nothing is stored until the contract would accept it now (``eth_call``); a refusal costs nothing.
2. The signed bytes are stored before they are sent. From then on only these bytes are sent for the key, or a
   version of them with the same nonce that offers higher fees (5).
3. A lost answer, a lost process or "already known" change nothing: look the hashes up, else send
   the same bytes.
4. They are replaced by others only when they can never be mined: another transaction has used their nonce
   and is final, or they were mined and reverted (which has no effect).
5. Not mined after so many blocks, the transaction is stored and sent again with fees higher by an eighth, or by
   what the newest block asks, up to a cap. Every version's hash is looked up: any may be the one that is mined.

So two runs with the same key have at most one effect. Example: killed between 2 and sending → the next
``send`` with this key finds the bytes, the node does not know the hash, the bytes are sent.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from consent_contracts.outbox import Fees, MemoryStore, Signed, SqliteStore, Store, sign
from consent_contracts.rpc import NodeError, Rpc, data, field, listed, quantity, record
from consilium_errors import Hostile, Misuse, Refused, Unavailable
from crypto.identity import AgentKey

__all__ = ["MemoryStore", "Mined", "Sender", "SqliteStore", "Store"]

POLL = 0.05
LOOK = 0.25  # whether it can be mined at all, and whether it is stuck
GAS_MARGIN = 1.25
FEE_MARGIN = 8  # base fees at most grow 12.5 % a block: room for 17 full blocks
REBROADCAST = 5.0
STUCK_BLOCKS = 10
FEE_CAP = 500 * 10**9  # wei per gas
SETTLE = 1.0  # a node may show a new block's nonce a moment before its receipts


@dataclass(frozen=True)
class Mined:
    """A transaction that succeeded. ``logs`` are as the node gave them."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    gas_used: int
    created: bytes | None
    logs: tuple[dict[str, Any], ...]


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
        stuck_blocks: blocks without it after which the fees are raised.
        fee_cap: wei per gas that are never exceeded.
    """

    def __init__(
        self,
        rpc: Rpc | str,
        private_key: bytes,
        store: Store | None = None,
        *,
        timeout: float = 60.0,
        finality: str | int = "finalized",
        stuck_blocks: int = STUCK_BLOCKS,
        fee_cap: int = FEE_CAP,
    ) -> None:
        self.rpc = Rpc(rpc) if isinstance(rpc, str) else rpc
        self._key = AgentKey.from_bytes(private_key)
        self.address = self._key.address
        self._store = MemoryStore() if store is None else store
        self._timeout, self._finality = timeout, finality
        self._stuck_blocks, self._fee_cap = stuck_blocks, fee_cap
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
            mined = self._await(name, stored, request, deadline)
            if mined is not None:
                return self._judge(name, mined, request)
            self._forget(name)

    def _stored(self, name: str, request: dict[str, Any]) -> Signed | None:
        value = self._store.get(name)
        if not value:
            return None
        stored = Signed.from_bytes(value)
        if stored.request != _digest(request):
            raise Misuse("sender.key_reused", "this key already names another transaction")
        return stored

    def _forget(self, name: str) -> None:
        value = self._store.get(name)
        if value:
            self._store.swap(name, value, b"")

    def _sign(self, name: str, request: dict[str, Any]) -> Signed:
        before = self._store.get(name)
        self.rpc.call("eth_call", request, "latest")
        gas = int(quantity(self.rpc.call("eth_estimateGas", request, "latest")) * GAS_MARGIN)
        nonce, (_, base, tip) = self._nonce("pending"), self._market()
        most = min(base * FEE_MARGIN + tip, self._fee_cap)
        version = sign(self._key, self.chain_id(), nonce, Fees(min(tip, most), most, gas), request)
        return self._keep(name, request, before, Signed(nonce, _digest(request), (version,)))

    def _keep(self, name: str, request: dict[str, Any], before: bytes | None, signed: Signed) -> Signed:
        """Store; if another process was faster, what that one stored."""
        if self._store.swap(name, before, signed.to_bytes()):
            return signed
        other = self._stored(name, request)
        if other is None:
            raise Unavailable("sender.busy", "another process deals with this transaction")
        return other

    def _market(self) -> tuple[int, int, int]:
        """Number and base fee of the newest block, and the tip that the node suggests."""
        block = self.rpc.block("latest")
        tip = quantity(self.rpc.call("eth_maxPriorityFeePerGas"))
        return block["number"], quantity(block.get("baseFeePerGas", "0x0")), tip

    def _raise_fees(self, name: str, stored: Signed, request: dict[str, Any]) -> Signed:
        """Rule 5; the same as it was where the cap is reached."""
        with _nonce_lock(self.address):
            before = self._store.get(name)
            known = self._stored(name, request) or stored
            if len(known.versions) > len(stored.versions):
                return known
            _, base, tip = self._market()
            fees = stored.newest.fees.raised(base, tip, self._fee_cap)
            if before is None or fees is None:
                return stored
            version = sign(self._key, self.chain_id(), stored.nonce, fees, request)
            raised = self._keep(name, request, before, stored.with_(version))
        self._broadcast(raised)
        return raised

    def _nonce(self, block: str) -> int:
        return quantity(self.rpc.call("eth_getTransactionCount", "0x" + self.address.hex(), block))

    def _broadcast(self, stored: Signed) -> None:
        """The node's answer decides nothing: the hash is looked up afterwards."""
        newest = stored.newest
        try:
            said = data(self.rpc.call("eth_sendRawTransaction", "0x" + newest.raw.hex()), 32)
            if said != newest.tx_hash:
                raise Hostile("rpc.malformed", "the node names another transaction than was sent")
        except NodeError as error:
            if not any(word in error.said.lower() for word in _HARMLESS):
                raise
        except Unavailable:
            return

    def _await(
        self, name: str, stored: Signed, request: dict[str, Any], deadline: float
    ) -> dict[str, Any] | None:
        """Its receipt, or None when it can never be mined."""
        watch = _Watch()
        while True:
            try:
                if (receipt := self._receipt(stored)) is not None:
                    return receipt
                if watch.looks():
                    if watch.dead(self._dead(stored)):
                        return self._receipt(stored)
                    if watch.stuck(self.rpc.block("latest")["number"], self._stuck_blocks):
                        stored = self._raise_fees(name, stored, request)
                    elif watch.says_again():
                        self._broadcast(stored)
            except Unavailable:
                if time.monotonic() >= deadline:
                    raise
            if time.monotonic() >= deadline:
                raise Unavailable("chain.not_mined", "the transaction is sent but not mined yet")
            time.sleep(POLL)

    def _receipt(self, stored: Signed) -> dict[str, Any] | None:
        for version in reversed(stored.versions):
            found = self.rpc.call("eth_getTransactionReceipt", "0x" + version.tx_hash.hex())
            if found is not None:
                receipt = record(found)
                if data(field(receipt, "transactionHash"), 32) != version.tx_hash:
                    raise Hostile("rpc.malformed", "another transaction's receipt")
                return receipt
        return None

    def _dead(self, stored: Signed) -> bool:
        if isinstance(self._finality, str):
            return self._nonce(self._finality) > stored.nonce
        number = self.rpc.block("latest")["number"] - self._finality
        return number >= 0 and self._nonce(hex(number)) > stored.nonce

    def _judge(self, name: str, receipt: dict[str, Any], request: dict[str, Any]) -> Mined:
        if quantity(field(receipt, "status")) != 1:
            self._forget(name)  # rule 4: it had no effect
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


class _Watch:
    """When to do what while a transaction is waited for."""

    def __init__(self) -> None:
        now = time.monotonic()
        self._said, self._looked = now - REBROADCAST + 2 * POLL, now - LOOK
        self._dead_since: float | None = None
        self._block: int | None = None

    def looks(self) -> bool:
        if time.monotonic() - self._looked < LOOK:
            return False
        self._looked = time.monotonic()
        return True

    def dead(self, now: bool) -> bool:
        """Whether it has been dead for a while."""
        if not now:
            self._dead_since = None
        elif self._dead_since is None:
            self._dead_since = time.monotonic()
        return self._dead_since is not None and time.monotonic() - self._dead_since >= SETTLE

    def stuck(self, block: int, most: int) -> bool:
        """Whether ``most`` blocks have come since the last time, or the first."""
        if self._block is not None and block - self._block < most:
            return False
        first, self._block = self._block is None, block
        return not first

    def says_again(self) -> bool:
        if time.monotonic() - self._said < REBROADCAST:
            return False
        self._said = time.monotonic()
        return True


_HARMLESS = ("already known", "already imported", "nonce too low", "underpriced", "known transaction")


def _request(sender: bytes, to: bytes | None, calldata: bytes, value: int) -> dict[str, Any]:
    request = {"from": "0x" + sender.hex(), "data": "0x" + calldata.hex(), "value": hex(value)}
    return request if to is None else {**request, "to": "0x" + to.hex()}


def _digest(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
