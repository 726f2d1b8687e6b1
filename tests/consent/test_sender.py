from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from consent_contracts.laptop import Anvil, dev_key
from consent_contracts.rpc import Rpc, quantity
from consent_contracts.sender import MemoryStore, Sender, SqliteStore
from consilium_errors import Misuse, Unavailable
from tests.consent.nodes import LossyProxy, LyingProxy

pytestmark = pytest.mark.chain


def balance(rpc: Rpc, address: bytes) -> int:
    return quantity(rpc.call("eth_getBalance", "0x" + address.hex(), "latest"))


def someone(name: str) -> bytes:
    return name.encode().rjust(20, b"\x77")


def test_the_same_key_pays_once(anvil: Anvil) -> None:
    sender, to = Sender(anvil.url, dev_key(10)), someone("once")
    first = sender.send("pay", to, b"", value=5)
    assert sender.send("pay", to, b"", value=5).tx_hash == first.tx_hash
    assert balance(sender.rpc, to) == 5
    assert sender.send("pay again", to, b"", value=5).tx_hash != first.tx_hash
    with pytest.raises(Misuse) as caught:
        sender.send("pay", to, b"", value=6)
    assert caught.value.code == "sender.key_reused"


@pytest.mark.parametrize("deliver", [True, False])
def test_a_lost_answer_changes_nothing(anvil: Anvil, deliver: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consent_contracts.sender.REBROADCAST", 0.2)
    to = someone(f"lost{deliver}")
    with LossyProxy(anvil.url, "eth_sendRawTransaction", 1, deliver=deliver) as proxy:
        Sender(proxy.url, dev_key(10)).send("pay", to, b"", value=5)
    assert balance(Rpc(anvil.url), to) == 5


def test_a_node_away_for_a_while_is_waited_for(anvil: Anvil) -> None:
    to, store = someone("away"), MemoryStore()
    with LossyProxy(anvil.url, "eth_getTransactionReceipt", 3) as proxy:
        Sender(proxy.url, dev_key(10), store).send("pay", to, b"", value=5)
    with LossyProxy(anvil.url, "eth_getTransactionReceipt", 10_000) as proxy:
        sender = Sender(proxy.url, dev_key(10), store, timeout=0.3)
        with pytest.raises(Unavailable):
            sender.send("pay 2", to, b"", value=5)
    Sender(anvil.url, dev_key(10), store).send("pay 2", to, b"", value=5)
    assert balance(Rpc(anvil.url), to) == 10


_CHILD = """
import os, signal, sys
from pathlib import Path
from consent_contracts.sender import Sender, SqliteStore
url, path, key, to, when = sys.argv[1:]
sender = Sender(url, bytes.fromhex(key), SqliteStore(Path(path)))
inner = sender._broadcast
def broadcast(stored):
    if when == "after":
        inner(stored)
    os.kill(os.getpid(), signal.SIGKILL)
sender._broadcast = broadcast
sender.send("pay", bytes.fromhex(to), b"", value=5)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_sender_sends_once(anvil: Anvil, tmp_path: Path, when: str) -> None:
    to, key, path = someone("killed " + when), dev_key(11), tmp_path / "sent.sqlite"
    command = [sys.executable, "-c", _CHILD, anvil.url, str(path), key.hex(), to.hex(), when]
    assert subprocess.run(command, check=False).returncode == -9
    assert path.stat().st_mode & 0o077 == 0
    sender = Sender(anvil.url, key, SqliteStore(path))
    sender.send("pay", to, b"", value=5)
    sender.send("pay", to, b"", value=5)
    assert balance(sender.rpc, to) == 5


def test_a_nonce_taken_by_another_transaction_is_replaced(anvil: Anvil) -> None:
    """Stored and never sent; meanwhile the account sent something else with the same nonce."""
    to, store, key = someone("replaced"), MemoryStore(), dev_key(12)
    dead = Sender(anvil.url, key, store, timeout=0.3)
    dead._broadcast = lambda stored: None  # type: ignore[method-assign]
    with pytest.raises(Unavailable) as caught:
        dead.send("first", to, b"", value=5)
    assert caught.value.code == "chain.not_mined"
    sender = Sender(anvil.url, key, store)
    sender.send("second", to, b"", value=100)
    sender.send("first", to, b"", value=5)
    assert balance(sender.rpc, to) == 105


def test_a_node_that_shows_the_nonce_before_the_receipt(anvil: Anvil) -> None:
    """The account's nonce is used and final, its receipt still hidden: not a reason to send again."""
    asked = 0

    def hide(method: str, params: list[Any], result: Any) -> Any:
        nonlocal asked
        if method == "eth_getTransactionReceipt":
            asked += 1
            return result if asked > 8 else None
        return result

    to = someone("hidden")
    with LyingProxy(anvil.url, hide) as proxy:
        Sender(proxy.url, dev_key(14), MemoryStore()).send("pay", to, b"", value=5)
    assert asked > 8
    assert balance(Rpc(anvil.url), to) == 5


def test_many_threads_with_one_account(anvil: Anvil) -> None:
    to, store, failures = someone("threads"), MemoryStore(), list[Any]()

    def pay(i: int) -> None:
        try:
            Sender(anvil.url, dev_key(13), store).send(f"pay {i % 10}", to, b"", value=1 << (i % 10))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=pay, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert balance(Rpc(anvil.url), to) == 1023
