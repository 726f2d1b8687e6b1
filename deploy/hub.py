"""The coordinator's process from its kit: the same object as in `deploy.council`, its mailbox and its server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import structlog

from consent_contracts.chain import Chain
from consent_contracts.code import code_hash
from consent_contracts.contracts import Contracts
from consent_contracts.proxy import Proxy
from consent_contracts.rpc import Rpc
from consent_contracts.sender import Sender, SqliteStore
from consilium_errors import Misuse
from coordinator.calls import Background, ChainCalls
from coordinator.round import Call
from coordinator.service import Coordinator
from coordinator.store import open_store
from crypto import keyfiles
from deploy import checks, mailboxes, ops
from deploy.kit import CoordinatorKit
from protos.mailbox import Mailbox, MemoryMailbox

log = structlog.get_logger(__name__)

READY = "serving.json"
LOOK_S = 1.0
Calls = Callable[[Call], None]


def sender(kit: CoordinatorKit) -> Sender:
    """The account that locks and attests.

    Raises:
        Misuse: ``account.missing``, ``account.foreign``, ``key_file.*``.
    """
    its = kit.config
    try:
        key = keyfiles.load(kit.below("account.key"))
    except FileNotFoundError:
        raise Misuse(
            "account.missing",
            "account.key is not in the kit",
            "put the account's key (32 bytes, 0600) there: the coordinator sends transactions all the time",
        ) from None
    store = SqliteStore(kit.state / "transactions.db")
    made = Sender(its.chain.rpc[0], key, store, finality=its.chain.finality)
    if made.address != its.organisation:
        raise Misuse("account.foreign", "account.key is another organisation's", "restore the kit's own")
    return made


@contextmanager
def opened(kit: CoordinatorKit, mailbox: Mailbox | None = None) -> Iterator[Coordinator]:
    """The coordinator over the kit's store; without a mailbox it only looks, and sends nothing."""
    its = kit.config
    kit.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        urls = [stack.enter_context(Proxy(url)).url for url in its.chain.rpc]
        chain = Chain(urls, its.chain.addresses(), finality=its.chain.finality)
        stack.callback(chain.close)
        calls: Calls = _only_look
        if mailbox is not None:
            calls = background = Background(ChainCalls(Contracts(sender(kit), its.chain.addresses())))
            stack.callback(background.close)
        coordinator = Coordinator(
            its.organisation,
            store=open_store(kit.store_url),
            mailbox=MemoryMailbox() if mailbox is None else mailbox,
            chain=chain,
            calls=calls,
            code_hash=code_hash(),
            look_s=LOOK_S,
        )
        stack.callback(coordinator.close)
        yield coordinator


def _only_look(call: Call) -> None:
    raise Misuse("coordinator.looking", "this process only looks")


def serve(kit: CoordinatorKit) -> None:
    """Until SIGTERM or SIGINT.

    Raises:
        Misuse: anything wrong with the kit. Unavailable: the disk is full, the transport does not start.
    """
    from coordinator.server import Server, ServerConfig

    its = kit.config
    ops.start()
    with mailboxes.for_coordinator(kit) as mailbox, opened(kit, mailbox) as coordinator:
        config = ServerConfig(
            listen=its.serve.listen,
            ca=kit.ca,
            certificate=kit.certificate,
            key=kit.key,
            revoked=kit.below("revoked.pem"),
            ops_port=its.serve.ops_port,
            resend_s=60.0,
        )
        stop = threading.Event()
        with Server(coordinator, config) as server:
            watch = ops.Watch(_checks(kit), server.metrics.registry)
            threading.Thread(target=watch.run, args=(stop,), name="watch", daemon=True).start()
            ops.tell_ready(kit.state / READY, port=server.port, ops_port=server.ops_port)
            server.wait()
            stop.set()


def _checks(kit: CoordinatorKit) -> list[ops.Check]:
    its, rpc = kit.config, Rpc(kit.config.chain.rpc[0])
    return [
        lambda: [checks.disk(kit.state)],
        lambda: [checks.clock(rpc)],
        lambda: [checks.gas(rpc, its.organisation)],
        lambda: [checks.certificate(kit.folder, its.role, its.organisation)],
    ]
