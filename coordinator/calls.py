"""What the coordinator asks of the chain, each at most once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from consent_contracts.contracts import Contracts
from coordinator.round import AttestCall, Call, RecoverCall

THREADS = 8


class ChainCalls:
    """Carries out every `Call`; raises as `consent_contracts.sender.Sender.send`."""

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts

    def __call__(self, call: Call) -> None:
        if isinstance(call, AttestCall):
            self._contracts.attest(call.study, call.seal, call.orgs, call.signatures)
            return
        if isinstance(call, RecoverCall):
            self._contracts.recover(call.study, call.lock_id, call.org)
            return
        self._contracts.lock(
            call.ctx,
            call.uses,
            call.orgs,
            call.ready_root,
            call.inputs_root,
            call.lock_by,
            call.upload_hashes,
            call.signatures,
        )


class Background:
    """Calls in threads of their own: a study that waits for a block holds up no other.

    A call returns at once; whoever makes it makes it again until the chain shows its effect, and is told then
    what came of it. A repeated call is not sent twice (`consent_contracts.sender`).
    """

    def __init__(self, calls: Callable[[Call], None]) -> None:
        self._calls = calls
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="calls")
        self._under_way: dict[bytes, Future[None]] = {}
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> None:
        """Raises what the last call of this name raised, once."""
        name = call.name
        with self._lock:
            found = self._under_way.get(name)
            if found is None:
                self._under_way[name] = self._pool.submit(self._calls, call)
                return
            if not found.done():
                return
            del self._under_way[name]
        found.result()

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(cancel_futures=True)
