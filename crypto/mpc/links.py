"""Links between the three members: gRPC streams under mutual TLS, every wait with an end.

Rules
* Each pair has two streams, one for each direction; the dialler only sends, the listener only takes.
* The listener reads who dials from the client certificate: exactly ``consilium://committee/<0xaddress>`` of a
  pinned member, valid and not revoked. The dialler demands a certificate for `host_of` the member it means.
* Both name the same session, or there is no stream.
* Receiving and sending give up after ``timeout_s`` and name the peer: Unavailable ``mpc.silent_peer``.
* A stream that ends otherwise than by the dialler's own word is Unavailable ``mpc.peer_lost``. `close` waits until
  the other two have come as far; leaving by an exception tells them at once.
* No error here is a RuntimeError: CrypTen takes those for lack of memory and computes again.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

import grpc

from consilium_errors import Error, Hostile, Misuse, Unavailable
from crypto.mpc.handshake import Credentials, Session, host_of, identify
from crypto.mpc.inbox import Inbox

FRAME_LIMIT: Final = 1 << 28
_SERVICE: Final = "consilium.mpc.Mesh"
SESSION: Final = "consilium-session-bin"
_WELCOME: Final = b"welcome"
_RETRY_S: Final = 0.02
_POLL_S: Final = 0.05
_PARTING_S: Final = 1.0
_QUEUED: Final = 4
_WORKERS: Final = 8

_log = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview


class Links:
    """This member's links to the other two. For one thread; use as a context manager. Made by `connect`."""

    def __init__(self, session: Session, *, timeout_s: float, frame_limit: int) -> None:
        self.rank, self.orgs, self.session = session.rank, session.orgs, session
        self.timeout_s, self._limit = timeout_s, frame_limit
        self._inboxes = {peer: Inbox(2 * frame_limit) for peer in session.others()}
        self._out: dict[int, _Outbound] = {}
        self._server: Any = None
        self._joined: queue.Queue[int] = queue.Queue()
        self._greeted: set[int] = set()
        self._lock = threading.Lock()
        self._ended = False

    @classmethod
    def connect(
        cls,
        session: Session,
        addresses: Sequence[tuple[str, int]],
        credentials: Credentials,
        *,
        timeout_s: float,
        frame_limit: int = FRAME_LIMIT,
    ) -> Self:
        """Listen, and wait for the other members.

        Args:
            addresses: host and port of each member by rank; ours is where to listen.

        Raises:
            Unavailable: ``mpc.silent_peer``, ``mpc.door``. Misuse: ``mpc.credentials``.
        """
        deadline = time.monotonic() + timeout_s
        links = cls(session, timeout_s=timeout_s, frame_limit=frame_limit)
        try:
            links._listen(addresses[session.rank], credentials, deadline)
            for peer in session.others():
                links._out[peer] = _Outbound(links, peer, addresses[peer], credentials, deadline)
            links._wait(deadline)
        except BaseException:
            links.abort()
            raise
        return links

    def send(self, peer: int, body: Buffer) -> None:
        """Raises Unavailable ``mpc.silent_peer``, ``mpc.peer_lost``; Misuse ``mpc.frame`` beyond the limit."""
        size = memoryview(body).nbytes
        if size > self._limit:
            raise Misuse("mpc.frame", f"a frame of {size} bytes; the limit is {self._limit}")
        self._out[peer].put(bytes(body), self.timeout_s)

    def receive(self, peer: int, size: int | None = None) -> bytearray:
        """The next frame from ``peer``.

        Args:
            size: bytes that it must have; None for any number up to the limit.

        Raises:
            Unavailable: ``mpc.silent_peer``, ``mpc.peer_lost``. Hostile: ``mpc.frame``.
        """
        frame = self._inboxes[peer].take(self.timeout_s)
        if frame is None:
            raise self.silent(peer, "sent nothing")
        if size is not None and len(frame) != size:
            raise Hostile("mpc.frame", f"{self.name(peer)} sent {len(frame)} bytes in place of {size}")
        return frame

    def exchange(self, body: Buffer, size: int | None = None) -> dict[int, bytes]:
        """Send ``body`` to both others; what each of them sent, and our own, by rank."""
        for peer in self._out:
            self.send(peer, body)
        found = {peer: bytes(self.receive(peer, size)) for peer in self._inboxes}
        return {**found, self.rank: bytes(body)}

    def barrier(self) -> None:
        """Return when the other two have come here too."""
        for peer, found in self.exchange(b"barrier").items():
            if found != b"barrier":
                raise Hostile("mpc.frame", f"{self.name(peer)} is at another step")

    def close(self) -> None:
        """Part in order: everything sent is read, nobody is cut off."""
        if self._ended:
            return
        try:
            self.barrier()
            for out in self._out.values():
                out.finish()
            for out in self._out.values():
                out.wait(self.timeout_s)
        finally:
            self.abort()

    def abort(self) -> None:
        """End at once; the peers notice."""
        self._ended = True
        for peer, inbox in self._inboxes.items():
            inbox.end(self.lost(peer))
        for out in self._out.values():
            out.cancel()
        if self._server is not None:
            self._server.stop(0).wait(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def name(self, peer: int) -> str:
        return f"member {peer} (0x{self.orgs[peer].hex()})"

    # the door -----------------------------------------------------------------------------------------

    def _listen(self, address: tuple[str, int], credentials: Credentials, deadline: float) -> None:
        ca, certificate, key = credentials.read()
        secure = grpc.ssl_server_credentials(
            [(key, certificate)], root_certificates=ca, require_client_auth=True
        )

        def frames(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            peer = self._admit(context, credentials)
            yield _WELCOME
            self._joined.put(peer)
            self._read(peer, requests)

        handler: Any = grpc.stream_stream_rpc_method_handler(frames)
        _await_free(address, deadline)
        server = grpc.server(
            ThreadPoolExecutor(_WORKERS),
            handlers=[grpc.method_handlers_generic_handler(_SERVICE, {"Frames": handler})],
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", self._limit),
            ],
        )
        try:
            server.add_secure_port(f"{address[0]}:{address[1]}", secure)
        except RuntimeError:
            raise _taken(address) from None
        server.start()
        self._server = server

    def _admit(self, context: Any, credentials: Credentials) -> int:
        """Rank of the pinned member that dials; anybody else is turned away."""
        try:
            pem = context.auth_context().get("x509_pem_cert", [b""])[0]
            peer = identify(pem, self.orgs, credentials)
            said = dict(context.invocation_metadata()).get(SESSION)
            if peer == self.rank or said != self.session.hello(peer, self.rank):
                raise Hostile("mpc.peer_identity", "a member greets from another session")
            with self._lock:
                if peer in self._greeted:
                    raise Hostile("mpc.peer_identity", "a member greets twice")
                self._greeted.add(peer)
        except Error as error:
            _log.warning("a stream was turned away: %s", error.code)
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "")
        return peer

    def _read(self, peer: int, requests: Iterator[bytes]) -> None:
        inbox = self._inboxes[peer]
        with contextlib.suppress(Exception):  # whatever gRPC raises when the peer is gone
            for frame in requests:
                if not inbox.put(bytearray(frame)):
                    break
        inbox.end(self.lost(peer))

    def _wait(self, deadline: float) -> None:
        missing = set(self.session.others())
        while missing:
            try:
                missing.discard(self._joined.get(timeout=max(deadline - time.monotonic(), 0)))
            except queue.Empty:
                raise unreached(self.session, min(missing)) from None

    def silent(self, peer: int, what: str) -> Unavailable:
        return Unavailable(
            "mpc.silent_peer",
            f"{self.name(peer)} {what} for {self.timeout_s:g} s",
            "ask that member; nothing is lost, and the job runs again from the stored shares",
        )

    def lost(self, peer: int) -> Unavailable:
        return Unavailable(
            "mpc.peer_lost",
            f"{self.name(peer)} ended the connection",
            "the job runs again from the stored shares once that member is back",
        )


