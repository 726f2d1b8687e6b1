"""All events of both contracts, complete and in order, proven against the contracts' own running hashes.

Each journalled log carries a sequence number and extends ``head`` (see `Journal.sol`); the count and the
head are read at a final block that all nodes agree on. So a node can neither drop, alter, add nor reorder a
log. What the hash does not cover (block, transaction, position in the block) all nodes must agree on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from eth_hash.auto import keccak

from consent_contracts import abi
from consent_contracts.chain import Chain, Snapshot
from consent_contracts.rpc import NodeError, Rpc, data, field, listed, quantity, record
from consent_contracts.views import JournalView
from consilium_errors import Hostile
from protos.digests import ZERO32

STEP = 5_000


@dataclass(frozen=True)
class Event:
    """One journalled event. ``args`` by name, without ``seq``; ``head`` is the running hash after it."""

    contract: str
    seq: int
    name: str
    args: Mapping[str, Any]
    head: bytes
    block: int
    position: int
    tx: bytes


@dataclass(frozen=True)
class _Log:
    """One raw log, in a form that nodes can be compared by."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    position: int
    tx: bytes

    @classmethod
    def of(cls, value: object) -> _Log:
        log = record(value)
        if log.get("removed"):
            raise Hostile("index.removed", "a log of a final block is said to be removed")
        return cls(
            address=data(field(log, "address"), 20),
            topics=tuple(data(t, 32) for t in listed(field(log, "topics"))),
            data=data(field(log, "data")),
            block=quantity(field(log, "blockNumber")),
            position=quantity(field(log, "logIndex")),
            tx=data(field(log, "transactionHash"), 32),
        )


class Index:
    """Fetches what is new at each `sync`; keeps events in memory, in the order of the chain."""

    def __init__(self, chain: Chain, *, step: int = STEP) -> None:
        self._chain, self._step = chain, step
        self._next = chain.addresses.since
        self._journals = dict.fromkeys((abi.REGISTRY, abi.LEDGER), JournalView(0, ZERO32))
        self.events: tuple[Event, ...] = ()

    def sync(self) -> Snapshot:
        """Up to the newest final block, or not at all.

        Raises:
            Hostile: ``index.gap``, ``index.altered``, ``index.removed``, ``index.foreign``, ``index.order``,
                or as `Chain.snapshot`.
        """
        snapshot = self._chain.snapshot()
        events, journals = list(self.events), dict(self._journals)
        for log in self._fetch(snapshot.number):
            event = self._extend(journals, log)
            if event is not None:
                _check_order(events[-1:], event)
                events.append(event)
        for contract, expected in snapshot.journals.items():
            _check_complete(contract, journals[contract], expected)
        self.events, self._journals, self._next = tuple(events), journals, snapshot.number + 1
        return snapshot

    def _fetch(self, last: int) -> list[_Log]:
        logs: list[_Log] = []
        first = self._next
        while first <= last:
            until = min(first + self._step - 1, last)
            try:
                logs += self._chain.everywhere(partial(self._ask, first, until))
            except NodeError:
                if self._step == 1:
                    raise
                self._step //= 2  # nodes bound how much they answer
                continue
            first = until + 1
        return logs

    def _ask(self, first: int, last: int, rpc: Rpc) -> list[_Log]:
        addresses = ["0x" + a.hex() for a in (self._chain.addresses.registry, self._chain.addresses.ledger)]
        query = {"address": addresses, "fromBlock": hex(first), "toBlock": hex(last)}
        logs = [_Log.of(log) for log in listed(rpc.call("eth_getLogs", query))]
        if any(not first <= log.block <= last for log in logs):
            raise Hostile("index.order", "a log of another block than asked for")
        return logs

    def _extend(self, journals: dict[str, JournalView], log: _Log) -> Event | None:
        """Move the journal by one log; None for OpenZeppelin's own events, which repeat a journalled one."""
        contract = {self._chain.addresses.of(name): name for name in journals}.get(log.address)
        if contract is None:
            raise Hostile("index.foreign", "a log of another contract")
        if not log.topics or log.topics[0] not in _journalled(contract):
            return None
        seq, before = int.from_bytes(log.topics[1], "big"), journals[contract]
        if seq != before.seq + 1:
            raise Hostile("index.gap", f"{contract}: event {before.seq + 1} expected, {seq} found")
        head = running_hash(before.head, log.topics, log.data)
        journals[contract] = JournalView(seq, head)
        name, args = _decode(_journalled(contract)[log.topics[0]], log)
        return Event(contract, seq, name, args, head, log.block, log.position, log.tx)


def running_hash(head: bytes, topics: tuple[bytes, ...], payload: bytes) -> bytes:
    """`Journal.sol`: keccak256(abi.encode(head, topic0..3, keccak256(data))), absent topics zero."""
    padded = (*topics, ZERO32, ZERO32)[:4]
    return keccak(b"".join((head, *padded, keccak(payload))))


@lru_cache
def _journalled(contract: str) -> dict[bytes, abi.Signature]:
    events = abi.contract(contract).events.items()
    return {topic: s for topic, s in events if s.inputs and s.inputs[0]["name"] == "seq"}


def _decode(signature: abi.Signature, log: _Log) -> tuple[str, dict[str, Any]]:
    indexed = tuple(p for p in signature.inputs if p["indexed"])
    if len(log.topics) != len(indexed) + 1:
        raise Hostile("index.altered", f"{signature.name} with {len(log.topics)} topics")
    try:
        args = abi.unpack(indexed, b"".join(log.topics[1:]))
        args |= abi.unpack([p for p in signature.inputs if not p["indexed"]], log.data)
    except Hostile as error:
        raise Hostile("index.altered", f"{signature.name}: {error}") from error
    del args["seq"]
    return signature.name, args


def _check_order(last: list[Event], event: Event) -> None:
    if last and (event.block, event.position) <= (last[0].block, last[0].position):
        raise Hostile("index.order", "logs are not in the order of the chain")


def _check_complete(contract: str, found: JournalView, expected: JournalView) -> None:
    if found.seq != expected.seq:
        raise Hostile("index.gap", f"{contract}: {expected.seq} events expected, {found.seq} found")
    if found.head != expected.head:
        raise Hostile("index.altered", f"{contract}: the events do not hash to the contract's head")
