"""The read side: one consistent, final view of the contracts, agreed by every node that is asked.

Rules:

1. Before the first read each node must be on our chain and hold our code at both addresses, with immutables
   that belong to these addresses.
2. A read is pinned to the newest block that is final on *all* nodes, by hash. The view never goes back.
3. Every node must give the same bytes. One that differs is a lie or a fork: `Hostile`, and nothing is
   decided. One that is away, or a view that is too old: `Unavailable`.

With one node its word is taken; hospitals name two that do not depend on each other.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from eth_hash.auto import keccak

from consent_contracts import abi
from consent_contracts.rpc import Rpc
from consent_contracts.snapshot import MOST_AT_ONCE, Read, Snapshot
from consent_contracts.views import (
    REASONS,
    AnalysisView,
    GateView,
    HeadView,
    JournalView,
    LockView,
    StudyView,
)
from consilium_errors import Hostile, Misuse, Refused, Unavailable
from protos import digests
from protos.evm_abi import encode

__all__ = [
    "REASONS",
    "Addresses",
    "AnalysisView",
    "Chain",
    "GateView",
    "HeadView",
    "JournalView",
    "LockView",
    "Snapshot",
    "StudyView",
    "dataset_id",
    "own_node",
    "study_id",
]

T = TypeVar("T")
CACHE_SECONDS = 0.05
PACE = (0.05, 2.0)
MAX_AGE = 3600.0


@dataclass(frozen=True)
class Addresses:
    """Where the contracts live; ``since`` is the block of the registry's deployment, or earlier."""

    chain_id: int
    registry: bytes
    ledger: bytes
    since: int = 0

    def of(self, contract: str) -> bytes:
        return self.registry if contract == abi.REGISTRY else self.ledger


def study_id(sponsor: bytes, spec_hash: bytes) -> bytes:
    return keccak(encode(["address", "bytes32"], [sponsor, spec_hash]))


def dataset_id(steward: bytes, nonce: bytes) -> bytes:
    return keccak(encode(["address", "bytes32"], [steward, nonce]))


