"""Studies by committee: robust ones at the council, and members as processes that die where they are told to."""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from analytics.study import StudySpec
from analytics.table import Table
from consent_contracts.chain import Chain
from crypto import envelopes
from crypto.identity import AgentKey
from crypto.vault import Vault
from deploy.committee import benches, section
from participants.analyst import SpecAnalyst
from participants.committee.job import Bench
from participants.committee.member import Committee
from participants.ports import ports_for
from participants.round import Ports
from participants.round.words import Contribution
from participants.store import open_store
from tests.system.faults import Fault, Tripwire, WiredMailbox, WiredStore
from tests.system.role import Common, _for_ever, _node, _reported
from tests.system.world import Study

ROBUST = """
schema = "consilium.study/1"
id = "{id}"
protocol = {{ ethics = "TEST-1", plan_sha256 = "{plan}" }}
purpose = {{ duo = "DUO:0000042", commercial = false }}
sites = ["a", "b", "c", "d"]
sum = "mpc"
row_cap = 1000
[release]
mode = "exact"
recipient = "sponsor-key-1"
[cohort]
max_missing = "0.10"
[variables]
age = {{ kind = "number", unit = "a", range = [0, 120], centre = 60, scale = 10 }}
bmi = {{ kind = "number", unit = "kg/m2", range = [0, 80], centre = 25, scale = 5 }}
ill = {{ kind = "event" }}
[[analysis]]
id = "net"
kind = "network"
outcome = "ill"
terms = ["age", "bmi"]
hidden = [2]
rounds = {rounds}
weight_cap = 100
{robust}
{committee}
"""


def robust_spec(name: str, robust: str, committee: str, rounds: int = 2) -> StudySpec:
    text = ROBUST.format(id=name, plan="0" * 64, robust=robust, committee=committee, rounds=rounds)
    return StudySpec.load(text)


def ill_table(seed: int) -> Callable[[StudySpec], Table]:
    """Seeded patients of whom some are ill."""

    def read(spec: StudySpec) -> Table:
        rng = np.random.default_rng(seed)
        age, bmi = rng.uniform(20, 90, 60), rng.uniform(18, 40, 60)
        ill = (age + 2 * bmi + rng.normal(0, 10, 60) > 110).astype(np.int64)
        return Table({"age": age, "bmi": bmi}, {"ill": ill}, 60)

    return read


class Poisoner(SpecAnalyst):
    """A hospital whose every update is as large as a field can hold."""

    def contribute(self, state: bytes) -> Contribution:
        honest = super().contribute(state)
        most = int(2 * self.shared(state).offsets.max())
        return Contribution(np.full_like(honest.values, most), honest.fields)


def poisoned(name: str, analyst: SpecAnalyst) -> Ports:
    return replace(ports_for(name, analyst), analyst=Poisoner(analyst.spec, analyst._table))


def expected_states(spec: StudySpec, names: str, combine: str = "sum") -> list[bytes]:
    """The states after each round, from the hospitals' own integers in the clear."""
    seeds = {name: i for i, name in enumerate("abcd")}
    analysts = [SpecAnalyst(spec, lambda n=n: ill_table(seeds[n])(spec)) for n in names]  # type: ignore[misc]
    states, n = [analysts[0].genesis()], len(names)
    while analysts[0].current(states[-1]):
        offsets = analysts[0].shared(states[-1]).offsets.astype(np.int64)
        rows = np.stack([a.contribute(states[-1]).values.astype(np.int64) - offsets for a in analysts])
        middle = np.rint(np.median(rows, axis=0) * n).astype(np.int64)
        total = middle if combine == "median" else rows.sum(axis=0)
        fields = (total + n * offsets).astype(np.uint64)
        states.append(analysts[0].move(states[-1], fields, n).state)
    return states


def lying(*args: object) -> bytes:
    """An honest meeting, and a false share in the output."""
    import crypto.mpc.job as engine
    from participants.committee import job

    sealed = engine._sealed

    def false(terms, member, common, share, *rest):  # type: ignore[no-untyped-def]
        return sealed(terms, member, common, share + 1, *rest)

    engine._sealed = false
    return job.compute(*args)  # type: ignore[arg-type]


# members as processes -----------------------------------------------------------------------------------

MEMBERS = ("m1", "m2", "m3")
MEMBER_ROUND = (
    "commit studies/offer-*",
    "commit 1/*/inputs",
    "commit 1/*/share-*",
    "commit 1/*/compute-1",
    "commit 1/*/output-*",
    "commit done-1",
)


def run_member(common: Common, name: str, bench: Bench, fault: Fault | None) -> None:
    mp.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # meetings are children
    with _reported(common.log(name)):
        trip = Tripwire(common.trace(name), fault)
        member = Committee(
            bench,
            coordinator=common.coordinator,
            code_hash=common.code,
            store=WiredStore(open_store(bench.store_url, Vault.load_or_create(bench.vault)), trip),
            mailbox=WiredMailbox(common.mailbox, trip),
            chain=Chain([_node(common), _node(common)], common.addresses),
        )
        _for_ever(lambda: None, member.tick)


def member_benches(folder: Path) -> list[Bench]:
    """Impatient ones: who was killed after a meeting is noticed soon."""
    return [replace(bench, timeout_s=4.0) for bench in benches(folder)]


def toml(found: list[Bench]) -> str:
    return "\n".join(
        section(name, AgentKey.from_bytes(b.key).address, envelopes.public_of(b.hpke))
        for name, b in zip(MEMBERS, found, strict=True)
    )


@dataclass
class CommitteeStudy(Study):
    """Also the three members are processes, and may have faults."""

    benches: dict[str, Bench] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[str, ...]:
        return (*super().roles, *self.benches)

    def _spawn(self, role: str) -> None:
        if role not in self.benches:
            return super()._spawn(role)
        from tests.system.world import _Running

        fault = self._pending[role].pop(0) if self._pending[role] else None
        process = self.world.processes.Process(
            target=run_member, args=(self.common, role, self.benches[role], fault), daemon=True
        )
        process.start()
        self._running[role] = _Running(process, fault)
        return None

    def _quiet(self) -> bool:
        """Also every member has seen the last seal and forgotten its round."""
        last = f"SELECT slot FROM record WHERE slot = 'done-{len(self.spec.analysis)}'"
        stores = (Path(bench.store_url.removeprefix("sqlite:///")) for bench in self.benches.values())
        return super()._quiet() and all(self._rows(path, last) for path in stores)
