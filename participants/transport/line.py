"""The hospital's line to the coordinator's gate: mutual TLS, bounded answers, patience, and names for what goes wrong.

Part of the hospital's adapter to Flower's insides (see `participants.transport.node`).
"""

from __future__ import annotations

import json
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import flwr
import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import RetryInvoker, exponential, make_simple_http_retry_invoker
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from consilium_errors import Misuse
from protos.exchange import CHUNK

log = structlog.get_logger(__name__)

VERSION: Final = "1.41."
#: The gate holds an empty pull for up to ten seconds.
CALL_S: Final = 60.0
MOST_BYTES: Final = CHUNK + (64 << 10)
#: Flower signs each request with the time and takes five minutes' difference.
MOST_SKEW_S: Final = 240.0


@dataclass(frozen=True)
class Settings:
    """What the node's process needs; paths as text, addresses in hex, as written to its settings file."""

    server: str
    ca: str
    certificate: str
    key: str
    node_key: str
    spool: str
    node_id_file: str
    trouble_file: str
    org: str
    coordinator: str

    @classmethod
    def load(cls, path: Path) -> Settings:
        return cls(**json.loads(path.read_text()))


def check_version() -> None:
    """Raises Misuse ``transport.flower_version`` unless it is the Flower whose insides we know."""
    if not flwr.__version__.startswith(VERSION):
        raise Misuse(
            "transport.flower_version",
            f"flwr {flwr.__version__} is installed, this adapter knows {VERSION}*",
            "install flwr==1.41.*",
        )


class _Bounded(httpx.BaseTransport):
    """Refuses an answer longer than any that an honest gate sends."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        response.stream = _BoundedStream(response.stream)
        return response

    def close(self) -> None:
        self._inner.close()


class _BoundedStream(httpx.SyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._inner:
            size += len(chunk)
            if size > MOST_BYTES:
                raise httpx.ReadError("an answer that is too long")
            yield chunk

    def close(self) -> None:
        self._inner.close()


def tls(settings: Settings) -> ssl.SSLContext:
    """Raises Misuse ``transport.certificate`` for files that are no certificate and key."""
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        why = f"certificate and key cannot be used: {type(error).__name__}"
        raise Misuse(
            "transport.certificate", why, "restore the kit's files, or renew the certificate"
        ) from None
    return context


def _http(context: ssl.SSLContext) -> httpx.Client:
    transport = _Bounded(httpx.HTTPTransport(verify=context))
    return httpx.Client(transport=transport, timeout=CALL_S, follow_redirects=False)


def client_class(settings: Settings) -> type[FleetHttpClient]:
    """Flower's client with our certificate."""
    context = tls(settings)

    class MutualTlsClient(FleetHttpClient):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "verify": context})
            self._client.close()
            self._client = _http(context)

    return MutualTlsClient


def load_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Raises Misuse ``transport.node_key`` unless it is an OpenSSH private key on a NIST curve."""
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise Misuse(
            "transport.node_key", f"no node key in {path}: {type(error).__name__}", "provision"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Misuse("transport.node_key", "a node key is an elliptic curve key (P-256)", "provision")
    return key


def sign_off(settings: Settings, key: ec.EllipticCurvePrivateKey) -> None:
    """Tell the SuperLink that a former self of this node, killed before it could, is gone."""
    path = Path(settings.node_id_file)
    if not path.exists():
        return
    interceptors: list[ProtobufClientInterceptor] = [
        RuntimeVersionHttpInterceptor(component_name="SuperNode"),
        NodeAuthHttpInterceptor(key, key.public_key()),
    ]
    with client_class(settings)(f"https://{settings.server}", interceptors=interceptors) as client:
        try:
            client.DeactivateNode(DeactivateNodeRequest(node_id=int(path.read_text())))
        except (httpx.HTTPError, ValueError, RuntimeError) as error:
            log.info("not signed off", error=type(error).__name__)


# what goes wrong ------------------------------------------------------------------------------------------


def trouble(settings: Settings, code: str) -> None:
    """Leave word for the hospital's own process; an empty code says that all is well."""
    path = Path(settings.trouble_file)
    if (path.read_text() if path.exists() else "") != code:
        path.write_text(code)
        if code:
            log.warning("the line is down", code=code)


def wait_for_gate(settings: Settings, pause_s: float = 1.0) -> None:
    """Until the gate answers over mutual TLS; the reason why it does not is named meanwhile."""
    with _http(tls(settings)) as client:
        while code := _knock(client, settings.server):
            trouble(settings, code)
            time.sleep(pause_s)


def _knock(client: httpx.Client, server: str) -> str:
    try:
        answer = client.get(f"https://{server}/health")
    except httpx.TransportError as error:
        refused = "ssl" in str(error).lower() or "certificate" in str(error).lower()
        return "transport.tls" if refused else "transport.gate_away"
    return "" if answer.status_code == httpx.codes.OK else "transport.gate_away"


def patient(settings: Settings) -> Callable[[], RetryInvoker]:
    """Makes what tries again for ever, but at least every two seconds, where Flower lets 20 s pass."""

    def make() -> RetryInvoker:
        invoker = make_simple_http_retry_invoker()
        invoker.wait_gen_factory = lambda: exponential(base_delay=0.2, max_delay=2)
        flowers = invoker.should_giveup

        def give_up(error: Exception) -> bool:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 401:
                trouble(settings, refusal(error.response))
                # The SuperLink began anew, or we are not welcome: begin anew, after the supervisor's pause.
                os._exit(75)
            return flowers is not None and flowers(error)

        invoker.should_giveup = give_up
        return invoker

    return make


def refusal(response: httpx.Response) -> str:
    """Why we were turned away: the gate's code, or a clock that is wrong, or that we are not known (any more)."""
    if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", response.text) and len(response.text) <= 64:
        return response.text
    try:
        theirs = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return "transport.unknown_node"
    skewed = abs((datetime.now(UTC) - theirs).total_seconds()) > MOST_SKEW_S
    return "transport.clock_skew" if skewed else "transport.unknown_node"