class Chain:
    """Reads through all of ``rpcs`` at once. Safe to share between threads; touches no network until asked.

    Args:
        finality: ``finalized``, or how many blocks must stand on top.
        max_age: seconds that the newest final block may be old, by this machine's clock; None: any age.
    """

    def __init__(
        self,
        rpcs: Sequence[str | Rpc],
        addresses: Addresses,
        *,
        finality: str | int = "finalized",
        max_age: float | None = MAX_AGE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not rpcs:
            raise Misuse("chain.no_rpc", "no node is named", remedy="name two independent RPC URLs")
        self.rpcs = tuple(Rpc(r) if isinstance(r, str) else r for r in rpcs)
        self.addresses = addresses
        self.finality, self._max_age, self._clock = finality, max_age, clock
        self._pool = ThreadPoolExecutor(len(self.rpcs), thread_name_prefix="rpc")
        self._lock = threading.Lock()
        self._checked = False
        self._last: Snapshot | None = None
        self._read_at = -CACHE_SECONDS
        self._first: tuple[int, float] | None = None
        self._decoded: OrderedDict[tuple[Read, bytes], Mapping[str, Any]] = OrderedDict()

    @property
    def pace(self) -> float:
        """Seconds after which it is worth asking for another final block, from how fast they came until now."""
        first, last = self._first, self._last
        if first is None or last is None or last.number <= first[0]:
            return PACE[0]
        block = (self._read_at - first[1]) / (last.number - first[0])
        return min(max(block / 4, PACE[0]), PACE[1])

    def close(self) -> None:
        self._pool.shutdown(wait=False)

    def everywhere(self, ask: Callable[[Rpc], T]) -> T:
        """The one answer of all nodes.

        Raises:
            Hostile: ``chain.rpcs_disagree``.
            Refused, Unavailable: as all nodes, or any, said.
        """
        answers = self._gather(ask)
        if any(answer != answers[0] for answer in answers[1:]):
            raise Hostile("chain.rpcs_disagree", "the nodes tell different things about the same final block")
        if answers[0][1] is not None:
            raise answers[0][1].error
        return cast(T, answers[0][0])

    def _gather(self, ask: Callable[[Rpc], T]) -> list[tuple[T | None, _Refusal | None]]:
        return list(self._pool.map(lambda rpc: _answer(ask, rpc), self.rpcs))

    def check(self) -> None:
        """Rule 1.

        Raises:
            Hostile: ``chain.wrong_id``, ``chain.wrong_code``.
        """
        for answer, _ in self._gather(self._identify):
            found, registry, ledger = answer if answer is not None else (0, b"", b"")
            if found != self.addresses.chain_id:
                raise Hostile("chain.wrong_id", f"expected chain {self.addresses.chain_id}, found {found}")
            check_code(abi.REGISTRY, registry, self.addresses)
            check_code(abi.LEDGER, ledger, self.addresses)
        self._checked = True

    def _identify(self, rpc: Rpc) -> tuple[int, bytes, bytes]:
        registry, ledger = (rpc.code(a) for a in (self.addresses.registry, self.addresses.ledger))
        return rpc.chain_id(), registry, ledger

    def snapshot(self, since: float | None = None) -> Snapshot:
        """The newest final view; at most ``CACHE_SECONDS`` old.

        Args:
            since: a time of ``time.monotonic``; a view that was read after it is new enough, too.

        Raises:
            Unavailable: ``chain.behind``, ``chain.stale``, ``chain.no_final_block``, ``rpc.*``.
            Hostile: ``chain.rpcs_disagree``, and as `check`.
        """
        with self._lock:
            oldest = time.monotonic() - CACHE_SECONDS
            if self._last is not None and self._read_at > (oldest if since is None else min(oldest, since)):
                return self._last
            if not self._checked:
                self.check()
            found = self._pin()
            if self._last is not None and found.block_hash == self._last.block_hash:
                found = self._last
            self._last, self._read_at = found, time.monotonic()
            if self._first is None:
                self._first = (found.number, self._read_at)
            return found

    def decoded(self, read: Read, raw: bytes) -> Mapping[str, Any]:
        """Most answers are those of the block before, byte for byte; decoding takes longer than asking."""
        known = self._decoded.get((read, raw))
        if known is None:
            known = abi.contract(read.contract).decode(read.function, raw)
            self._decoded[read, raw] = known
            while len(self._decoded) > MOST_AT_ONCE:
                self._decoded.popitem(last=False)
        return known

    def refresh(self) -> None:
        """The next read asks the nodes anew, however short the last one is ago."""
        with self._lock:
            self._read_at = -CACHE_SECONDS

    def _pin(self) -> Snapshot:
        heads = [head for head, _ in self._gather(self._final) if head is not None]
        number = min(head[0] for head in heads)
        if number < 0:
            raise Unavailable("chain.no_final_block", "the chain has no final block yet")
        last = self._last
        if last is not None and number < last.number:
            raise Unavailable("chain.behind", "a node is behind what was final before")

        def header(rpc: Rpc) -> tuple[int, bytes, int]:
            block = rpc.block(number)
            return block["number"], block["hash"], block["timestamp"]

        same = heads[0][1] and all(head == heads[0] for head in heads)
        _, block_hash, timestamp = heads[0] if same else self.everywhere(header)
        if last is not None and number == last.number and block_hash != last.block_hash:
            raise Hostile("chain.rpcs_disagree", "a final block was replaced")
        if self._max_age is not None and self._clock() - timestamp > self._max_age:
            raise Unavailable("chain.stale", f"the newest final block is older than {self._max_age:.0f} s")
        return Snapshot(self, number, block_hash, timestamp).after(last)

    def _final(self, rpc: Rpc) -> tuple[int, bytes, int]:
        """Number, hash and time of a node's newest final block; hash empty where only the number is known."""
        if isinstance(self.finality, str):
            block = rpc.block(self.finality)
            return block["number"], block["hash"], block["timestamp"]
        return rpc.block("latest")["number"] - self.finality, b"", 0

    # each in the newest final view ----------------------------------------------------------------------

    def study(self, study: bytes) -> StudyView:
        return self.snapshot().study(study)

    def analysis(self, study: bytes, analysis: bytes) -> AnalysisView:
        return self.snapshot().analysis(study, analysis)

    def gate(self, study: bytes, datasets: Sequence[bytes]) -> tuple[GateView, ...]:
        return self.snapshot().gate(study, datasets)

    def head(self, study: bytes) -> HeadView:
        return self.snapshot().head(study)

    def agents(self, orgs: Sequence[bytes]) -> dict[bytes, bytes]:
        return self.snapshot().agents(orgs)

    def now(self) -> int:
        return self.snapshot().timestamp


@contextmanager
def own_node() -> Iterator[None]:
    """Around reads that a letter asks for: our own node lies or forks, which is no fault of the letter's writer.

    Raises:
        Unavailable: with the code of the Hostile inside; the letter waits.
    """
    try:
        yield
    except Hostile as error:
        raise Unavailable(error.code, str(error), "find out which node lies") from error


@dataclass(frozen=True)
class _Refusal:
    """A contract's refusal as an answer that can be compared."""

    code: str
    error: Refused = field(compare=False)


def _answer(ask: Callable[[Rpc], T], rpc: Rpc) -> tuple[T | None, _Refusal | None]:
    try:
        return ask(rpc), None
    except Refused as error:
        return None, _Refusal(error.code, error)


def check_code(contract: str, code: bytes, addresses: Addresses) -> None:
    """The deployed code is ours, and its immutables belong to these addresses.

    Raises:
        Hostile: ``chain.wrong_code``.
    """
    ours = abi.contract(contract)
    if ours.masked(code) != ours.masked(ours.deployed):
        raise Hostile("chain.wrong_code", f"the code at the address of {contract} is not ours")
    if not ours.immutable_words(code) <= _immutables(contract, addresses):
        raise Hostile("chain.wrong_code", f"{contract} was made for another chain, address or registry")


def _immutables(contract: str, addresses: Addresses) -> set[bytes]:
    """Every word that the constructor may have fixed: OpenZeppelin's EIP712 and the ledger's registry."""
    own, name = addresses.of(contract), contract.encode()
    texts = {t.ljust(31, b"\0") + bytes([len(t)]) for t in (name, b"1")}
    words = {a.rjust(32, b"\0") for a in (own, addresses.registry)}
    separator = digests.domain_separator(contract, addresses.chain_id, own)
    return texts | words | {separator, addresses.chain_id.to_bytes(32, "big"), keccak(name), keccak(b"1")}
