"""`consilium participant serve`: one hospital's loop, its approvals by rule, its metrics, until it is told to stop."""

from __future__ import annotations

import threading

import structlog

from consent_contracts.rpc import Rpc
from coordinator.ops import OpsServer, Pulse
from crypto.secure_sum import bfv
from deploy import agents, checks, mailboxes, ops
from deploy.hospital import READY, Home
from deploy.kit import HospitalKit
from participants.approvals import Approvals
from participants.serve import AutoApproval, Loop

log = structlog.get_logger(__name__)

APPROVAL_ENDS_S = 70.0  # a transaction may be under way


def serve(kit: HospitalKit) -> None:
    """Until SIGTERM or SIGINT.

    Raises:
        Misuse: anything wrong with the kit; ``participant.running``. Unavailable: the disk is full.
    """
    ops.start()
    bfv.load()
    stop = threading.Event()
    ops.on_signals(stop)
    metrics, pulse = ops.HospitalMetrics(), Pulse()
    with Home(kit) as home, home.alone():
        served = OpsServer(metrics, pulse, kit.config.serve.ops_port)
        served.start()
        try:
            ops.tell_ready(kit.state / READY, ops_port=served.port)
            watch = ops.Watch(_checks(kit), metrics.registry)
            threading.Thread(target=watch.run, args=(stop,), name="watch", daemon=True).start()
            _work(home, metrics, pulse, stop)
        finally:
            stop.set()
            served.stop()
    log.info("stopped")


def _work(home: Home, metrics: ops.HospitalMetrics, pulse: Pulse, stop: threading.Event) -> None:
    def observe(code: str, seconds: float) -> None:
        metrics.observe(code, seconds)
        if code:
            pulse.failed(code)
        else:
            pulse.beat()

    chain = home.chain()
    agents.wait_delegated(home, chain, stop)
    if stop.is_set():
        return
    with mailboxes.for_hospital(home.kit) as mailbox:
        hospital = home.hospital(chain, mailbox)
        # A hospital object belongs to one thread; this one has its own, over the same store.
        rule = AutoApproval(Approvals(home.hospital(chain), home.datasets), home.desk())
        approving = threading.Thread(target=rule.run, args=(stop,), name="approvals", daemon=True)
        approving.start()
        log.info("serving", ops=True, datasets=len(home.datasets.listed))
        Loop(hospital, observe=observe).run(stop)
        approving.join(APPROVAL_ENDS_S)


def _checks(kit: HospitalKit) -> list[ops.Check]:
    its, rpc = kit.config, Rpc(kit.config.chain.rpc[0])
    return [
        lambda: [checks.disk(kit.state)],
        lambda: [checks.clock(rpc)],
        lambda: [checks.certificate(kit.folder, its.role, its.organisation)],
    ]
