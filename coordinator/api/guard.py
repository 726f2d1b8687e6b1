"""The door of the gRPC server: every call passes here, whichever service it is for.

1. The certificate names exactly one member and is neither expired nor revoked. TLS has checked its chain.
2. The organisation has calls left, and not too many open.
3. The call has a deadline; a longer one than we serve is cut.
4. The message could be read.
5. Whatever is raised becomes a status with a stable code. An error that is not ours becomes ``api.internal``,
   and only the local log has its text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Timer
from typing import Any, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError

from consilium_errors import Error, Hostile, Misuse, Refused
from coordinator.api import status
from coordinator.api.limits import Limits, Meter
from crypto import certificates
from crypto.certificates import Member, Revocations

log = structlog.get_logger(__name__)

#: gRPC shows "no deadline" as one in the far future.
_NEVER_S = 10 * 365 * 86_400.0
Observe = Callable[[str, str, float], None]
Handler = TypeVar("Handler")


class _Unreadable:
    """Stands for a request whose bytes are not the message that they should be."""


class Guard(grpc.ServerInterceptor):
    """Args: ``observe`` is told method, code (``ok`` or a stable one) and seconds of each call."""

    def __init__(
        self,
        limits: Limits,
        *,
        revocations: Revocations | None = None,
        observe: Observe = lambda method, code, seconds: None,
        clock: Callable[[], datetime] = certificates.now,
    ) -> None:
        self._limits, self._revocations = limits, revocations
        self._observe, self._clock = observe, clock
        self._meter = Meter(limits)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = continuation(details)
        return None if handler is None else self._guarded(handler, details.method)

    def _guarded(self, inner: Any, method: str) -> grpc.RpcMethodHandler[Any, Any]:
        """The same handler behind the door. gRPC has one attribute and one constructor for each arity."""
        read = _careful(inner.request_deserializer)
        made: grpc.RpcMethodHandler[Any, Any]
        if inner.unary_unary is not None:
            made = grpc.unary_unary_rpc_method_handler(
                self._one(inner.unary_unary, method), read, inner.response_serializer
            )
        elif inner.unary_stream is not None:
            made = grpc.unary_stream_rpc_method_handler(
                self._many(inner.unary_stream, method), read, inner.response_serializer
            )
        elif inner.stream_stream is not None:
            made = grpc.stream_stream_rpc_method_handler(
                self._many(inner.stream_stream, method), read, inner.response_serializer
            )
        else:
            raise Misuse("api.arity", "no service of ours takes a stream and gives one answer")
        return made

    def _one(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
        def call(request: object, context: grpc.ServicerContext) -> Any:
            with self._answered(method, context), self._admitted(context):
                return behaviour(_readable(request), context)

        return call

    def _many(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Iterator[Any]]:
        def call(request: object, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._answered(method, context), self._admitted(context) as member:
                for answer in behaviour(_readable(request), context):
                    self._check(member)  # it may have been revoked while the stream was open
                    yield answer

        return call

    @contextmanager
    def _admitted(self, context: grpc.ServicerContext) -> Iterator[Member]:
        member = peer(context)
        self._check(member)
        with self._meter.call(member.org):
            left = context.time_remaining()
            if left is None or left > _NEVER_S:
                raise Misuse("api.deadline", "the call has no deadline", "set one")
            cut = Timer(self._limits.longest_s, context.cancel) if left > self._limits.longest_s else None
            if cut is not None:
                cut.daemon = True
                cut.start()
            try:
                yield member
            finally:
                if cut is not None:
                    cut.cancel()

    def _check(self, member: Member) -> None:
        member.check_time(self._clock())
        if self._revocations is not None:
            self._revocations.check(member)

    @contextmanager
    def _answered(self, method: str, context: grpc.ServicerContext) -> Iterator[None]:
        since, code = time.monotonic(), "ok"
        failed: Error | None = None
        try:
            yield
        except Error as error:
            failed = error
        except (GeneratorExit, grpc.RpcError):
            code = "api.gone"  # the client hung up, or the call was cut
            raise
        except Exception as error:
            failed = status.internal()
            with suppress(Exception):
                log.exception("call failed", method=method, error=type(error).__name__)
        finally:
            code = failed.code if failed is not None else code
            with suppress(Exception):  # a full disk under the log is not the caller's business
                self._observe(method, code, time.monotonic() - since)
                log.info("call", method=method, code=code, **_who(context))
        if failed is not None:
            context.abort_with_status(status.to_status(failed))


def peer(context: grpc.ServicerContext) -> Member:
    """The member whose certificate TLS has verified on this connection.

    Raises:
        Refused: ``certificate.missing``. Hostile: as `certificates.member_of`.
    """
    found = context.auth_context().get("x509_pem_cert")
    if not found:
        raise Refused("certificate.missing", "the connection has no client certificate")
    return certificates.member_of(bytes(found[0]))


def _who(context: grpc.ServicerContext) -> dict[str, str]:
    try:
        member = peer(context)
    except Error:
        return {"role": "", "org": ""}
    return {"role": member.role, "org": member.org.hex()}


def _careful(read: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """gRPC answers bytes that it cannot read with a text of its own; we answer with a code."""
    if read is None:
        return None

    def reading(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError:
            return _Unreadable()

    return reading


def _readable(request: Any) -> Any:
    if isinstance(request, _Unreadable):
        raise Hostile("api.malformed", "the bytes are not the message of this call")
    if hasattr(request, "__next__"):
        return (_readable(each) for each in request)
    return request
