"""A hospital's own JSON-RPC proxy: forwards the methods that reading and sending need, nothing else.

It keeps the node's address and key in one place, refuses wallet and admin methods, and caps sizes. It is no
defence against a lying node: two independent ones are (see `chain`).
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from consent_contracts.rpc import NodeError, Rpc
from consilium_errors import Error, Unavailable
from consilium_json import parse_json

_log = logging.getLogger(__name__)

ALLOWED = frozenset(
    {
        "eth_blockNumber",
        "eth_call",
        "eth_chainId",
        "eth_estimateGas",
        "eth_gasPrice",
        "eth_getBlockByHash",
        "eth_getBlockByNumber",
        "eth_getCode",
        "eth_getLogs",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_maxPriorityFeePerGas",
        "eth_sendRawTransaction",
    }
)
MAX_REQUEST, MAX_BATCH = 4 << 20, 32
#: Reads may reach the node in one request as they came; all else goes one by one.
TOGETHER = frozenset({"eth_call", "eth_getBlockByNumber"})
_REST_S = 0.05
_NOT_ALLOWED, _INVALID, _UPSTREAM = -32601, -32600, -32000


class Proxy:
    """Serves on 127.0.0.1 for as long as the ``with`` block lasts.

    Args:
        upstream: URL of the node.
    """

    def __init__(self, upstream: str, *, port: int = 0, allowed: frozenset[str] = ALLOWED) -> None:
        self._rpc, self._allowed = Rpc(upstream), allowed
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def forward(self, method: str, params: list[Any]) -> Any:
        """One allowed request's result."""
        return self._rpc.call_raw(method, params)

    def told(self, method: str, params: list[Any], result: Any) -> Any:
        """What whoever asked is told. Tests override this to lie."""
        return result

    def answer(self, body: bytes) -> bytes:
        """The answer to one JSON-RPC request, or to some in a list."""
        try:
            request = parse_json(body)
        except ValueError:
            return _failed(None, _INVALID, "invalid request")
        if not isinstance(request, list):
            return self._one(request)
        if not 0 < len(request) <= MAX_BATCH:
            return _failed(None, _INVALID, "invalid request")
        return b"[" + b",".join(self._each(request)) + b"]"

    def _each(self, requests: list[Any]) -> list[bytes]:
        parsed = [_parsed(request) for request in requests]
        asked = [its for its in parsed if its is not None]
        if len(asked) < len(parsed) or not {method for _, method, _ in asked} <= TOGETHER & self._allowed:
            return [self._one(request) for request in requests]
        try:
            results = self._rpc.call_each([(method, params) for _, method, params in asked])
        except Error as error:
            return [_failing(number, error) for number, _, _ in asked]
        return [self._said(*its, result) for its, result in zip(asked, results, strict=True)]

    def _one(self, request: Any) -> bytes:
        parsed = _parsed(request)
        if parsed is None:
            return _failed(
                request.get("id") if isinstance(request, dict) else None, _INVALID, "invalid request"
            )
        number, method, params = parsed
        if method not in self._allowed:
            return _failed(number, _NOT_ALLOWED, "method not allowed")
        try:
            result = self.forward(method, params)
        except Error as error:
            return _failing(number, error)
        return self._said(number, method, params, result)

    def _said(self, number: object, method: str, params: list[Any], result: Any) -> bytes:
        try:
            if isinstance(result, NodeError):
                raise result
            result = self.told(method, params, result)
        except Error as error:
            return _failing(number, error)
        return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.accept_all, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()


class _Server(ThreadingHTTPServer):
    """Sleeps until somebody calls; `serve_forever` wakes many times a second to see whether it is to end."""

    _stopped = False

    def accept_all(self) -> None:
        while not self._stopped:
            try:
                self.process_request(*self.socket.accept())
            except (OSError, RuntimeError):  # we stop, the caller has gone, or there are too many for now
                time.sleep(0 if self._stopped else _REST_S)

    def stop(self) -> None:
        self._stopped = True
        with suppress(OSError):  # not every system can; there the thread ends with the process
            self.socket.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up in the middle is no event; the standard library would print a stack."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            _log.error("a request failed: %s", type(error).__name__)


def _parsed(request: Any) -> tuple[object, str, list[Any]] | None:
    """Its number, method and parameters; None for what is no request."""
    if not isinstance(request, dict) or "id" not in request:
        return None
    method, params = request.get("method"), request.get("params", [])
    if not isinstance(method, str) or not isinstance(params, list):
        return None
    return request["id"], method, params


def _failing(number: object, error: Error) -> bytes:
    if isinstance(error, NodeError):
        return _failed(number, error.number, error.said, error.reason)
    return _failed(number, _UPSTREAM, "node unavailable" if isinstance(error, Unavailable) else error.code)


def _failed(number: object, code: int, message: str, data: object = None) -> bytes:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MAX_REQUEST:
                self.close_connection = True
                self.send_error(413)
                return
            try:
                self._reply(proxy.answer(self.rfile.read(int(length))))
            except ConnectionError:  # whoever asked has not waited
                self.close_connection = True

        def _reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: they show who reads which study."""

    return Handler
