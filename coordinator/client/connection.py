"""One channel to the coordinator over mutual TLS, with deadlines on every call and errors as ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from consilium_errors import Misuse
from coordinator.client.errors import from_rpc
from crypto import certificates
from crypto.certificates import Member
from protos.consilium.v1 import services_pb2_grpc as rpc

Answer = TypeVar("Answer", bound=Message)

LARGEST_ANSWER = 8 << 20
LARGEST_REQUEST = 2 << 20
#: Each call may be repeated without harm, so gRPC repeats it when the server is away for a moment.
_RETRY = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


class Connection:
    """Args: PEM bytes or files. ``deadline_s`` for each unary call, ``stream_s`` for each stream; ``patience_s``
    for a coordinator that cannot be reached.

    Raises:
        Misuse: ``certificate.*`` when the own files do not fit each other or the time.
    """

    def __init__(
        self,
        target: str,
        *,
        ca: bytes | Path,
        certificate: bytes | Path,
        key: bytes | Path,
        deadline_s: float = 20.0,
        stream_s: float = 3600.0,
        patience_s: float = 5.0,
    ) -> None:
        roots, own, secret = (_pem(value) for value in (ca, certificate, key))
        self.member: Member = certificates.check_own(roots, own, secret)
        self._deadline_s, self._stream_s, self._patience_s = deadline_s, stream_s, patience_s
        self._channel = grpc.secure_channel(
            target,
            grpc.ssl_channel_credentials(roots, secret, own),
            options=[
                ("grpc.max_receive_message_length", LARGEST_ANSWER),
                ("grpc.enable_retries", 1),
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 2000),
                ("grpc.service_config", json.dumps(_RETRY)),
            ],
        )
        self.studies: Any = rpc.StudyServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self.audits: Any = rpc.AuditServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def ask(
        self, method: Callable[..., Any], request: Message, kind: type[Answer], *, deadline_s: float = 0.0
    ) -> Answer:
        """The one answer.

        Raises:
            Misuse: ``api.too_large``. Else what the server refused, or `Unavailable`.
        """
        _check_size(request)
        answer = self._twice(lambda: method(request, timeout=deadline_s or self._deadline_s))
        assert isinstance(answer, kind)  # noqa: S101 - generated code parses nothing else
        return answer

    def _twice(self, call: Callable[[], Any]) -> Any:
        """gRPC fails at once while it waits before the next connection: give a restart time to end."""
        try:
            return call()
        except grpc.RpcError as failure:
            error = from_rpc(failure)
        if error.code != "api.unreachable" or not self._ready():
            raise error
        try:
            return call()
        except grpc.RpcError as failure:
            raise from_rpc(failure) from None

    def _ready(self) -> bool:
        try:
            grpc.channel_ready_future(self._channel).result(timeout=self._patience_s)
        except grpc.FutureTimeoutError:
            return False
        return True

    def stream(self, method: Callable[..., Any], request: Message, kind: type[Answer]) -> Iterator[Answer]:
        """The answers, as they come; closing the iterator ends the call. Raises as `ask`."""
        _check_size(request)
        call = method(request, timeout=self._stream_s)
        try:
            for answer in call:
                assert isinstance(answer, kind)  # noqa: S101
                yield answer
        except grpc.RpcError as failure:
            raise from_rpc(failure) from None
        finally:
            call.cancel()

    def close(self) -> None:
        self._channel.close()


def _check_size(request: Message) -> None:
    if request.ByteSize() > LARGEST_REQUEST:
        raise Misuse("api.too_large", "the message is larger than the coordinator takes", "shorten the study")


def _pem(value: bytes | Path) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return value.read_bytes()
    except OSError:
        raise Misuse("certificate.missing", f"cannot read {value}", "name a kit's files") from None
