"""A small JSON-RPC client for EVM nodes. Trusts no answer's form; its errors name no URL (keys live there).

web3.py's provider is not used: on a lost answer it repeats the request, also a sent transaction.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import certifi
import urllib3

from consent_contracts import abi
from consilium_errors import Error, Hostile, Refused, Unavailable
from consilium_json import parse_json

MAX_ANSWER = 64 << 20
_QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})")
_DATA = re.compile(r"0x([0-9a-fA-F]{2})*")


def _headers(parts: SplitResult) -> dict[str, str]:
    """Also a name and password that stand in the URL."""
    headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate"}
    if parts.username is None:
        return headers
    return headers | urllib3.make_headers(
        basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    )


def _pool(parts: SplitResult, timeout: float) -> urllib3.HTTPConnectionPool:
    host, headers = parts.hostname or "node", _headers(parts)
    if parts.scheme != "https":
        return urllib3.HTTPConnectionPool(host, parts.port, timeout=timeout, maxsize=8, headers=headers)
    return urllib3.HTTPSConnectionPool(
        host,
        parts.port,
        timeout=timeout,
        maxsize=8,
        headers=headers,
        cert_reqs="CERT_REQUIRED",
        ca_certs=certifi.where(),
    )


class NodeError(Unavailable):
    """The node answered with an error that is not a revert."""

    def __init__(self, number: int, said: str, reason: object = None) -> None:
        super().__init__("rpc.node_error", f"the node answered with error {number}: {said[:200]}")
        self.number, self.said, self.reason = number, said, reason


def quantity(value: object) -> int:
    """Raises Hostile ``rpc.malformed``, like all readers here."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise Hostile("rpc.malformed", "expected a quantity")
    return int(value, 16)


def data(value: object, size: int | None = None) -> bytes:
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise Hostile("rpc.malformed", "expected bytes")
    found = bytes.fromhex(value[2:])
    if size is not None and len(found) != size:
        raise Hostile("rpc.malformed", f"expected {size} bytes, found {len(found)}")
    return found


