"""The coordinator's line to the chain. A network may delay anything: this one can hold a lock's transaction back."""

from __future__ import annotations

import threading
from typing import Any

import rlp
from eth_hash.auto import keccak

from consent_contracts import abi
from consent_contracts.proxy import ALLOWED, Proxy
from consilium_errors import Unavailable

#: Shorter than a client's patience; it sends the same bytes again.
HELD_S = 8.0
_TO, _DATA = 5, 7  # fields of an EIP-1559 transaction


class Line(Proxy):
    """A proxy as every hospital has, which delays, when asked to, what would lock a set. It alters nothing.

    Args:
        ledger: address of AttestationLedger, 20 bytes.
    """

    def __init__(self, upstream: str, ledger: bytes) -> None:
        super().__init__(upstream, allowed=ALLOWED | {"eth_getBalance"})  # it watches its gas
        self._ledger, self._lock = ledger, abi.contract(abi.LEDGER).functions["lock"].selector
        self._delaying = threading.Event()
        self._let_go = threading.Event()
        self.held = threading.Event()
        self.transaction = b""

    def delay(self) -> None:
        """Hold the next transaction that locks, until `let_go`."""
        self._let_go.clear()
        self._delaying.set()

    def let_go(self) -> None:
        self._delaying.clear()
        self._let_go.set()

    def forward(self, method: str, params: list[Any]) -> Any:
        if method == "eth_sendRawTransaction" and self._delaying.is_set():
            raw = bytes.fromhex(str(params[0])[2:])
            if self._locks(raw):
                self.transaction = keccak(raw)
                self.held.set()
                if not self._let_go.wait(HELD_S):
                    raise Unavailable("line.slow", "the transaction is held back")
        return super().forward(method, params)

    def _locks(self, raw: bytes) -> bool:
        if raw[:1] != b"\x02":
            return False
        fields = rlp.decode(raw[1:])
        return bool(fields[_TO] == self._ledger and fields[_DATA][:4] == self._lock)
