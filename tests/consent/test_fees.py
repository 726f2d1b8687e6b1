"""A transaction that no block takes at its fees: raised, stored first, never beyond the cap, and still sent once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak

from consent_contracts.laptop import Anvil, dev_key
from consent_contracts.outbox import Fees, Signed
from consent_contracts.proxy import Proxy
from consent_contracts.rpc import NodeError, Rpc, quantity
from consent_contracts.sender import MemoryStore, Mined, Sender, SqliteStore
from consilium_errors import Unavailable

pytestmark = pytest.mark.chain

GWEI = 10**9
DEAR, CHEAP = 200 * GWEI, 1 * GWEI
KEY = dev_key(13)


class Node:
    """A chain that mines when it is told to, at the base fee it is told."""

    def __init__(self, anvil: Anvil) -> None:
        self.url, self.rpc = anvil.url, Rpc(anvil.url)
        self.rpc.call("evm_setIntervalMining", 0)
        self.rpc.call("evm_setAutomine", False)
        self.base = CHEAP

    def mine(self) -> None:
        self.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(self.base))
        self.rpc.call("evm_mine")

    @contextmanager
    def mining(self) -> Iterator[None]:
        over = threading.Event()

        def run() -> None:
            while not over.wait(0.1):
                self.mine()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def balance(self, to: bytes) -> int:
        return quantity(self.rpc.call("eth_getBalance", "0x" + to.hex(), "latest"))


@pytest.fixture
def node() -> Iterator[Node]:
    with Anvil(block_time=60) as anvil:
        made = Node(anvil)
        made.mine()
        yield made


class Listening(Proxy):
    """Notes what is sent, and swallows the sends whose number is in ``lost``."""

    def __init__(self, upstream: str, store: MemoryStore, lost: tuple[int, ...] = ()) -> None:
        super().__init__(upstream)
        self.store, self.lost, self.sent = store, lost, list[bytes]()

    def forward(self, method: str, params: list[Any]) -> Any:
        if method != "eth_sendRawTransaction":
            return super().forward(method, params)
        raw = bytes.fromhex(params[0][2:])
        assert raw in [v.raw for v in _versions(self.store)], "sent before it was stored"
        if raw not in self.sent:
            self.sent.append(raw)
        if self.sent.index(raw) in self.lost:
            return "0x" + keccak(raw).hex()
        return super().forward(method, params)


def _versions(store: MemoryStore) -> list[Any]:
    return [v for value in store.values() if value for v in Signed.from_bytes(value).versions]


def _dear_after_signing(node: Node, sender: Sender) -> None:
    """Blocks become dear once the first version is out."""
    inner = sender._broadcast

    def broadcast(stored: Signed) -> None:
        node.base = DEAR
        inner(stored)

    sender._broadcast = broadcast  # type: ignore[method-assign]


def _pay(sender: Sender, to: bytes) -> Mined:
    return sender.send("pay", to, b"", value=5)


def test_fees_rise_until_a_block_takes_it(node: Node) -> None:
    to, store = b"\x71" * 20, MemoryStore()
    with Listening(node.url, store) as proxy, node.mining():
        sender = Sender(proxy.url, KEY, store, stuck_blocks=2)
        _dear_after_signing(node, sender)
        mined = _pay(sender, to)
    versions = _versions(store)
    assert len(versions) == len(proxy.sent) >= 2
    assert mined.tx_hash in [v.tx_hash for v in versions[1:]]
    for lower, higher in pairwise(versions):
        assert higher.fees.most * 8 >= lower.fees.most * 9
        assert higher.fees.tip * 8 >= lower.fees.tip * 9
    assert node.balance(to) == 5
    assert _pay(Sender(node.url, KEY, store), to).tx_hash == mined.tx_hash


def test_the_cap_is_never_passed(node: Node) -> None:
    to, store, cap = b"\x72" * 20, MemoryStore(), 50 * GWEI
    with Listening(node.url, store) as proxy, node.mining():
        sender = Sender(proxy.url, KEY, store, stuck_blocks=2, fee_cap=cap, timeout=3)
        _dear_after_signing(node, sender)
        with pytest.raises(Unavailable) as caught:
            _pay(sender, to)
        assert caught.value.code == "chain.not_mined"
        assert max(v.fees.most for v in _versions(store)) == cap
        assert node.balance(to) == 0
        node.base = CHEAP
        _pay(Sender(node.url, KEY, store, fee_cap=cap), to)
    assert node.balance(to) == 5


def test_any_version_may_be_the_mined_one(node: Node) -> None:
    """The dearer version is lost on the way; blocks become cheap again and take the first."""
    to, store = b"\x73" * 20, MemoryStore()
    with Listening(node.url, store, lost=(1, 2, 3, 4)) as proxy, node.mining():
        sender = Sender(proxy.url, KEY, store, stuck_blocks=2)
        _dear_after_signing(node, sender)
        found: list[Mined] = []
        thread = threading.Thread(target=lambda: found.append(_pay(sender, to)))
        thread.start()
        while len(proxy.sent) < 2:
            time.sleep(0.02)
        sender._broadcast = lambda stored: None  # type: ignore[method-assign]
        node.base = CHEAP
        # Other nodes kept the first version; this one lets go of what no block takes.
        while thread.is_alive():
            with suppress(NodeError):
                node.rpc.call("eth_sendRawTransaction", "0x" + proxy.sent[0].hex())
            thread.join(0.3)
    assert found[0].tx_hash == _versions(store)[0].tx_hash
    assert node.balance(to) == 5


_CHILD = """
import os, signal, sys
from pathlib import Path
from consent_contracts.rpc import Rpc
from consent_contracts.sender import Sender, SqliteStore
url, path, key, to, when = sys.argv[1:]
sender = Sender(url, bytes.fromhex(key), SqliteStore(Path(path)), stuck_blocks=2)
inner = sender._broadcast
def broadcast(stored):
    if len(stored.versions) == 1:
        inner(stored)
        print("first", flush=True)
        return
    if when == "after":
        inner(stored)
    os.kill(os.getpid(), signal.SIGKILL)
