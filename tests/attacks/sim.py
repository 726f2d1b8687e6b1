"""A consortium in memory for attack tests: real machines and ciphers, and a chain that is a few fields.

The chain can be told to say anything; what it says is the only fake here. It locks and attests whatever it is
asked to, because the tests ask what hospitals do when contract and coordinator have both failed them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from analytics.study import StudySpec
from analytics.table import Table
from consent_contracts.views import AnalysisView, GateView, HeadView, LockView, StudyView
from consilium_records import METADATA, RecordStore
from coordinator.round import LockCall
from crypto import envelopes
from crypto.identity import AgentKey
from crypto.secure_sum import schemes
from participants.analyst import SpecAnalyst
from participants.ports import fhe_ports
from participants.round import HospitalRound, Ports, Site, Step, StudyFacts, View
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.conftest import tiny_spec, tiny_table

CHAIN_ID = 31337
REGISTRY, LEDGER, SPONSOR, COORDINATOR = (bytes([i]) * 20 for i in (0xA1, 0xA2, 0xA3, 0xA4))
STUDY, CODE = b"\x51" * 32, b"\xc0" * 32
START = 1_800_000_000
LIVE = AnalysisView(rho=0, delta=0, noise=digests.ZERO32)


def memory_store() -> RecordStore:
    """The real store over a database in memory."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    METADATA.create_all(engine)
    return RecordStore(engine)


@dataclass
class FakeChain:
    """What the chain says; every field may be changed by a test."""

    study: StudyView
    agents: dict[bytes, bytes]
    gates: dict[bytes, GateView]
    price: AnalysisView = field(default_factory=lambda: LIVE)
    head: HeadView = field(default_factory=lambda: HeadView(0, digests.ZERO32, digests.ZERO32, None))
    now: int = START

    def lock(self, call: LockCall) -> bytes:
        root = digests.receipts_root(call.orgs, call.upload_hashes)
        lock_id = digests.lock_id(call.plan_hash, root)
        ctx = call.ctx
        lock = LockView(
            lock_id,
            self.now,
            ctx.round,
            ctx.release,
            ctx.attempt,
            ctx.analysis,
            False,
            (),
        )
        self.head = replace(self.head, lock=lock)
        return lock_id

    def recover(self, org: bytes) -> None:
        lock = self.head.lock
        assert lock is not None
        self.head = replace(self.head, lock=replace(lock, recovered=(*lock.recovered, org)))

    def attest(self, seal: digests.Seal) -> bytes:
        domain = digests.domain_separator("AttestationLedger", CHAIN_ID, LEDGER)
        tip = seal.digest(domain)
        self.head = HeadView(self.head.attested + 1, tip, seal.state_after, None)
        return tip

    def change_gate(self, dataset: bytes, **changes: object) -> None:
        self.gates[dataset] = replace(self.gates[dataset], **changes)  # type: ignore[arg-type]


@cache
def _ports() -> Ports:
    """Ciphers and generators once for the whole session; each hospital brings its own analyst."""
    return fhe_ports(SpecAnalyst(tiny_spec(), lambda: Table({}, {}, 0)))


@dataclass
class Member:
    """One hospital: the real machine over a real store."""

    name: str
    org: bytes
    agent: AgentKey
    dataset: bytes
    machine: HospitalRound
    store: RecordStore
    chain: FakeChain
    reads: list[str] = field(default_factory=list)

    def view(self) -> View:
        chain = self.chain
        gates = tuple(chain.gates[d] for d in self.machine.site.datasets if d in chain.gates)
        return View(chain.study, chain.price, chain.head, gates, chain.agents, chain.now)

    def handle(self, kind: str, body: bytes) -> list[tuple[str, bytes]]:
        """As `participants.hospital.Hospital` does with a letter; errors come through."""
        step = self.machine.handle(kind, body, self.store, self.view())
        sent = self.apply(step)
        while step.again:
            step = self.machine.handle(kind, body, self.store, self.view())
            sent += self.apply(step)
        return sent

    def settle(self) -> list[tuple[str, bytes]]:
        return self.apply(self.machine.settle(self.store, self.view()))

    def apply(self, step: Step) -> list[tuple[str, bytes]]:
        self.store.commit(step.records, (), step.forget)
        return list(step.send)