def record(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Hostile("rpc.malformed", "expected an object")
    return value


def field(value: dict[str, Any], name: str) -> Any:
    if name not in value:
        raise Hostile("rpc.malformed", f"{name} is missing")
    return value[name]


def listed(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise Hostile("rpc.malformed", "expected a list")
    return value


class Rpc:
    """One node. Safe to share between threads.

    Args:
        url: http or https.
        timeout: seconds to connect and between bytes.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        self._path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        self.name = parts.hostname or "node"
        self._ids = itertools.count(1)
        self._single = False
        # Below `requests`, at half its cost, and the environment cannot redirect what decides on consent.
        self._pool = _pool(parts, timeout)

    def __repr__(self) -> str:
        return f"Rpc({self.name})"

    def call(self, method: str, *params: object) -> Any:
        """The ``result`` of one request.

        Raises:
            Refused: ``chain.<error>`` when the contract reverted.
            Unavailable: ``rpc.unreachable``, ``rpc.node_error`` (`NodeError`).
            Hostile: ``rpc.malformed``, ``rpc.wrong_id``, ``rpc.too_long``.
        """
        try:
            return self.call_raw(method, list(params))
        except NodeError as error:
            raise _typed(error) from None

    def call_raw(self, method: str, params: list[Any]) -> Any:
        """As `call`, but a revert stays a `NodeError` with its data."""
        request = self._request(method, params)
        answer = record(self._decode(self._post(json.dumps(request).encode())))
        if answer.get("id") != request["id"]:
            raise Hostile("rpc.wrong_id", "the answer belongs to another request")
        return _result(answer)

    def _request(self, method: str, params: list[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}

    def call_each(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """The results of several calls, in one request where the node takes that; a `NodeError` in a result's place.

        Raises:
            Unavailable: ``rpc.unreachable``. Hostile: as `call`.
        """
        if self._single:
            return [_or_error(partial(self.call_raw, method, params)) for method, params in calls]
        requests = [self._request(method, params) for method, params in calls]
        body = self._post(json.dumps(requests).encode())
        try:
            answers = self._decode(body)
        except Unavailable:
            answers = None
        if not isinstance(answers, list):  # not every node takes lists; some say so in plain text
            self._single = True
            return self.call_each(calls)
        found = [record(answer) for answer in answers]
        if [answer.get("id") for answer in sorted(found, key=_id)] != [r["id"] for r in requests]:
            raise Hostile("rpc.wrong_id", "the answers belong to other requests")
        return [_or_error(partial(_result, answer)) for answer in sorted(found, key=_id)]

    def _post(self, body: bytes) -> bytes:
        try:
            response = self._pool.urlopen(
                "POST", self._path, body=body, retries=False, redirect=False, preload_content=False
            )
            try:
                found = bytearray()
                for chunk in response.stream(1 << 16):
                    found += chunk
                    if len(found) > MAX_ANSWER:
                        response.close()
                        raise Hostile("rpc.too_long", f"{self.name} answered more than {MAX_ANSWER} bytes")
                return bytes(found)
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            kind = type(error).__name__
            raise Unavailable("rpc.unreachable", f"{self.name} cannot be reached ({kind})") from None

    def _decode(self, body: bytes) -> object:
        try:
            return parse_json(body)
        except ValueError:
            raise Unavailable("rpc.unreachable", f"{self.name} did not answer with JSON") from None

    # what we read -------------------------------------------------------------------------------------

    def chain_id(self) -> int:
        return quantity(self.call("eth_chainId"))

    def block(self, tag: str | int) -> dict[str, Any]:
        """Header with ``number``, ``timestamp`` as int and ``hash`` as bytes, beside the raw fields.

        Raises:
            Unavailable: ``rpc.no_block``.
        """
        name = tag if isinstance(tag, str) else hex(tag)
        found = self.call("eth_getBlockByNumber", name, False)
        if found is None:
            raise Unavailable("rpc.no_block", f"{self.name} has no block {name}")
        raw = record(found)
        header = {
            **raw,
            "number": quantity(field(raw, "number")),
            "timestamp": quantity(field(raw, "timestamp")),
            "hash": data(field(raw, "hash"), 32),
        }
        if isinstance(tag, int) and header["number"] != tag:
            raise Hostile("rpc.malformed", "another block than asked for")
        return header

    def eth_call(self, to: bytes, calldata: bytes, block: str | bytes = "latest") -> bytes:
        """``block``: a tag, or a block hash (EIP-1898)."""
        request = {"to": "0x" + to.hex(), "data": "0x" + calldata.hex()}
        return data(self.call("eth_call", request, at(block)))

    def eth_calls(self, calls: Sequence[tuple[bytes, bytes]], block: str | bytes) -> list[bytes | None]:
        """Of several addresses and calldata; None where the contract reverted. Raises as `call` but for that."""
        requests = [
            ("eth_call", [{"to": "0x" + to.hex(), "data": "0x" + calldata.hex()}, at(block)])
            for to, calldata in calls
        ]
        return [_unless_reverted(answer) for answer in self.call_each(requests)]

    def code(self, address: bytes, block: str | bytes = "latest") -> bytes:
        return data(self.call("eth_getCode", "0x" + address.hex(), at(block)))


def at(block: str | bytes) -> object:
    """A block parameter; a hash must be canonical (EIP-1898)."""
    return block if isinstance(block, str) else {"blockHash": "0x" + block.hex(), "requireCanonical": True}


def _id(answer: dict[str, Any]) -> int:
    number = answer.get("id")
    return number if isinstance(number, int) else -1


def _result(answer: dict[str, Any]) -> Any:
    if answer.get("error") is not None:
        raise _node_error(record(answer["error"]))
    if "result" not in answer:
        raise Hostile("rpc.malformed", "neither result nor error")
    return answer["result"]


def _or_error(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except NodeError as error:
        return error


def _unless_reverted(answer: Any) -> bytes | None:
    if not isinstance(answer, NodeError):
        return data(answer)
    error = _typed(answer)
    if isinstance(error, Refused):
        return None
    raise error


def _node_error(error: dict[str, Any]) -> NodeError:
    number = error.get("code")
    return NodeError(
        number if isinstance(number, int) else 0, str(error.get("message", "")), error.get("data")
    )


def _typed(error: NodeError) -> Error:
    if error.number != 3 and "revert" not in error.said.lower():
        return error
    reason = error.reason
    if isinstance(reason, dict):  # some nodes wrap it
        reason = reason.get("data", reason.get("result"))
    found = reason if isinstance(reason, str) and _DATA.fullmatch(reason) else "0x"
    return abi.revert(bytes.fromhex(found[2:]))
