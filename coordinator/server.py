"""The coordinator as a process: its loop, the gRPC services behind mutual TLS, metrics and health.

    with Server(coordinator, ServerConfig(listen="0.0.0.0:8443", ca=…, certificate=…, key=…)) as server:
        server.wait()          # until SIGTERM or SIGINT

Whoever owns the coordinator (its store, mailbox and chain) closes it after the server has stopped.
"""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import grpc
import structlog

from consilium_errors import Misuse
from coordinator.api.audit_service import AuditService
from coordinator.api.board import Board
from coordinator.api.guard import Guard
from coordinator.api.limits import Limits
from coordinator.api.study_service import StudyService
from coordinator.consents import Beginnings, Consents
from coordinator.loop import Loop
from coordinator.ops import Metrics, OpsServer, Pulse
from coordinator.service import Coordinator
from coordinator.tls import OwnPapers
from crypto.certificates import Revocations
from protos.consilium.v1 import services_pb2 as api
from protos.consilium.v1 import services_pb2_grpc as rpc

if TYPE_CHECKING:
    from consent_contracts.auditor import Verdict

log = structlog.get_logger(__name__)

SERVICES = tuple(service.full_name for service in api.DESCRIPTOR.services_by_name.values())
HEALTH_EVERY_S = 1.0


@dataclass(frozen=True)
class ServerConfig:
    """``listen`` is host:port, port 0 any free one; the rest are PEM files, read again when they change.

    Args:
        revoked: the authority's revocation list; None: nobody is revoked.
        ops_port: of ``/metrics`` and ``/health`` on 127.0.0.1.
        resend_s: how often unanswered words are said again; None with a mailbox that loses nothing.
    """

    listen: str
    ca: Path
    certificate: Path
    key: Path
    revoked: Path | None = None
    ops_port: int = 0
    resend_s: float | None = 60.0
    limits: Limits = field(default_factory=Limits)


class Server:
    """Raises Misuse ``certificate.*`` for files that do not fit, ``server.role`` for another role's
    certificate, ``server.address`` if the address cannot be bound."""

    def __init__(self, coordinator: Coordinator, config: ServerConfig) -> None:
        self._config = config
        papers = OwnPapers(config.ca, config.certificate, config.key, coordinator.me)
        self.metrics, self._pulse = Metrics(), Pulse()
        consents = Consents(coordinator.chain)
        beginnings = Beginnings(coordinator, consents)
        self._loop = Loop(coordinator, beginnings, self.metrics, self._pulse, resend_s=config.resend_s)
        self._ops = OpsServer(self.metrics, self._pulse, config.ops_port)
        self._stopping = threading.Event()
        revocations = None if config.revoked is None else Revocations(config.revoked, papers.ca)
        guard = Guard(config.limits, revocations=revocations, observe=self.metrics.observe_call)
        self._grpc = _grpc_server(guard, config.limits)
        board = Board(coordinator, consents, beginnings)
        studies = StudyService(coordinator, board, beginnings, config.limits)
        audits = AuditService(board, lambda study, bundle: _replay(coordinator, study, bundle))
        rpc.add_StudyServiceServicer_to_server(studies, self._grpc)  # type: ignore[no-untyped-call]
        rpc.add_AuditServiceServicer_to_server(audits, self._grpc)  # type: ignore[no-untyped-call]
        self._health = _standard_services(self._grpc)
        self.port = _bind(self._grpc, config.listen, papers)

    @property
    def ops_port(self) -> int:
        return self._ops.port

    def start(self) -> None:
        self._ops.start()
        self._loop.start()
        self._grpc.start()
        threading.Thread(target=self._report_health, name="health", daemon=True).start()
        log.info("serving", port=self.port, ops_port=self.ops_port)

    def wait(self) -> None:
        """Until SIGTERM or SIGINT; only in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        self._stopping.wait()

    def stop(self, grace_s: float = 5.0) -> None:
        """New calls are refused at once, open ones have ``grace_s``; the loop ends after its turn."""
        self._stopping.set()
        self._health.enter_graceful_shutdown()
        self._grpc.stop(grace_s).wait()
        self._loop.stop(timeout_s=70.0)
        self._ops.stop()
        log.info("stopped")

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _report_health(self) -> None:
        from grpc_health.v1 import health_pb2

        good, bad = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        while not self._stopping.is_set():
            for name in ("", *SERVICES):
                self._health.set(name, good if self._pulse.healthy else bad)
            self._stopping.wait(HEALTH_EVERY_S)


def _grpc_server(guard: Guard, limits: Limits) -> grpc.Server:
    return grpc.server(
        ThreadPoolExecutor(limits.workers, thread_name_prefix="grpc"),
        interceptors=[guard],
        maximum_concurrent_rpcs=limits.workers,
        options=[
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_metadata_size", 16 << 10),
            # A connection is made anew now and then, so that certificates are looked at again.
            ("grpc.max_connection_age_ms", int(limits.connection_s * 1000)),
            ("grpc.max_connection_age_grace_ms", int(limits.stream_s * 1000)),
            ("grpc.so_reuseport", 0),
        ],
    )


def _standard_services(server: grpc.Server):  # type: ignore[no-untyped-def]  # grpc_health has no types
    """grpc.health.v1 and reflection, behind the same door."""
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection

    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    return servicer


def _bind(server: grpc.Server, listen: str, papers: OwnPapers) -> int:
    try:
        port = server.add_secure_port(listen, papers.credentials())
    except RuntimeError:
        port = 0
    if port == 0:
        raise Misuse("server.address", f"cannot listen on {listen}", "free the port or name another")
    return port


def _replay(coordinator: Coordinator, study: bytes, bundle: bytes) -> Verdict:
    from consent_contracts.auditor import audit

    chain = coordinator.chain
    return audit(chain.rpcs, chain.addresses, bundle=bundle, study=study, finality=chain.finality)
