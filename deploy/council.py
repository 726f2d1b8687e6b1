"""The laptop council: chain, coordinator, hospitals and sponsor in one process tree, exchanging only bytes.

A composition root: it knows every room, and no room knows it. The demo, the system tests and the benchmarks
stand on it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from analytics.disclosure import Floor
from analytics.privacy import NOTHING, Price, plan_of
from analytics.study import StudySpec
from analytics.table import Table
from consent_contracts.chain import Addresses, Chain, dataset_id
from consent_contracts.code import code_hash
from consent_contracts.contracts import Contracts
from consent_contracts.laptop import deploy, dev_key
from consent_contracts.proxy import Proxy
from consent_contracts.sender import MemoryStore, Sender
from consilium_errors import Refused, Unavailable
from coordinator import sponsor
from coordinator.calls import ChainCalls
from coordinator.round import Call, LockCall, Rules
from coordinator.service import Coordinator
from coordinator.store import open_store as open_coordinator_store
from crypto import envelopes
from crypto.identity import AgentKey
from crypto.vault import Vault
from deploy.committee import benches, section
from participants.analyst import SpecAnalyst
from participants.committee.member import Committee
from participants.consent_desk import ConsentDesk, Terms
from participants.hospital import Hospital, Identity
from participants.ports import ports_for
from participants.review import Rules as LocalRules
from participants.review import anything, only_encrypted
from participants.round import Ports
from participants.store import open_store as open_hospital_store
from protos.mailbox import Mailbox, MemoryMailbox

ADMIN, COORDINATOR, SPONSOR, REGULATOR, FIRST_HOSPITAL = range(5)
YEAR = 365 * 86_400
TableOf = Callable[[StudySpec], Table]


class Roots(NamedTuple):
    """What the steward registers of a frozen cohort, 32 bytes each."""

    root: bytes
    cohort_root: bytes
    schema_hash: bytes


class Data(Protocol):
    """One hospital's data as the council needs them."""

    def prepare(self, spec: StudySpec, dataset: bytes) -> Roots:
        """Freeze the cohort that this study will use."""

    def table(self, spec: StudySpec) -> Table: ...

    def rows(self, spec: StudySpec) -> int: ...

    def rules(self, spec: StudySpec, org: bytes) -> LocalRules: ...

    def floor(self, spec: StudySpec) -> Floor: ...


@dataclass(frozen=True)
class MadeData:
    """A table from a function: for tests and benchmarks on made data."""

    table_of: TableOf
    sums: tuple[str, ...] = ("fhe",)

    def prepare(self, spec: StudySpec, dataset: bytes) -> Roots:
        root = secrets.token_bytes(32)
        return Roots(root, root, root)

    def table(self, spec: StudySpec) -> Table:
        return self.table_of(spec)

    def rows(self, spec: StudySpec) -> int:
        return 0

    def rules(self, spec: StudySpec, org: bytes) -> LocalRules:
        return anything if "clear" in self.sums else only_encrypted

    def floor(self, spec: StudySpec) -> Floor:
        return Floor()


@dataclass
class Seat:
    """One hospital at the table: its public name, its agent, and its steward's desk."""

    name: str
    hospital: Hospital
    desk: ConsentDesk
    data: Data
    datasets: dict[str, bytes] = field(default_factory=dict)  # study id (of the file) → dataset


def agent_of(home: Path) -> AgentKey:
    return AgentKey.load_or_create(home / "agent.key")


def hospital_at(
    home: Path,
    org: bytes,
    orgs: frozenset[bytes],
    *,
    coordinator: bytes,
    mailbox: Mailbox,
    chain: Chain,
    data: Data,
    ports: Callable[[str, SpecAnalyst], Ports] = ports_for,
    look_s: float = 0.0,
) -> Hospital:
    """A hospital over the keys and the store of its folder.

    Args:
        orgs: all hospitals; it trusts the others.
    """
    store = open_hospital_store(f"sqlite:///{home / 'hospital.db'}", Vault.load_or_create(home / "vault.key"))
    return Hospital(
        Identity(org, agent_of(home), coordinator, orgs - {org}, code_hash()),
        store=store,
        mailbox=mailbox,
        chain=chain,
        table_of=data.table,
        floor_of=data.floor,
        rules=lambda spec, view, ledger: data.rules(spec, org)(spec, view, ledger),
        ports=ports,
        look_s=look_s,
    )


