"""A consortium on one chain, and studies that are ready to run in processes of their own."""

from __future__ import annotations

import hashlib
import multiprocessing as mp
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from analytics.privacy import NOTHING, Price, plan_of
from analytics.study import StudySpec
from consent_contracts.code import code_hash
from consent_contracts.contracts import Contracts
from consent_contracts.laptop import deploy, dev_key
from consent_contracts.sender import Sender
from coordinator import sponsor
from coordinator.round import Rules
from coordinator.store import open_store
from crypto import envelopes
from crypto.identity import AgentKey
from participants.consent_desk import ConsentDesk, Terms
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import FileMailbox
from tests.system.faults import Fault
from tests.system.role import Common, Seat, coordinator_url, run_coordinator, run_hospital

ADMIN, COORDINATOR, SPONSOR, FIRST_HOSPITAL = range(4)
HOSPITALS = 5
EXACT_CAP = 50
STALL_S = 30.0
PRELOAD = ["pytest", "alembic.command", "coincurve", "ckzg", "tests.system.role"]


Hooks = Mapping[tuple[str, Fault], Callable[[], object]]


class Stalled(AssertionError):  # noqa: N818
    """A study that does not come to its end."""


class Broken(AssertionError):  # noqa: N818
    """A role that ended by itself."""


class World:
    """Contracts, organisations and agents; the studies share them."""

    def __init__(self, folder: Path, rpc_url: str) -> None:
        self.folder, self.rpc_url = folder, rpc_url
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        self.processes = mp.get_context("forkserver")
        forkserver._forkserver._stop()  # another test's, with nothing of ours in it
        self.processes.set_forkserver_preload(PRELOAD)
        self._senders: dict[int, Sender] = {}
        admin = self.sender(ADMIN)
        self.addresses = deploy(admin)
        governor = Contracts(admin, self.addresses)
        roles = [("COORDINATOR", COORDINATOR), ("SPONSOR", SPONSOR)]
        roles += [("HOSPITAL", FIRST_HOSPITAL + i) for i in range(HOSPITALS)]
        for role, account in roles:
            governor.grant_role(role, self.sender(account).address)
        self.desks = [ConsentDesk(self.contracts(FIRST_HOSPITAL + i)) for i in range(HOSPITALS)]
        self.agents = [folder / f"agent-{i}.key" for i in range(HOSPITALS)]
        self.sponsor_secret, self.sponsor_key = envelopes.generate()
        self.at_once(lambda i: self.desks[i].delegate(AgentKey.load_or_create(self.agents[i]).address))

    def sender(self, account: int) -> Sender:
        if account not in self._senders:
            self._senders[account] = Sender(self.rpc_url, dev_key(account))
        return self._senders[account]

    def contracts(self, account: int) -> Contracts:
        return Contracts(self.sender(account), self.addresses)

    def at_once(self, do: Callable[[int], object], count: int = HOSPITALS) -> list[object]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(do, range(count)))


@dataclass
class _Running:
    process: ForkServerProcess
    fault: Fault | None