sender._broadcast = broadcast
sender.send("pay", bytes.fromhex(to), b"", value=5)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_when_a_dearer_version_is_stored(node: Node, tmp_path: Path, when: str) -> None:
    to, path = b"\x74" * 20, tmp_path / "sent.sqlite"
    command = [sys.executable, "-c", _CHILD, node.url, str(path), KEY.hex(), to.hex(), when]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"first\n"
    node.base = DEAR
    while child.poll() is None:
        node.mine()
        time.sleep(0.1)
    assert child.returncode == -9
    with node.mining():
        _pay(Sender(node.url, KEY, SqliteStore(path), stuck_blocks=2), to)
        _pay(Sender(node.url, KEY, SqliteStore(path), stuck_blocks=2), to)
    assert node.balance(to) == 5
    address = "0x" + Sender(node.url, KEY).address.hex()
    assert quantity(node.rpc.call("eth_getTransactionCount", address, "latest")) == 1


def test_raised_fees_are_what_a_node_takes_in_place_of_the_old() -> None:
    fees = Fees(tip=8, most=80, gas=21_000)
    assert fees.raised(base=1, tip=1, cap=1000) == Fees(10, 91, 21_000)
    assert fees.raised(base=100, tip=20, cap=1000) == Fees(20, 220, 21_000)
    assert fees.raised(base=100, tip=20, cap=95) == Fees(20, 95, 21_000)
    assert fees.raised(base=100, tip=20, cap=90) is None


def test_two_processes_do_not_overwrite_each_other(tmp_path: Path) -> None:
    one, two = SqliteStore(tmp_path / "s"), SqliteStore(tmp_path / "s")
    assert one.swap("k", None, b"1")
    assert not two.swap("k", None, b"2")
    assert two.swap("k", b"1", b"2")
    assert not one.swap("k", b"1", b"3")
    assert one.get("k") == b"2"
