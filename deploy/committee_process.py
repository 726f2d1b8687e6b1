"""`consilium committee serve`: one member's loop, its metrics, until it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import structlog

from consent_contracts.chain import Chain
from consent_contracts.code import code_hash
from consent_contracts.proxy import Proxy
from consent_contracts.rpc import Rpc
from consilium_errors import Error, Misuse
from consilium_records import named
from coordinator.ops import OpsServer, Pulse
from crypto import keyfiles
from crypto.certificates import Revocations
from crypto.identity import AgentKey
from crypto.mpc.handshake import Credentials
from crypto.vault import Vault
from deploy import checks, mailboxes, ops
from deploy.kit import CommitteeKit
from deploy.locks import alone
from participants.committee.job import Bench
from participants.committee.member import Committee
from participants.store import open_store
from protos.mailbox import Mailbox, MemoryMailbox

log = structlog.get_logger(__name__)

READY = "serving.json"
IDLE_S = 0.03
FAILED_WAIT_S = 1.0


def bench(kit: CommitteeKit) -> Bench:
    """What the kit brings to meetings.

    Raises:
        Misuse: ``key_file.*``, ``kit.key``; ``account.foreign`` for another organisation's key.
    """
    its, found = kit.config, {}
    for name in ("account.key", "hpke.key"):
        try:
            found[name] = keyfiles.load(kit.below(name))
        except FileNotFoundError:
            raise Misuse("kit.key", f"{name} is not in the kit", "restore the kit's own") from None
    if AgentKey.from_bytes(found["account.key"]).address != its.organisation:
        raise Misuse("account.foreign", "account.key is another organisation's", "restore the kit's own")
    listed = kit.below("revoked.pem")
    revocations = Revocations(listed, kit.ca.read_bytes()) if listed.exists() else None
    return Bench(
        key=found["account.key"],
        hpke=found["hpke.key"],
        store_url=kit.store_url,
        vault=kit.state / "vault.key",
        credentials=Credentials(kit.ca, kit.certificate, kit.key, revocations),
        listen=_place(its.committee.listen),
        peers={bytes.fromhex(org.removeprefix("0x")): _place(at) for org, at in its.committee.peers.items()},
        timeout_s=its.committee.timeout_s,
    )


def _place(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.rpartition(":")
    return host, int(port)


@contextmanager
def opened(kit: CommitteeKit, mailbox: Mailbox | None = None) -> Iterator[Committee]:
    """The member over the kit's store and two proxies of its own; without a mailbox it only remembers."""
    its = kit.config
    kit.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        upstream = its.chain.rpc if len(its.chain.rpc) > 1 else its.chain.rpc * 2
        urls = [stack.enter_context(Proxy(url)).url for url in upstream]
        chain = Chain(urls, its.chain.addresses(), finality=its.chain.finality)
        stack.callback(chain.close)
        member = Committee(
            bench(kit),
            coordinator=its.coordinator.address,
            code_hash=code_hash(),
            store=open_store(kit.store_url, Vault.load_or_create(kit.state / "vault.key")),
            mailbox=MemoryMailbox() if mailbox is None else mailbox,
            chain=chain,
        )
        stack.callback(member.close)
        yield member


def serve(kit: CommitteeKit) -> None:
    """Until SIGTERM or SIGINT.

    Raises:
        Misuse: anything wrong with the kit; ``committee.running``. Unavailable: the disk is full.
    """
    ops.start()
    stop = threading.Event()
    ops.on_signals(stop)
    metrics, pulse = ops.HospitalMetrics(), Pulse()
    kit.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        alone(kit.state, "committee.running"),
        mailboxes.for_hospital(kit) as mailbox,
        opened(kit, mailbox) as member,
    ):
        served = OpsServer(metrics, pulse, kit.config.serve.ops_port)
        served.start()
        try:
            ops.tell_ready(kit.state / READY, ops_port=served.port)
            watch = ops.Watch(_checks(kit), metrics.registry)
            threading.Thread(target=watch.run, args=(stop,), name="watch", daemon=True).start()
            log.info("serving")
            while not stop.is_set():
                stop.wait(_turn(member, metrics, pulse))
        finally:
            stop.set()
            served.stop()
    log.info("stopped")


def _turn(member: Committee, metrics: ops.HospitalMetrics, pulse: Pulse) -> float:
    """One turn; seconds to wait before the next. No error ends the loop."""
    since, code, pause = time.monotonic(), "", 0.0
    try:
        pause = 0.0 if member.tick() else IDLE_S
    except Exception as error:
        found = named(error)
        code, pause = found.code if isinstance(found, Error) else "committee.internal", FAILED_WAIT_S
        log.exception("turn failed", code=code)
    metrics.observe(code, time.monotonic() - since)
    if code:
        pulse.failed(code)
    else:
        pulse.beat()
    return pause


def _checks(kit: CommitteeKit) -> list[ops.Check]:
    its, rpc = kit.config, Rpc(kit.config.chain.rpc[0])
    return [
        lambda: [checks.disk(kit.state)],
        lambda: [checks.clock(rpc)],
        lambda: [checks.certificate(kit.folder, its.role, its.organisation)],
    ]
