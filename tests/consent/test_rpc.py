from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_contracts.laptop import Anvil
from consent_contracts.proxy import Proxy
from consent_contracts.rpc import NodeError, Rpc, data, quantity
from consilium_errors import Error, Hostile, Unavailable

pytestmark = pytest.mark.chain


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[Rpc]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield Rpc(f"http://user:secret-key@127.0.0.1:{server.server_port}/", timeout=2)
    finally:
        server.shutdown()
        server.server_close()


def test_reads_a_real_node(anvil: Anvil) -> None:
    rpc = Rpc(anvil.url)
    assert rpc.chain_id() == 31337
    block = rpc.block("finalized")
    assert rpc.block(block["number"])["hash"] == block["hash"]
    assert rpc.code(bytes(19) + b"\1", block["hash"]) == b""
    with pytest.raises(Unavailable, match="no block"):
        rpc.block(1 << 40)
    with pytest.raises(NodeError):
        rpc.call("eth_sendRawTransaction", "0x02f8")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "rpc.unreachable"),
        (b"<html>", "rpc.unreachable"),
        (b"[]", "rpc.malformed"),
        (b'{"jsonrpc":"2.0","id":1}', "rpc.malformed"),
        (b'{"jsonrpc":"2.0","id":7,"result":"0x1"}', "rpc.wrong_id"),
        (b'{"jsonrpc":"2.0","id":1,"result":"1"}', "rpc.malformed"),
        (b'{"jsonrpc":"2.0","id":1,"result":"0x01"}', "rpc.malformed"),
        (b'{"jsonrpc":"2.0","id":1,"error":"no"}', "rpc.malformed"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"busy"}}', "rpc.node_error"),
    ],
)
def test_malformed_answers_are_typed(body: bytes, code: str) -> None:
    with answering(body) as rpc, pytest.raises(Error) as caught:
        rpc.chain_id()
    assert caught.value.code == code
    assert "secret" not in caught.value.diagnostics()


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["]",', b'["\\"]",', b'[{"}":'])
def test_deep_nesting_does_not_crash_the_parser(opening: bytes) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)  # as some libraries do
    try:
        with answering(opening * 50_000) as rpc, pytest.raises(Unavailable) as caught:
            rpc.chain_id()
    finally:
        sys.setrecursionlimit(limit)
    assert caught.value.code == "rpc.unreachable"


def test_many_flat_logs_are_read() -> None:
    logs = [{"topics": ["0x1", "[" * 200]}] * 1000
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": logs}).encode()
    with answering(body) as rpc:
        assert rpc.call("eth_getLogs") == logs


def test_a_redirect_is_not_followed() -> None:
    with answering(b"", 302) as rpc, pytest.raises(Unavailable):
        rpc.chain_id()


def test_an_absent_node_is_unavailable_and_its_key_stays_secret() -> None:
    with pytest.raises(Unavailable) as caught:
        Rpc("http://127.0.0.1:1/v3/secret-key").chain_id()
    assert caught.value.code == "rpc.unreachable"
    assert "secret" not in caught.value.diagnostics()


def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consent_contracts.rpc.MAX_ANSWER", 1 << 16)
    with answering(b" " * (1 << 18)) as rpc, pytest.raises(Hostile, match="more than"):
        rpc.chain_id()


@given(st.one_of(st.text(), st.integers(), st.none(), st.binary(), st.lists(st.integers())))
def test_readers_accept_their_own_form_only(value: object) -> None:
    for read in (quantity, data):
        try:
            found: object = read(value)  # type: ignore[operator]
        except Hostile:
            continue
        assert isinstance(value, str)
        assert value.lower() == (hex(found) if isinstance(found, int) else "0x" + found.hex())


def test_the_proxy_forwards_what_is_allowed_only(anvil: Anvil) -> None:
    with Proxy(anvil.url) as proxy:
        rpc = Rpc(proxy.url)
        assert rpc.chain_id() == 31337
        for method in (
            "anvil_setBalance",
            "eth_sendTransaction",
            "debug_traceCall",
            "personal_unlockAccount",
        ):
            with pytest.raises(NodeError, match="not allowed"):
                rpc.call(method)
        with pytest.raises(NodeError, match="ecode"):
            rpc.call("eth_sendRawTransaction", "0x02f8")


class Watched(Proxy):
    """Notes what is sent on one by one."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.alone: list[str] = []

    def forward(self, method: str, params: list[object]) -> object:
        self.alone.append(method)
        return super().forward(method, params)


def test_the_proxy_sends_lists_of_reads_on_as_one(anvil: Anvil) -> None:
    with Watched(anvil.url) as proxy:
        rpc = Rpc(proxy.url)
        block: tuple[str, list[object]] = ("eth_getBlockByNumber", ["latest", False])
        first, second = rpc.call_each([block, ("eth_call", [{"to": "0x" + "11" * 20}, "latest"])])
        assert (first["number"][:2], second) == ("0x", "0x")
        assert proxy.alone == []
        bad = rpc.call_each([block, ("eth_call", [{"to": "?"}, "latest"])])[1]
        assert isinstance(bad, NodeError)
        refused = rpc.call_each([block, ("anvil_mine", [])])
        assert "not allowed" in refused[1].said
        assert proxy.alone == ["eth_getBlockByNumber"]
        rpc.call_each([block, ("eth_chainId", [])])
        assert proxy.alone[1:] == ["eth_getBlockByNumber", "eth_chainId"]


@pytest.fixture(scope="module")
def silent() -> Iterator[Proxy]:
    with Proxy("http://127.0.0.1:1") as proxy:
        yield proxy


@given(
    body=st.one_of(
        st.binary(),
        st.recursive(st.text() | st.integers(), lambda x: st.lists(x)).map(
            lambda value: json.dumps(value).encode()
        ),
    )
)
def test_the_proxy_answers_any_bytes(silent: Proxy, body: bytes) -> None:
    answers = json.loads(silent.answer(body))
    for answer in answers if isinstance(answers, list) else [answers]:
        assert answer["error"]["code"] == -32600


def test_a_caller_that_hangs_up_leaves_no_stack_in_the_log(
    silent: Proxy, capfd: pytest.CaptureFixture[str]
) -> None:
    for said in (b"", b"POST / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"):
        line = socket.create_connection(("127.0.0.1", int(silent.url.rsplit(":", 1)[1])))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
        line.sendall(said)
        line.close()
    time.sleep(0.3)
    with pytest.raises(Unavailable):  # the node behind it is away, but it serves on
        Rpc(silent.url).chain_id()
    assert capfd.readouterr().err == ""
