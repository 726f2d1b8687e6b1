"""Nodes that misbehave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consent_contracts.proxy import ALLOWED, Proxy

Lie = Callable[[str, list[Any], Any], Any]


class LyingProxy(Proxy):
    """Forwards, then lets ``lie`` replace the result."""

    def __init__(self, upstream: str, lie: Lie) -> None:
        super().__init__(upstream, allowed=ALLOWED)
        self.lie = lie

    def told(self, method: str, params: list[Any], result: Any) -> Any:
        return self.lie(method, params, result)


class LossyProxy(Proxy):
    """Forwards, but closes the line instead of answering the first ``losses`` calls of ``method``."""

    def __init__(self, upstream: str, method: str, losses: int, *, deliver: bool = True) -> None:
        super().__init__(upstream)
        self.method, self.losses, self.deliver, self.seen = method, losses, deliver, 0

    def forward(self, method: str, params: list[Any]) -> Any:
        if method != self.method:
            return super().forward(method, params)
        self.seen += 1
        lost = self.seen <= self.losses
        if lost and not self.deliver:
            raise ConnectionAbortedError
        result = super().forward(method, params)
        if lost:
            raise ConnectionAbortedError
        return result