class Council:
    """A consortium on one machine.

    Args:
        folder: databases and keys go here.
        rpc_url: a node with anvil's development accounts.
        data: hospital's name → its data.
        ports: effects of the hospitals' machines.
        committee: whether three members have seats as well; `committee_toml` is what a study then says of them.
    """

    def __init__(
        self,
        folder: Path,
        rpc_url: str,
        data: Mapping[str, Data | TableOf],
        *,
        rules: Rules | None = None,
        mailbox: Mailbox | None = None,
        ports: Callable[[str, SpecAnalyst], Ports] = ports_for,
        committee: bool = False,
        look_s: float = 0.0,
    ) -> None:
        self._ports, self._look_s = ports, look_s
        self._stack = ExitStack()
        self.folder, self.rpc_url = folder, rpc_url
        self.mailbox = mailbox or MemoryMailbox()
        self._senders: dict[int, Sender] = {}
        self.addresses = self._govern(len(data))
        self.sponsor_secret, self.sponsor_key = envelopes.generate()
        self.regulator_secret, self.regulator_key = envelopes.generate()
        self._coordinator_contracts = self.contracts(COORDINATOR)
        self.before_lock: Callable[[LockCall], None] | None = None
        self.on_refusal: Callable[[str], None] | None = None
        self.on_sealed: Callable[[int, str], None] | None = None
        self.coordinator = self._coordinator(rules)
        orgs = frozenset(self.sender(FIRST_HOSPITAL + i).address for i in range(len(data)))
        self.seats = {
            name: self._seat(index, name, MadeData(its) if callable(its) else its, orgs)
            for index, (name, its) in enumerate(data.items())
        }
        self.members = self._committee() if committee else []

    # chain --------------------------------------------------------------------------------------------

    def sender(self, account: int) -> Sender:
        if account not in self._senders:
            self._senders[account] = Sender(self.rpc_url, dev_key(account), MemoryStore())
        return self._senders[account]

    def contracts(self, account: int) -> Contracts:
        return Contracts(self.sender(account), self.addresses)

    def _govern(self, hospitals: int) -> Addresses:
        addresses = deploy(self.sender(ADMIN))
        admin = Contracts(self.sender(ADMIN), addresses)
        roles = [("COORDINATOR", COORDINATOR), ("SPONSOR", SPONSOR), ("REGULATOR", REGULATOR)]
        roles += [("HOSPITAL", FIRST_HOSPITAL + i) for i in range(hospitals)]
        for role, account in roles:
            admin.grant_role(role, self.sender(account).address)
        return addresses

    def _chain(self) -> Chain:
        """A hospital's own view: two proxies of its own in front of the node."""
        urls = [self._stack.enter_context(Proxy(self.rpc_url)).url for _ in range(2)]
        chain = Chain(urls, self.addresses)
        self._stack.callback(chain.close)
        return chain

    # roles --------------------------------------------------------------------------------------------

    def _coordinator(self, rules: Rules | None) -> Coordinator:
        chain = Chain([self.rpc_url], self.addresses)
        self._stack.callback(chain.close)
        coordinator = Coordinator(
            self.sender(COORDINATOR).address,
            store=open_coordinator_store(f"sqlite:///{self.folder / 'coordinator.db'}"),
            mailbox=self.mailbox,
            chain=chain,
            calls=self._call,
            code_hash=code_hash(),
            rules=rules,
        )
        self._stack.callback(coordinator.close)
        return coordinator

    def _call(self, call: Call) -> None:
        if isinstance(call, LockCall) and self.before_lock is not None:
            self.before_lock(call)
        try:
            ChainCalls(self._coordinator_contracts)(call)
        except Refused as error:
            if self.on_refusal is not None:
                self.on_refusal(error.code)
            raise

    def _seat(self, index: int, name: str, data: Data, orgs: frozenset[bytes]) -> Seat:
        home = self.folder / name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        desk = ConsentDesk(self.contracts(FIRST_HOSPITAL + index))
        desk.delegate(agent_of(home).address)
        hospital = hospital_at(
            home,
            desk.org,
            orgs,
            coordinator=self.coordinator.me,
            mailbox=self.mailbox,
            chain=self._chain(),
            data=data,
            ports=self._ports,
            look_s=self._look_s,
        )
        self._stack.callback(hospital.close)
        return Seat(name, hospital, desk, data)

    def _committee(self) -> list[Committee]:
        """Three members on loopback; each meeting is a process of its own."""
        members = [
            Committee(
                bench,
                coordinator=self.coordinator.me,
                code_hash=code_hash(),
                store=open_hospital_store(bench.store_url, Vault.load_or_create(bench.vault)),
                mailbox=self.mailbox,
                chain=self._chain(),
            )
            for bench in benches(self.folder / "committee")
        ]
        for member in members:
            self._stack.callback(member.close)
        return members

    @property
    def committee_toml(self) -> str:
        """[[committee]] of a study that these three serve."""
        return "\n".join(section(f"m{i}", m.org, m.key) for i, m in enumerate(self.members, 1))

    # a study ------------------------------------------------------------------------------------------

    def register(self, spec: StudySpec) -> bytes:
        """Register datasets and study, offer it, and let every hospital accept and consent."""
        seats = [self.seats[name] for name in spec.sites]
        study = sponsor.register(
            self.contracts(SPONSOR),
            spec,
            coordinator=self.coordinator.me,
            roster=tuple(sorted(seat.desk.org for seat in seats)),
            key=self.sponsor_key,
        )
        for seat in seats:
            seat.datasets[spec.id] = self._dataset(seat, spec)
        self.coordinator.submit(sponsor.offer(study, spec, self.sponsor_key))
        self.settle()
        for seat in seats:
            self.wait(lambda seat=seat: study in seat.hospital.offers())  # type: ignore[misc]
            seat.hospital.accept(study, (seat.datasets[spec.id],), seat.data.rows(spec))
            self.grant(seat, spec, study)
        self.coordinator.start(study)
        return study

    def _dataset(self, seat: Seat, spec: StudySpec) -> bytes:
        nonce = hashlib.sha256(spec.id.encode()).digest()
        roots = seat.data.prepare(spec, dataset_id(seat.desk.org, nonce))
        dataset = seat.desk.register(
            nonce,
            root=roots.root,
            schema_hash=roots.schema_hash,
            terms_hash=spec.spec_hash,
            cohort_root=roots.cohort_root,
        )
        private = _private(spec)
        seat.desk.budget(dataset, rho=private.rho, delta=private.delta, exact=20)
        return dataset

    def grant(self, seat: Seat, spec: StudySpec, study: bytes) -> None:
        purpose = spec.purpose
        values = {purpose.duo: purpose.disease} if purpose.disease else {}
        private = _private(spec)
        terms = Terms(
            (purpose.duo,),
            values,
            int(time.time()) + YEAR,
            rho_cap=private.rho,
            delta_cap=private.delta,
            exact_cap=20,
        )
        seat.desk.grant([seat.datasets[spec.id]], study, terms)

    def revoke(self, seat: Seat, spec: StudySpec, study: bytes) -> None:
        seat.desk.revoke([seat.datasets[spec.id]], study)

    # time ---------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Let everybody do what there is to do, once."""
        done = self.coordinator.tick()
        for seat in self.seats.values():
            done |= seat.hospital.tick()
        for member in self.members:
            done |= member.tick()
        return done

    def settle(self) -> None:
        while self.tick():
            pass

    def wait(self, until: Callable[[], bool], timeout_s: float = 120.0) -> None:
        """Tick until something holds.

        Raises:
            Unavailable: ``council.timeout``.
        """
        deadline = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > deadline:
                raise Unavailable("council.timeout", "the council waited too long")
            if not self.tick():
                time.sleep(0.01)

    def run(self, study: bytes, needed: int, timeout_s: float = 600.0) -> sponsor.Result:
        """Run a study to its end and open what the hospitals release."""
        sealed = 0

        def released() -> bool:
            nonlocal sealed
            while (name := self.coordinator.sealed_analysis(study, sealed + 1)) is not None:
                sealed += 1
                if self.on_sealed is not None:
                    self.on_sealed(sealed, name)
            return len(self.coordinator.releases(study)) >= needed

        self.wait(released, timeout_s)
        return sponsor.open_releases(
            study,
            self.coordinator.releases(study),
            self.sponsor_secret,
            self.agents(),
            needed=needed,
        )

    def agents(self) -> dict[bytes, bytes]:
        orgs: Sequence[bytes] = [seat.desk.org for seat in self.seats.values()]
        return self.coordinator.chain.snapshot().agents(orgs)

    def close(self) -> None:
        self._stack.close()


def _private(spec: StudySpec) -> Price:
    plan = plan_of(spec)
    return NOTHING if plan is None else plan.total
