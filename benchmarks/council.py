"""A council of hospitals that have made statistics of any size, for benchmarks: real machines, chain and stores."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analytics import registry
from analytics.network import Network
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from benchmarks.stopwatch import IDLE, Stopwatch
from consilium_errors import Misuse
from coordinator.round import Rules
from crypto.secure_sum.schemes import Scheme
from deploy.council import Council, MadeData
from deploy.hospital import LOOK_S
from participants.analyst import SpecAnalyst
from participants.ports import ports_for
from participants.round import Ports
from participants.round.words import Contribution
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import MemoryMailbox

COORDINATOR = "coordinator"
INPUTS = 2
PAUSE_S = 0.005
_STUDY = """
schema = "consilium.study/1"
id = "benchmark-{sum}-{d}"
protocol = {{ ethics = "BENCHMARK", plan_sha256 = "{zeros}" }}
purpose = {{ duo = "DUO:0000042", commercial = false }}
sites = [{sites}]
min_sites = 3
sum = "{sum}"
row_cap = 1000
[release]
mode = "exact"
recipient = "sponsor-key-1"
[cohort]
max_missing = "0.10"
[variables]
age = {{ kind = "number", unit = "a", range = [0, 120], centre = 60, scale = 10 }}
weight = {{ kind = "number", unit = "kg", range = [0, 300], centre = 80, scale = 10 }}
death = {{ kind = "event" }}
[[analysis]]
id = "net"
kind = "network"
outcome = "death"
terms = ["age", "weight"]
hidden = [{a}, {b}]
rounds = 1000
"""


def hidden(d: int) -> tuple[int, int]:
    """Two hidden layers so that a network of two inputs has exactly ``d`` parameters.

    d = 3a + (a + 1)b + b + 1 = (a + 2)(b + 3) - 5; the most square solution is taken.

    Raises:
        Misuse: ``benchmark.size`` when there is none.
    """
    for x in range(math.isqrt(d + 5), 3, -1):
        y, rest = divmod(d + 5, x)
        if rest == 0 and y - 3 <= 4096:
            return x - 2, y - 3
    raise Misuse("benchmark.size", f"no network has {d} parameters", "use 10k, 100k or 1M")


def study(d: int, sum_: str, hospitals: int) -> StudySpec:
    """A study of one network of ``d`` parameters, with more rounds than anyone will measure."""
    a, b = hidden(d)
    sites = ", ".join(f'"{name}"' for name in names(hospitals))
    return StudySpec.load(_STUDY.format(sum=sum_, d=d, zeros="0" * 64, sites=sites, a=a, b=b))


def names(hospitals: int) -> list[str]:
    return [f"h{i:02d}" for i in range(1, hospitals + 1)]


class MadeAnalyst(SpecAnalyst):
    """The study's own layout and move; instead of training, a seeded update just inside the study's clip."""

    def __init__(self, spec: StudySpec) -> None:
        super().__init__(spec, lambda: no_table(spec))
        self._made = spec

    def contribute(self, state: bytes) -> Contribution:
        parsed = StudyState.from_bytes(state)
        network = registry.current(self._made, parsed)
        if not isinstance(network, Network):
            raise AssertionError("the benchmark's only analysis")
        d, clip = network.shape.d, float(network.entry.clip)
        update = np.random.default_rng(parsed.position.round).uniform(-1.0, 1.0, d) * (clip / math.sqrt(d))
        layout, value_bits = self._layout(parsed)
        values = layout.encode({"update": update, "weight": 1.0}, value_bits)
        return Contribution(values, layout.fields)


def no_table(spec: StudySpec) -> Table:
    raise AssertionError("nothing is read")


class CountingMailbox(MemoryMailbox):
    """Counts what goes each way, whole letters."""

    def __init__(self) -> None:
        super().__init__()
        self.up: Counter[bytes] = Counter()
        self.down: Counter[bytes] = Counter()
        self.coordinator = b""

    def post(self, to: bytes, body: bytes) -> None:
        if to == self.coordinator:
            self.up[pb.Mail.FromString(body).sender] += len(body)
        else:
            self.down[to] += len(body)
        super().post(to, body)


@dataclass(frozen=True)
class Round:
    """What one round took.

    Attributes:
        wall_s: all of it. ``work_s``: without waiting for the chain.
        steps: hospital or `COORDINATOR` → step → own seconds.
        up, down: bytes that the busiest hospital sent and got.
    """

    wall_s: float
    work_s: float
    steps: dict[str, dict[str, float]]
    up: int
    down: int


def _largest(count: Counter[bytes]) -> int:
    return max(count.values())


class Bench:
    """One council that runs one study, a round at a time."""

    def __init__(
        self, folder: Path, rpc_url: str, d: int, sum_: str, hospitals: int, watch: Stopwatch
    ) -> None:
        self.d, self._watch = d, watch
        self.mail = CountingMailbox()
        data = MadeData(no_table, sums=(sum_,))
        folder.mkdir(mode=0o700, parents=True)
        self.council = Council(
            folder,
            rpc_url,
            dict.fromkeys(names(hospitals), data),
            rules=Rules(answer_s=3600, lock_s=3600),
            mailbox=self.mail,
            ports=self._ports,
            look_s=LOOK_S,
        )
        self.mail.coordinator = self.council.coordinator.me
        self.spec = study(d, sum_, hospitals)
        self.study = self.council.register(self.spec)
        self.done = 0

    def _ports(self, name: str, analyst: SpecAnalyst) -> Ports:
        around = self._watch.around
        made = _Timed(self.spec, self._watch)
        real = ports_for(name, made)
        return replace(
            real,
            commit=around(real.commit, "commit"),
            verify_sum=around(real.verify_sum, "verify"),
            check_commitments=around(real.check_commitments, "verify"),
            open_total=around(real.open_total, "decrypt"),
            scheme=_TimedScheme(real.scheme, self._watch),
        )

    def round(self) -> Round:
        """One more round, from the coordinator's word on the last seal to its word on the next."""
        council, watch = self.council, self._watch
        self.mail.up.clear()
        self.mail.down.clear()
        watch.take()
        start, slept = time.perf_counter(), 0.0
        self.done += 1
        while council.coordinator.sealed_analysis(self.study, self.done) is None:
            done = watch.turn(COORDINATOR, council.coordinator.tick)
            for name, seat in council.seats.items():
                done |= watch.turn(name, seat.hospital.tick)
            if not done:
                time.sleep(PAUSE_S)
                slept += PAUSE_S
        wall, steps = time.perf_counter() - start, watch.take()
        idle = sum(steps.pop(IDLE, {}).values())
        chain = steps[COORDINATOR].pop("blocks", 0.0)
        return Round(
            wall, wall - slept - idle - chain, steps, _largest(self.mail.up), _largest(self.mail.down)
        )

    def close(self) -> None:
        self.council.close()


class _Timed(MadeAnalyst):
    def __init__(self, spec: StudySpec, watch: Stopwatch) -> None:
        super().__init__(spec)
        self.contribute = watch.around(super().contribute, "quantise")  # type: ignore[method-assign]
        self.move = watch.around(super().move, "move")  # type: ignore[method-assign]


class _TimedScheme:
    """The scheme, with its encryption timed."""

    def __init__(self, scheme: Scheme, watch: Stopwatch) -> None:
        self._scheme = scheme
        self.encrypt = watch.around(scheme.encrypt, "encrypt")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheme, name)
