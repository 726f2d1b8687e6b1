"""One role as a process of its own: real stores, real mailbox file, real chain. Runs until it is killed."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import structlog

from analytics.study import StudySpec
from analytics.table import Table
from consent_contracts.chain import Addresses, Chain
from consent_contracts.contracts import Contracts
from consent_contracts.laptop import dev_key
from consent_contracts.rpc import Rpc
from consent_contracts.sender import Sender
from coordinator.calls import ChainCalls
from coordinator.round import AttestCall, Call, LockCall, Rules
from coordinator.service import Coordinator
from coordinator.store import open_store as open_coordinator_store
from crypto import envelopes
from crypto.identity import AgentKey
from crypto.vault import Vault
from participants.analyst import SpecAnalyst
from participants.hospital import Hospital, Identity
from participants.ports import ports_for
from participants.round import Ports
from participants.store import open_store as open_hospital_store
from tests.attacks.liars import Garbling, one_more
from tests.conftest import tiny_table
from tests.system import decryptor
from tests.system.faults import (
    CarelessMailbox,
    Fault,
    LyingRpc,
    Tripwire,
    WiredMailbox,
    WiredRpc,
    WiredStore,
    WiredTransactions,
)

IDLE_S = 0.08
LAG = 4  # blocks


@dataclass(frozen=True)
class Common:
    """What every role of a study knows."""

    folder: Path
    rpc_url: str
    addresses: Addresses
    coordinator: bytes
    hospitals: frozenset[bytes]
    rules: Rules
    code: bytes  # hash of what is installed; the same in every life of a role
    lying: bool = False  # the coordinator's node, for a while

    @property
    def mailbox(self) -> Path:
        return self.folder / "mail.db"

    @property
    def started(self) -> Path:
        """Exists once the sponsor has let the study begin."""
        return self.folder / "started"

    def trace(self, name: str) -> Path:
        return self.folder / f"{name}.trace"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


@dataclass(frozen=True)
class Seat:
    """One hospital: its dataset, its agent's key, the seed of its patients."""

    name: str
    org: bytes
    agent: Path
    dataset: bytes
    seed: int
    harm: str = ""  # to its decryptions, see `decryptor`; or "careless", "lag", "lies", "bad-box", "garbles"


def coordinator_url(common: Common) -> str:
    return f"sqlite:///{common.folder / 'coordinator.db'}"


def hospital_home(common: Common, seat: Seat) -> Path:
    return common.folder / seat.name


def hospital_url(common: Common, seat: Seat) -> str:
    return f"sqlite:///{hospital_home(common, seat) / 'hospital.db'}"


def run_coordinator(common: Common, account: int, fault: Fault | None) -> None:
    with _reported(common.log("coordinator")):
        trip = Tripwire(common.trace("coordinator"), fault)
        sender = Sender(
            WiredRpc(common.rpc_url, trip),
            dev_key(account),
            WiredTransactions(common.folder / "transactions.db", trip),
        )
        calls = ChainCalls(Contracts(sender, common.addresses))

        def call(what: Call) -> None:
            name = {LockCall: "lock", AttestCall: "attest"}.get(type(what), "recover")
            with trip.around(f"call {name}"):
                calls(what)

        coordinator = Coordinator(
            common.coordinator,
            store=WiredStore(open_coordinator_store(coordinator_url(common)), trip),
            mailbox=WiredMailbox(common.mailbox, trip),
            chain=Chain([_node(common, lying=common.lying)], common.addresses),
            calls=call,
            code_hash=common.code,
            rules=common.rules,
        )

        def start() -> None:
            for study in coordinator.studies() if common.started.exists() else []:
                if coordinator.store.get("studies", f"started-{study.hex()}") is None:
                    coordinator.start(study)

        _for_ever(start, coordinator.tick)


def run_hospital(common: Common, seat: Seat, fault: Fault | None) -> None:
    with _reported(common.log(seat.name)):
        trip = Tripwire(common.trace(seat.name), fault)

        def table_of(spec: StudySpec) -> Table:
            trip.note("data read")
            return tiny_table(seat.seed)(spec)

        def ports(name: str, analyst: SpecAnalyst) -> Ports:
            decryptor.harm(seat.harm, hospital_home(common, seat), trip.note)
            made = ports_for(name, analyst)
            if seat.harm == "garbles":
                made = replace(made, scheme=Garbling(made.scheme, one_more))  # type: ignore[arg-type]
            return made

        if seat.harm == "bad-box":
            spoil_first_box(hospital_home(common, seat) / "spoilt")
        mailbox = CarelessMailbox if seat.harm == "careless" else WiredMailbox
        vault = Vault.load_or_create(hospital_home(common, seat) / "vault.key")
        hospital = Hospital(
            Identity(
                seat.org,
                AgentKey.load_or_create(seat.agent),
                common.coordinator,
                common.hospitals - {seat.org},
                common.code,
            ),
            store=WiredStore(open_hospital_store(hospital_url(common, seat), vault), trip),
            mailbox=mailbox(common.mailbox, trip),
            chain=Chain(
                [_node(common, lying=seat.harm == "lies"), _node(common)],
                common.addresses,
                finality=LAG if seat.harm == "lag" else "finalized",
            ),
            table_of=table_of,
            ports=ports,
        )

        def accept() -> None:
            for study in hospital.offers():
                hospital.accept(study, (seat.dataset,))

        _for_ever(accept, hospital.tick)


def _node(common: Common, *, lying: bool = False) -> Rpc:
    return LyingRpc(common.rpc_url) if lying else Rpc(common.rpc_url)


def spoil_first_box(mark: Path) -> None:
    """What this hospital seals first of all opens for nobody; ``mark`` outlives its process."""
    seal = envelopes.seal

    def spoil(public: bytes, info: bytes, plaintext: bytes) -> bytes:
        if mark.exists():
            return seal(public, info, plaintext)
        mark.touch()
        return seal(public, b"garbage", plaintext)

    envelopes.seal = spoil


def _for_ever(prepare: Callable[[], None], tick: Callable[[], bool]) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        prepare()
        if not tick():
            time.sleep(IDLE_S)


class _reported:  # noqa: N801
    """What the role logs, and the error that ended it, if one did, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
        self._file = self._path.open("a", buffering=1)
        structlog.configure(
            processors=[structlog.processors.TimeStamper(), structlog.processors.KeyValueRenderer()],
            logger_factory=structlog.PrintLoggerFactory(self._file),
            wrapper_class=structlog.BoundLogger,
            cache_logger_on_first_use=False,
        )

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self._file is not None:
            traceback.print_exception(error, file=self._file)
            os._exit(1)