@dataclass
class World:
    """Hospitals around one fake chain."""

    spec: StudySpec
    chain: FakeChain
    members: dict[bytes, Member]
    genesis: pb.StateHandover

    @property
    def orgs(self) -> tuple[bytes, ...]:
        return tuple(self.members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def __getitem__(self, name: str) -> Member:
        return next(m for m in self if m.name == name)

    # the room of `rogue.Attempt` ----------------------------------------------------------------------

    def hand(self, org: bytes, kind: str, body: bytes) -> list[tuple[str, bytes]]:
        return self.members[org].handle(kind, body)

    def lock(self, call: LockCall) -> bytes:
        return self.chain.lock(call)

    def agents(self) -> Mapping[bytes, bytes]:
        return self.chain.agents

    def now(self) -> int:
        return self.chain.now

    def ctx(self, **changes: object) -> digests.Ctx:
        """The context that the chain awaits, unless changed."""
        head = self.chain.head
        held = self.held(head.attested)
        ctx = digests.Ctx(
            chain_id=CHAIN_ID,
            registry=REGISTRY,
            ledger=LEDGER,
            study=STUDY,
            analysis=digests.analysis_id(self.analysis()),
            spec_hash=self.spec.spec_hash,
            code_hash=CODE,
            round=head.attested + 1,
            release=1,
            attempt=1,
            prev_seal=head.tip,
            state_commit=digests.state_commit(held.salt, held.state),
            mode=digests.EXACT,
            rho=0,
            delta=0,
            noise=digests.ZERO32,
        )
        return replace(ctx, **changes)  # type: ignore[arg-type]

    def held(self, after: int) -> pb.StateHandover:
        for member in self:
            if (body := member.store.get(STUDY.hex(), f"state-{after}")) is not None:
                return wire.parse(pb.StateHandover, body)
        raise AssertionError("somebody holds the state")

    def analysis(self) -> str:
        member = next(iter(self))
        return member.machine.ports.analyst.current(self.held(self.chain.head.attested).state)


def build(
    names: str = "abcd",
    rounds: int = 1,
    *,
    min_sites: int = 3,
    trusted: int = 2,
    n: int = 40,
    spec: StudySpec | None = None,
    committee: str = "",
) -> World:
    """A study of means, or of ``spec``, in which every hospital of ``names`` has accepted and consented.

    Args:
        committee: [[committee]] of the study; then its sums are shared.
    """
    if spec is None:
        spec = tiny_spec("tiny", tuple(names), rounds, sum_="mpc" if committee else "fhe", more=committee)
    keys = sorted((AgentKey.from_bytes(bytes([i + 1]) * 32) for i in range(len(names))), key=_org)
    orgs = tuple(_org(key) for key in keys)
    chain = FakeChain(
        study=_study(spec, orgs, min_sites),
        agents={_org(key): key.address for key in keys},
        gates={_dataset(org): _gate(org) for org in orgs},
    )
    world = World(spec, chain, {}, _genesis(spec))
    for i, (name, key) in enumerate(zip(names, keys, strict=True)):
        world.members[_org(key)] = _member(world, name, key, i, orgs, trusted, n)
    return world


def _member(
    world: World, name: str, key: AgentKey, seed: int, orgs: tuple[bytes, ...], trusted: int, n: int
) -> Member:
    org, reads = _org(key), list[str]()
    table = tiny_table(seed, n)

    def read() -> Table:
        reads.append(name)
        return table(world.spec)

    facts = StudyFacts(STUDY, CHAIN_ID, REGISTRY, LEDGER, world.spec.spec_hash)
    site = Site(org, key, (_dataset(org),), frozenset(orgs) - {org}, CODE, min_trusted=trusted)
    ports = replace(_ports(), analyst=SpecAnalyst(world.spec, read))
    if world.spec.committee:
        members = tuple((member.address, member.key) for member in world.spec.committee)
        ports = replace(ports, scheme=schemes.mpc(), committee=members)
    store = memory_store()
    store.commit([(STUDY.hex(), "state-0", wire.encode(world.genesis))])
    machine = HospitalRound(facts, site, ports)
    return Member(name, org, key, _dataset(org), machine, store, world.chain, reads)


def _org(key: AgentKey) -> bytes:
    """The steward's address: another than the agent's."""
    return digests.tagged("test-org", key.address)[:20]


def _dataset(org: bytes) -> bytes:
    return digests.tagged("test-dataset", org)


def _gate(org: bytes) -> GateView:
    return GateView(_dataset(org), 0, "live", 1, 1, START + 10**8, org, 0, 0, 20)


def _genesis(spec: StudySpec) -> pb.StateHandover:
    state = SpecAnalyst(spec, lambda: Table({}, {}, 0)).genesis()
    return pb.StateHandover(state=state, salt=digests.genesis_salt(spec.spec_hash))


@cache
def sponsor_keys() -> tuple[bytes, bytes]:
    return envelopes.generate()


def _study(spec: StudySpec, orgs: tuple[bytes, ...], min_sites: int) -> StudyView:
    import hashlib

    return StudyView(
        spec_hash=spec.spec_hash,
        sponsor=SPONSOR,
        coordinator=COORDINATOR,
        purposes=1,
        satisfies=0,
        scope=digests.ZERO32,
        mode=digests.EXACT,
        min_sites=min_sites,
        collusion=1,
        window=60,
        sponsor_key=hashlib.sha256(sponsor_keys()[1]).digest(),
        roster=orgs,
        closed=False,
        analyses=tuple(digests.analysis_id(entry.id) for entry in spec.analysis),
    )