class _Outbound:
    """The stream to one peer. The dialler's own word that it is done is the end of its requests."""

    def __init__(
        self, links: Links, peer: int, address: tuple[str, int], credentials: Credentials, deadline: float
    ) -> None:
        self._links, self._peer = links, peer
        self._frames: queue.Queue[bytes | None] = queue.Queue(_QUEUED)
        ca, certificate, key = credentials.read()
        self._channel = grpc.secure_channel(
            f"{address[0]}:{address[1]}",
            grpc.ssl_channel_credentials(ca, key, certificate),
            options=[
                ("grpc.ssl_target_name_override", host_of(links.orgs[peer])),
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 200),
                ("grpc.max_send_message_length", -1),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self._call = self._dial(deadline)

    def _dial(self, deadline: float) -> Any:
        """Dial until the peer answers; it may not have started yet, or still be in an earlier session."""
        start: Any = self._channel.stream_stream(f"/{_SERVICE}/Frames")
        hello = self._links.session.hello(self._links.rank, self._peer)
        while (left := deadline - time.monotonic()) > 0:
            call = start(self._requests(), metadata=((SESSION, hello),), wait_for_ready=True, timeout=None)
            try:
                answered = _within(call, left)
            except grpc.RpcError:
                answered = None
            if answered == _WELCOME:
                return call
            call.cancel()
            self._frames.put(None)  # frees the thread that waits for frames of the call that came to nothing
            self._frames = queue.Queue(_QUEUED)
            time.sleep(_RETRY_S)
        self._channel.close()
        raise unreached(self._links.session, self._peer)

    def _requests(self) -> Iterator[bytes]:
        frames = self._frames
        while (frame := frames.get()) is not None:
            yield frame

    def put(self, frame: bytes, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            if not self._call.is_active():
                raise self._links.lost(self._peer)
            try:
                return self._frames.put(frame, timeout=min(_POLL_S, timeout_s))
            except queue.Full:
                if time.monotonic() >= deadline:
                    raise self._links.silent(self._peer, "takes nothing") from None

    def finish(self) -> None:
        with contextlib.suppress(queue.Full):
            self._frames.put(None, timeout=self._links.timeout_s)

    def wait(self, timeout_s: float) -> None:
        """Until the peer has read to the end."""
        ended = threading.Event()
        if self._call.add_callback(ended.set):
            ended.wait(timeout_s)

    def cancel(self) -> None:
        self._call.cancel()
        with contextlib.suppress(queue.Full):
            self._frames.put_nowait(None)
        # gRPC closes once what lies in the socket is written, so never if the peer reads no more
        closing = threading.Thread(target=self._channel.close, daemon=True)
        closing.start()
        closing.join(_PARTING_S)


def _await_free(address: tuple[str, int], deadline: float) -> None:
    """The process of an earlier meeting may be about to end.

    Raises:
        Unavailable: ``mpc.door``.
    """
    while True:
        try:
            socket.create_server(address).close()
        except OSError:
            if time.monotonic() > deadline:
                raise _taken(address) from None
            time.sleep(_POLL_S)
        else:
            return


def _taken(address: tuple[str, int]) -> Unavailable:
    return Unavailable("mpc.door", f"cannot listen on {address[0]}:{address[1]}", "end whoever listens there")


def _within(call: Any, seconds: float) -> bytes | None:
    """The first answer, or None if none comes in time."""
    timer = threading.Timer(seconds, call.cancel)
    timer.start()
    try:
        return next(call, None)
    finally:
        timer.cancel()


def unreached(session: Session, peer: int) -> Unavailable:
    return Unavailable(
        "mpc.silent_peer",
        f"member {peer} (0x{session.orgs[peer].hex()}) is not reached",
        "ask that member; nothing is lost, and the job runs again from the stored shares",
    )
