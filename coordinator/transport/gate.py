"""The one door that hospitals reach: mutual TLS in front of the SuperLink's Fleet API, and nothing else of it.

Rules:

1. Whoever shows no certificate of the consortium's authority gets no HTTP at all (TLS 1.3).
2. `POST` to one of the paths in `OPEN`, exactly, and `GET /health`; anything else is 404, whoever asks.
3. The certificate must name a hospital of the roster, not be revoked, and the request must come from that
   hospital's own node key: one hospital cannot speak as another.
4. Bodies, speed, and connections of each hospital are limited; one that crawls holds up itself only.
5. An answer names no reason but a code.

The gate also holds an empty pull until there is a question or `HOLD_S` has passed (long poll), and tells the
mailbox when a node begins anew or has spoken, so that neither side need ask again and again.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, cast

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web

from consilium_errors import Error, Hostile, Refused, Unavailable
from coordinator.transport.grid import objects_to_push
from crypto.certificates import Revocations, member_of, now
from protos.exchange import CHUNK

log = structlog.get_logger(__name__)

FLEET: Final = "/v1/fleet/"
PULL, ACTIVATE = FLEET + "pull-messages", FLEET + "activate-node"
PUSH, PUSH_OBJECT = FLEET + "push-messages", FLEET + "push-object"
OPEN: Final = frozenset(
    FLEET + name
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)
#: Flower's headers by which a node signs each request.
NODE_KEY_HEADER: Final = "flwr-public-key"
_PASSED_ON: Final = ("content-type", "accept", "user-agent")

MOST_BODY: Final = CHUNK + (64 << 10)
HOLD_S: Final = 10.0
IDLE_BODY_S: Final = 30.0
HANDSHAKE_S: Final = 10.0
UPSTREAM_S: Final = 60.0
PER_SECOND, BURST = 200.0, 600.0
CONNECTIONS: Final = 32
#: Objects of a long answer between two words on it.
TOLD_EVERY: Final = 4
#: Of one hospital's answers between two that the coordinator took.
MOST_UNTAKEN: Final = 64 << 20


class Event(NamedTuple):
    """What the gate saw: a hospital ``began`` (activated anew), ``spoke`` (all of an answer, or some more of a long
    one, has come), was ``cut_off`` (the SuperLink would not take the rest), or found that the SuperLink ``failed``.
    """

    org: bytes
    kind: str


@dataclass
class _Line:
    """One hospital at the gate."""

    tokens: float = BURST
    at: float = 0.0
    open_requests: int = 0
    untaken: int = 0
    coming: int = 0  # objects of the answer that it is sending

    def meaning(self, path: str, body: bytes) -> str:
        """What a request that was answered well tells the coordinator; empty: nothing yet."""
        if path == PUSH:
            self.coming = objects_to_push(body)
            return "" if self.coming else "spoke"
        if path == PUSH_OBJECT:
            if not body:  # its one flag, "stored", is false
                return "cut_off"
            self.coming -= 1
            return "spoke" if self.coming <= 0 or self.coming % TOLD_EVERY == 0 else ""
        return "began" if path == ACTIVATE else ""

    def take(self, clock: float) -> bool:
        self.tokens = min(BURST, self.tokens + (clock - self.at) * PER_SECOND)
        self.at = clock
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Gate:
    """The door, in a thread of its own.

    Args:
        listen: host and port; port 0 takes a free one (`address` tells).
        upstream: the SuperLink's socket.
        ca, certificate, key: PEM files.
        node_keys: organisation → public key of its node (PEM, SubjectPublicKeyInfo).
        revocations: the authority's list, or None where there is none.
        told: called with each `Event`, in the gate's thread; must not block.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        upstream: Path,
        *,
        ca: Path,
        certificate: Path,
        key: Path,
        node_keys: Mapping[bytes, bytes],
        revocations: Revocations | None = None,
        told: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._listen, self._upstream, self._node_keys = listen, upstream, dict(node_keys)
        self._revocations, self._told = revocations, told
        self._tls = server_tls(ca, certificate, key)
        self._lines: dict[bytes, _Line] = defaultdict(_Line)
        self._questions: dict[bytes, asyncio.Event] = defaultdict(asyncio.Event)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self._open = False
        self.address = listen

    def start(self) -> None:
        """Raises Unavailable ``transport.gate`` if the port cannot be had."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise Unavailable(
                "transport.gate", f"the gate cannot listen: {self._error}", "choose another port"
            )

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    def ring(self, org: bytes) -> None:
        """There is a question for ``org``: let go of the pull that waits for it. From any thread."""
        self._loop.call_soon_threadsafe(lambda: self._questions[org].set())

    def settled(self, org: bytes) -> None:
        """The coordinator took an answer of ``org``, or gave it up: there is room for more."""
        self._loop.call_soon_threadsafe(lambda: setattr(self._lines[org], "untaken", 0))

    def open(self, is_open: bool) -> None:
        """Closed until the SuperLink knows the nodes: they are asked to come again rather than turned away."""
        self._open = is_open

    # the server ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._error = error
        finally:
            self._loop.run_until_complete(self._let_go())
            self._ready.set()

    async def _let_go(self) -> None:
        """Pulls that are still held, when the gate closes."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=MOST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=75, shutdown_timeout=1)
        await runner.setup()
        protocols = cast(Callable[[], asyncio.Protocol], runner.server)
        server = await self._loop.create_server(
            protocols, *self._listen, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_S, backlog=256
        )
        host, port = server.sockets[0].getsockname()[:2]
        self.address = (host, port)
        timeout = ClientTimeout(total=UPSTREAM_S)
        connector = UnixConnector(path=str(self._upstream), limit=64)
        async with ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        ) as self._session:
            self._ready.set()
            await self._stop.wait()
            server.close()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.raw_path
        if (request.method, path) == ("GET", "/health"):
            return web.Response(text="ok\n")
        if request.method != "POST" or path not in OPEN:
            return _no(404, "gate.closed")
        try:
            org = self._member(request)
        except Error as error:
            log.warning("turned away", code=error.code, peer=request.remote)
            return _no(401, error.code)
        line = self._lines[org]
        if line.open_requests >= CONNECTIONS or not line.take(time.monotonic()):
            return _no(503, "gate.too_fast")
        if not self._open:
            return _no(503, "gate.not_open")
        line.open_requests += 1
        try:
            return await self._forward(request, org, path)
        finally:
            line.open_requests -= 1

    def _member(self, request: web.Request) -> bytes:
        """The hospital behind a request.

        Raises:
            Hostile: ``certificate.malformed``, ``certificate.name``, ``gate.node_key``.
            Refused: ``gate.role``, ``gate.stranger``, ``certificate.expired``, ``certificate.revoked``.
        """
        socket = request.transport.get_extra_info("ssl_object") if request.transport else None
        der = socket.getpeercert(binary_form=True) if socket is not None else None
        if der is None:
            raise Hostile("certificate.malformed", "no certificate")
        member = member_of(ssl.DER_cert_to_PEM_cert(der).encode())
        member.check_time(now())  # a connection may outlive its certificate
        if self._revocations is not None:
            self._revocations.check(member)
        if member.role not in ("hospital", "committee"):
            raise Refused("gate.role", "only hospitals and committee members come through this door")
        expected = self._node_keys.get(member.org)
        if expected is None:
            raise Refused("gate.stranger", "not a hospital of this consortium")
        try:
            shown = base64.b64decode(request.headers.get(NODE_KEY_HEADER, ""), validate=True)
        except ValueError:
            shown = b""
        if shown != expected:
            raise Hostile("gate.node_key", "a request by another's node key")
        return member.org

    # to the SuperLink and back ------------------------------------------------------------------------

    async def _forward(self, request: web.Request, org: bytes, path: str) -> web.Response:
        try:
            body = await self._body(request)
        except web.HTTPRequestEntityTooLarge:
            return _no(413, "gate.size")
        except TimeoutError:
            return _no(408, "gate.slow")
        if path == PUSH_OBJECT:
            line = self._lines[org]
            line.untaken += len(body)
            if line.untaken > MOST_UNTAKEN:
                return _no(503, "gate.too_much")
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower().startswith("flwr-") or name.lower() in _PASSED_ON
        }
        try:
            if path == PULL:
                answer = await self._held_pull(org, body, headers)
            else:
                answer = await self._ask(path, body, headers)
        except (ClientError, TimeoutError, OSError):
            self._told(Event(org, "failed"))
            return _no(503, "gate.superlink_away")
        if answer.status == 200 and (kind := self._lines[org].meaning(path, cast(bytes, answer.body) or b"")):
            self._told(Event(org, kind))
        return answer

    async def _body(self, request: web.Request) -> bytes:
        """The request's body; every part of it must come within `IDLE_BODY_S`."""
        if (request.content_length or 0) > MOST_BODY:
            raise web.HTTPRequestEntityTooLarge(MOST_BODY, request.content_length or 0)
        body = bytearray()
        while True:
            part = await asyncio.wait_for(request.content.readany(), IDLE_BODY_S)
            if not part:
                return bytes(body)
            body += part
            if len(body) > MOST_BODY:
                raise web.HTTPRequestEntityTooLarge(MOST_BODY, len(body))

    async def _ask(self, path: str, body: bytes, headers: Mapping[str, str]) -> web.Response:
        url = f"http://superlink{path}"
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            content = await answer.read()
            kind = answer.headers.get("content-type", "application/octet-stream")
            return web.Response(status=answer.status, body=content, headers={"content-type": kind})

    async def _held_pull(self, org: bytes, body: bytes, headers: Mapping[str, str]) -> web.Response:
        """A pull that finds nothing waits for a question. An answer without messages encodes to no bytes."""
        question = self._questions[org]
        question.clear()
        answer = await self._ask(PULL, body, headers)
        if answer.status != 200 or answer.body:
            return answer
        try:
            await asyncio.wait_for(question.wait(), HOLD_S)
        except TimeoutError:
            return answer
        return await self._ask(PULL, body, headers)


def _no(status: int, code: str) -> web.Response:
    return web.Response(status=status, text=code)


def server_tls(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cafile=str(ca))
    context.load_cert_chain(str(certificate), str(key))
    return context
