"""A chain on a laptop: anvil, its public development keys, and the deployment of our contracts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import TracebackType

from consent_contracts import abi
from consent_contracts.chain import Addresses
from consent_contracts.contracts import Contracts
from consent_contracts.sender import Mined, Sender
from consilium_children import bound
from consilium_errors import Misuse, Unavailable

BINARY = Path("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")
START_TIMEOUT = 10.0
# Else anvil keeps up to 3600 blocks' states on the disk, megabytes each, and a killed one leaves them there.
STATES_IN_MEMORY = 200
_LISTENING = re.compile(rb"Listening on 127\.0\.0\.1:(\d+)")


class Anvil:
    """An anvil process on a free port, for as long as the ``with`` block lasts.

    Blocks come every ``block_time`` seconds and are final at once (``--slots-in-an-epoch 0``; with the
    default, ``finalized`` stays at zero for ever). What an old block's state was is asked in vain after
    STATES_IN_MEMORY blocks; its header, receipts and logs stay. It ends with the thread that started it,
    however that ends.

    Args:
        state: file to load from and save to on a clean exit; also saved every ``save_s`` seconds.
        save_s: None: on a clean exit only, and the newest state only. A long chain's states are large.
        history: also save the state at every block: the file grows by some 50 kB a block.
        accounts: number of funded development accounts.
    """

    def __init__(
        self,
        *,
        block_time: float = 0.2,
        state: Path | None = None,
        save_s: int | None = 1,
        history: bool = True,
        accounts: int = 20,
        port: int = 0,
    ) -> None:
        self._options = ["--block-time", str(block_time), "--slots-in-an-epoch", "0"]
        self._options += ["--prune-history", str(STATES_IN_MEMORY)]
        self._options += ["--hardfork", "cancun", "--accounts", str(accounts), "--port", str(port)]
        if state is not None:
            self._options += ["--state", str(state)]
            if save_s is not None:
                self._options += ["--state-interval", str(save_s)]
                self._options += ["--preserve-historical-states"] if history else []
        self._process: subprocess.Popen[bytes] | None = None
        self._listening = False
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Anvil:
        """Raises Misuse ``laptop.no_anvil``; Unavailable ``laptop.no_start``."""
        binary = Path(__file__).parent / BINARY
        if not os.access(binary, os.X_OK):
            raise Misuse("laptop.no_anvil", "anvil is not installed", remedy="make setup")
        # The binary itself, never npm's shim: killing the shim orphans the node.
        process = subprocess.Popen(  # noqa: S603
            bound([str(binary), *self._options]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._process, ended = process, threading.Event()
        threading.Thread(target=self._listen, args=(process.stdout, ended), daemon=True).start()
        if not ended.wait(START_TIMEOUT) or not self._listening:
            self.stop()
            raise Unavailable("laptop.no_start", "anvil did not start")
        return self

    def _listen(self, stream: Iterable[bytes], ended: threading.Event) -> None:
        """Find the port; then read on, since a full pipe would stop the node."""
        for line in stream:
            if found := _LISTENING.search(line):
                self.port, self._listening = int(found[1]), True
                ended.set()
        ended.set()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Anvil:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


DEV_MNEMONIC = "test test test test test test test test test test test junk"


@cache
def dev_key(index: int) -> bytes:
    """Private key of anvil's public development account ``index``. Worthless anywhere else."""
    from eth_account.hdaccount import key_from_seed, seed_from_mnemonic

    seed = seed_from_mnemonic(DEV_MNEMONIC, passphrase="")
    return bytes(key_from_seed(seed, f"m/44'/60'/0'/0/{index}"))


def deploy(sender: Sender, *, admin_delay: int = 0) -> Addresses:
    """Both contracts, the sender as administrator; the ledger gets the role that may consume consent."""
    registry = sender.send(
        "deploy/registry", None, abi.contract(abi.REGISTRY).deployment(sender.address, admin_delay)
    )
    ledger = sender.send("deploy/ledger", None, abi.contract(abi.LEDGER).deployment(_created(registry)))
    addresses = Addresses(sender.chain_id(), _created(registry), _created(ledger), registry.block_number)
    Contracts(sender, addresses).grant_role("LEDGER", addresses.ledger, once="deploy")
    return addresses


def _created(mined: Mined) -> bytes:
    if mined.created is None:
        raise Unavailable("laptop.no_contract", "the node does not say where the contract is")
    return mined.created