@dataclass
class Study:
    """One study, its roles' processes and the faults that await them.

    Args:
        faults: role → faults in the order in which they come; each incarnation has one.
        consents: hospitals that consent before the study begins; default all.
        harms: role → what befalls it besides death, see `Seat.harm`.
        hooks: what is done when a role lies dead of this fault, before it lives again.
        stall_s: seconds without any event, kill or start after which a study is given up.
        may_die: roles that may kill themselves without a fault.
        away: role → what the coordinator must have recorded before it lives again after its first death.
    """

    world: World
    folder: Path
    spec: StudySpec
    faults: Mapping[str, Sequence[Fault]] = field(default_factory=dict)
    consents: Iterable[str] | None = None
    harms: Mapping[str, str] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    hooks: Hooks = field(default_factory=dict)
    stall_s: float = STALL_S
    may_die: Iterable[str] = ()
    away: Mapping[str, str] = field(default_factory=dict)
    kills: list[tuple[str, Fault]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700)
        world, names = self.world, self.spec.sites
        self.desks = dict(zip(names, world.desks, strict=False))
        orgs = sorted(desk.org for desk in self.desks.values())
        self.id = sponsor.register(
            world.contracts(SPONSOR),
            self.spec,
            coordinator=world.sender(COORDINATOR).address,
            roster=tuple(orgs),
            key=world.sponsor_key,
        )
        self.common = Common(
            self.folder,
            world.rpc_url,
            world.addresses,
            world.sender(COORDINATOR).address,
            frozenset(orgs),
            self.rules,
            code_hash(),
            lying=self.harms.get("coordinator") == "lies",
        )
        datasets = world.at_once(self._dataset, len(names))
        self.seats = {
            name: Seat(
                name,
                self.desks[name].org,
                world.agents[i],
                bytes(datasets[i]),  # type: ignore[call-overload]
                seed=100 + i,
                harm=self.harms.get(name, ""),
            )
            for i, name in enumerate(names)
        }
        willing = list(names if self.consents is None else self.consents)
        world.at_once(lambda i: self.grant(willing[i]), len(willing))
        for seat in self.seats.values():
            (self.folder / seat.name).mkdir(mode=0o700)
        self.mailbox = FileMailbox(self.common.mailbox)
        self._pending = {role: list(self.faults.get(role, ())) for role in self.roles}
        self._running: dict[str, _Running] = {}
        self._moved = (time.monotonic(), -1)

    @property
    def promised(self) -> Price:
        """What consent lets the study spend."""
        plan = plan_of(self.spec)
        return NOTHING if plan is None else plan.total

    @property
    def roles(self) -> tuple[str, ...]:
        return ("coordinator", *self.seats)

    def _dataset(self, i: int) -> bytes:
        desk, nonce = self.world.desks[i], hashlib.sha256(self.spec.id.encode()).digest()
        dataset = desk.register(
            nonce, root=nonce, schema_hash=nonce, terms_hash=self.spec.spec_hash, cohort_root=nonce
        )
        desk.budget(dataset, rho=self.promised.rho, delta=self.promised.delta, exact=EXACT_CAP)
        return dataset

    def grant(self, *names: str) -> None:
        terms = Terms(
            (self.spec.purpose.duo,),
            {},
            int(time.time()) + 86_400,
            rho_cap=self.promised.rho,
            delta_cap=self.promised.delta,
            exact_cap=EXACT_CAP,
        )
        for name in names:
            self.desks[name].grant([self.seats[name].dataset], self.id, terms)

    def revoke(self, name: str) -> None:
        self.desks[name].revoke([self.seats[name].dataset], self.id)

    # processes ----------------------------------------------------------------------------------------

    def _spawn(self, role: str) -> None:
        fault = self._pending[role].pop(0) if self._pending[role] else None
        if role == "coordinator":
            process = self.world.processes.Process(
                target=run_coordinator, args=(self.common, COORDINATOR, fault), daemon=True
            )
        else:
            process = self.world.processes.Process(
                target=run_hospital, args=(self.common, self.seats[role], fault), daemon=True
            )
        process.start()
        self._running[role] = _Running(process, fault)

    def run(self, disturb: Callable[[Study], None] = lambda study: None) -> None:
        """Offer the study, run it to its end, restart whoever dies, then kill everybody.

        Args:
            disturb: called about twenty times a second while the study runs.

        Raises:
            Stalled: nothing happens any more, or a fault never struck. Broken: a role ended by itself.
        """
        offer = sponsor.offer(self.id, self.spec, self.world.sponsor_key)
        mail = pb.Mail(kind="offer", study=self.id, sender=self.world.sender(SPONSOR).address, body=offer)
        self.mailbox.post(self.common.coordinator, wire.encode(mail))
        try:
            for role in self.roles:
                self._spawn(role)
            while not self._ended():
                disturb(self)
                self._raise_the_dead()
                self._begin_when_accepted()
                self._watch()
                time.sleep(0.05)
        finally:
            self.stop()

    def kill(self, role: str) -> None:
        """From outside, at any instant; it is started again like any other."""
        running = self._running[role]
        running.process.kill()
        running.process.join()
        self.kills.append((role, Fault("any", "before")))
        self._spawn(role)

    def stop(self) -> None:
        for running in self._running.values():
            running.process.kill()
        for running in self._running.values():
            running.process.join()
        self._running.clear()

    def _raise_the_dead(self) -> None:
        for role, running in list(self._running.items()):
            code = running.process.exitcode
            if code is None:
                continue
            if code != -9 or (running.fault is None and role not in self.may_die):
                raise Broken(f"{role} ended with {code}\n{self.report(role)}")
            fault = running.fault or Fault("itself", "before")
            if self._stays_away(role):
                continue
            self.kills.append((role, fault))
            hook = self.hooks.get((role, fault))
            if hook is not None:
                hook()
            self._spawn(role)

    def _stays_away(self, role: str) -> bool:
        awaited = self.away.get(role)
        if awaited is None or role in {dead for dead, _ in self.kills}:
            return False
        return not self._rows(
            self.common.folder / "coordinator.db", f"SELECT slot FROM record WHERE slot = '{awaited}'"
        )

    def _begin_when_accepted(self) -> None:
        if not self.common.started.exists() and all(self.accepted(name) for name in self.seats):
            self.common.started.touch()

    def _ended(self) -> bool:
        if not self._quiet():
            return False
        time.sleep(0.3)
        if not self._quiet() or any(r.process.exitcode is not None for r in self._running.values()):
            return False
        waiting = {r: [x.fault for x in [self._running[r]] if x.fault] + self._pending[r] for r in self.roles}
        if any(waiting.values()):
            raise Stalled(f"the study is over and these never struck: {waiting}")
        return True

    def _quiet(self) -> bool:
        """Everybody has released and nothing is under way."""
        if self._rows(self.common.mailbox, "SELECT COUNT(*) FROM letter") != [(0,)]:
            return False
        coordinator = self.common.folder / "coordinator.db"
        released = self._rows(coordinator, "SELECT slot FROM record WHERE slot LIKE 'release-%'")
        unsent = [self._rows(db, "SELECT number FROM outgoing") for db in [coordinator, *self._hospitals()]]
        return len(released) == len(self.seats) and not any(unsent)

    def _hospitals(self) -> list[Path]:
        return [self.folder / name / "hospital.db" for name in self.seats]

    def accepted(self, name: str) -> bool:
        db = self.folder / name / "hospital.db"
        return bool(self._rows(db, "SELECT slot FROM record WHERE slot LIKE 'accepted-%'"))

    def recorded_by_coordinator(self, prefix: str) -> Mapping[str, bytes]:
        """What it holds of the first attempt of the first round; it may be dead."""
        store = open_store(coordinator_url(self.common))
        try:
            return store.slots(f"{self.id.hex()}/1/1", prefix)
        finally:
            store.close()

    @staticmethod
    def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
            try:
                return db.execute(query).fetchall()
            except sqlite3.OperationalError:
                return []  # its schema is not there yet

    def _watch(self) -> None:
        traces = sum(self.common.trace(r).stat().st_size for r in self.roles if self.common.trace(r).exists())
        now, mark = time.monotonic(), traces + len(self.kills)
        if mark != self._moved[1]:
            self._moved = (now, mark)
        elif now - self._moved[0] > self.stall_s:
            raise Stalled("\n".join(["nothing happens any more", *map(self.report, self.roles)]))

    # what is told -------------------------------------------------------------------------------------

    def trace(self, role: str) -> list[str]:
        return self.common.trace(role).read_text().splitlines()

    def report(self, role: str) -> str:
        """The last words of a role, for a person who reads a failure."""
        log = self.common.log(role)
        running = self._running.get(role)
        return "\n".join(
            [
                f"--- {role}, waiting for {running.fault if running else None}, then {self._pending[role]}",
                *(log.read_text().splitlines()[-15:] if log.exists() else []),
                *(self.trace(role)[-3:] if self.common.trace(role).exists() else []),
            ]
        )
