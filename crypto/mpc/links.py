"""Links between the three members: mutual TLS 1.3 over TCP, frames with a length, every wait with an end.

Rules
* Each pair has two connections, one for each direction (`handshake` has who may be at the other end).
* A frame is its length (8 bytes, big endian) and that many bytes; longer than the limit is Hostile.
* Receiving and sending give up after ``timeout_s`` and name the peer: Unavailable ``mpc.silent_peer``.
* A connection that ends without the farewell frame is Unavailable ``mpc.peer_lost``. `close` waits until the
  other two have come as far; leaving by an exception tells them at once.
* No error here is a RuntimeError: CrypTen takes those for lack of memory and computes again.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from consilium_errors import Error, Hostile, Misuse, Refused, Unavailable
from crypto.mpc.handshake import Credentials, Session, answer, dial
from crypto.mpc.inbox import Inbox

FRAME_LIMIT: Final = 1 << 28
_HEADER: Final = 8
_FAREWELL: Final = (1 << 64) - 1
_SMALL: Final = 1 << 14  # joined with its header; copying is cheaper than another record
_GREETING_S: Final = 5.0
_AT_ONCE: Final = 16
_RETRY_S: Final = 0.02
_POLL_S: Final = 0.05

_log = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview


class Links:
    """This member's links to the other two. For one thread; use as a context manager.

    Raises:
        Refused: ``mpc.plaintext_link`` for anything but TLS 1.3 connections to each other member.
    """

    def __init__(
        self,
        session: Session,
        inbound: Mapping[int, socket.socket],
        outbound: Mapping[int, socket.socket],
        *,
        timeout_s: float,
        frame_limit: int = FRAME_LIMIT,
    ) -> None:
        self.rank, self.orgs, self.session = session.rank, session.orgs, session
        self.timeout_s, self._limit = timeout_s, frame_limit
        others = session.others()
        self._in = {peer: _protected(inbound.get(peer)) for peer in others}
        self._out = {peer: _protected(outbound.get(peer)) for peer in others}
        self._inboxes = {peer: Inbox(2 * frame_limit) for peer in others}
        self._ended = False
        for peer in others:
            self._in[peer].settimeout(None)  # the wait is bounded where a frame is asked for
            self._out[peer].settimeout(timeout_s)
        self._readers = [threading.Thread(target=self._read, args=(p,), daemon=True) for p in others]
        for reader in self._readers:
            reader.start()

    @classmethod
    def connect(
        cls,
        session: Session,
        addresses: Sequence[tuple[str, int]],
        listener: socket.socket,
        credentials: Credentials,
        *,
        timeout_s: float,
        frame_limit: int = FRAME_LIMIT,
    ) -> Self:
        """Wait for the other members and connect.

        Args:
            addresses: host and port of each member by rank; our own is not used.
            listener: bound and listening; closed here.

        Raises:
            Unavailable: ``mpc.silent_peer``. Hostile: ``mpc.peer_identity``. Misuse: ``mpc.credentials``.
        """
        deadline = time.monotonic() + timeout_s
        outbound: dict[int, ssl.SSLSocket] = {}
        with _Door(session, listener, credentials) as door:
            client = credentials.context(ssl.PROTOCOL_TLS_CLIENT)
            try:
                for peer in session.others():
                    outbound[peer] = _reach(client, addresses[peer], peer, session, credentials, deadline)
                inbound = door.wait(deadline)
            except BaseException:
                for tls in outbound.values():
                    tls.close()
                raise
        return cls(session, inbound, outbound, timeout_s=timeout_s, frame_limit=frame_limit)

    def send(self, peer: int, body: Buffer) -> None:
        """Raises Unavailable ``mpc.silent_peer``, ``mpc.peer_lost``; Misuse ``mpc.frame`` beyond the limit."""
        size = memoryview(body).nbytes
        if size > self._limit:
            raise Misuse("mpc.frame", f"a frame of {size} bytes; the limit is {self._limit}")
        header = size.to_bytes(_HEADER, "big")
        try:
            if size <= _SMALL:
                self._out[peer].sendall(header + bytes(body))
            else:
                self._out[peer].sendall(header)
                self._out[peer].sendall(body)
        except TimeoutError:
            raise self._silent(peer, "takes nothing") from None
        except OSError:
            raise self._lost(peer) from None

    def receive(self, peer: int, size: int | None = None) -> bytearray:
        """The next frame from ``peer``.

        Args:
            size: bytes that it must have; None for any number up to the limit.

        Raises:
            Unavailable: ``mpc.silent_peer``, ``mpc.peer_lost``. Hostile: ``mpc.frame``.
        """
        frame = self._inboxes[peer].take(self.timeout_s)
        if frame is None:
            raise self._silent(peer, "sent nothing")
        if size is not None and len(frame) != size:
            raise Hostile("mpc.frame", f"{self.name(peer)} sent {len(frame)} bytes in place of {size}")
        return frame

    def exchange(self, body: Buffer, size: int | None = None) -> dict[int, bytes]:
        """Send ``body`` to both others; what each of them sent, and our own, by rank."""
        for peer in self._out:
            self.send(peer, body)
        found = {peer: bytes(self.receive(peer, size)) for peer in self._in}
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
            for tls in self._out.values():
                with contextlib.suppress(OSError):
                    tls.sendall(_FAREWELL.to_bytes(_HEADER, "big"))
        finally:
            self.abort()

    def abort(self) -> None:
        """End at once; the peers notice."""
        self._ended = True
        for peer, inbox in self._inboxes.items():
            inbox.end(self._lost(peer))
        connections = (*self._out.values(), *self._in.values())
        for tls in connections:
            with contextlib.suppress(OSError):
                tls.shutdown(socket.SHUT_RDWR)
        for reader in self._readers:
            reader.join(timeout=1)
        for tls in connections:
            tls.close()

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

    def _read(self, peer: int) -> None:
        inbox, tls = self._inboxes[peer], self._in[peer]
        why: Error = self._lost(peer)
        with contextlib.suppress(OSError, EOFError, ValueError):
            while True:
                size = int.from_bytes(_exactly(tls, _HEADER), "big")
                if size == _FAREWELL:
                    break
                if size > self._limit:
                    why = Hostile("mpc.frame", f"{self.name(peer)} announces a frame of {size} bytes")
                    break
                if not inbox.put(_exactly(tls, size)):
                    break
        inbox.end(why)

    def _silent(self, peer: int, what: str) -> Unavailable:
        return Unavailable(
            "mpc.silent_peer",
            f"{self.name(peer)} {what} for {self.timeout_s:g} s",
            "ask that member; nothing is lost, and the job runs again from the stored shares",
        )

    def _lost(self, peer: int) -> Unavailable:
        return Unavailable(
            "mpc.peer_lost",
            f"{self.name(peer)} ended the connection",
            "the job runs again from the stored shares once that member is back",
        )


class _Door:
    """Accepts the other members. Whoever else knocks is turned away and delays nobody."""

    def __init__(self, session: Session, listener: socket.socket, credentials: Credentials) -> None:
        self._session, self._listener, self._credentials = session, listener, credentials
        self._context = credentials.context(ssl.PROTOCOL_TLS_SERVER)
        self._guests: queue.Queue[tuple[int, ssl.SSLSocket]] = queue.Queue()
        self._greeting = threading.BoundedSemaphore(_AT_ONCE)
        self._shut = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._listener.settimeout(_POLL_S)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._shut.set()
        self._listener.close()
        self._thread.join()

    def wait(self, deadline: float) -> dict[int, ssl.SSLSocket]:
        """One connection from each; of two from the same member the later one counts."""
        found: dict[int, ssl.SSLSocket] = {}
        while len(found) < len(self._session.others()):
            try:
                peer, tls = self._guests.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                for guest in found.values():
                    guest.close()
                away = [r for r in self._session.others() if r not in found]
                raise _unreached(self._session, away[0]) from None
            if peer in found:
                found[peer].close()
            found[peer] = tls
        return found

    def _accept(self) -> None:
        while not self._shut.is_set():
            try:
                raw, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if not self._greeting.acquire(blocking=False):
                raw.close()
                continue
            threading.Thread(target=self._greet, args=(raw,), daemon=True).start()

    def _greet(self, raw: socket.socket) -> None:
        try:
            raw.settimeout(_GREETING_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._guests.put(answer(raw, self._context, self._session, self._credentials))
        except (OSError, ValueError, Error) as reason:
            _log.warning("a connection was turned away: %s", type(reason).__name__)
            raw.close()
        finally:
            self._greeting.release()


def _reach(
    context: ssl.SSLContext,
    address: tuple[str, int],
    peer: int,
    session: Session,
    credentials: Credentials,
    deadline: float,
) -> ssl.SSLSocket:
    """Dial until the peer answers; it may not have started yet, or still be in an earlier session."""
    while (left := deadline - time.monotonic()) > 0:
        raw: socket.socket | None = None
        try:
            raw = socket.create_connection(address, timeout=min(left, _GREETING_S))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return dial(raw, context, peer, session, credentials)
        except ssl.SSLCertVerificationError:
            raise Hostile(
                "mpc.peer_identity", f"another authority's certificate at the address of member {peer}"
            ) from None
        except OSError:
            time.sleep(_RETRY_S)
    raise _unreached(session, peer)


def _unreached(session: Session, peer: int) -> Unavailable:
    return Unavailable(
        "mpc.silent_peer",
        f"member {peer} (0x{session.orgs[peer].hex()}) is not reached",
        "ask that member; nothing is lost, and the job runs again from the stored shares",
    )


def _protected(connection: socket.socket | None) -> ssl.SSLSocket:
    if not isinstance(connection, ssl.SSLSocket) or connection.version() != "TLSv1.3":
        raise Refused("mpc.plaintext_link", "members talk over TLS 1.3 and nothing else")
    return connection


def _exactly(tls: ssl.SSLSocket, size: int) -> bytearray:
    frame = bytearray(size)
    view, at = memoryview(frame), 0
    while at < size:
        step = tls.recv_into(view[at:])
        if not step:
            raise EOFError
        at += step
    return frame
