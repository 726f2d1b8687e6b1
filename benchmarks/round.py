"""One round of a network's update under FHE and in the clear: ``python -m benchmarks.round [--json]``.

Three hospitals and a coordinator in one process, with their real machines, stores and letters, over a real
laptop chain (anvil, a block every 0.2 s). The two kinds of sum alternate, round by round, in studies that run on;
the first round of each is not counted. Values are medians.

*Wall* is a whole round in steady state, from the coordinator's word that one seal is final to its word that the
next one is: all fourteen steps, every hospital one after the other in one process, all writing to disk, and the
waiting for blocks. What it leaves out is local training: each hospital's update is a seeded random one.
``fhe_over_clear_wall`` divides the walls; ``fhe_over_clear_work`` divides them without the time in which the
coordinator waited for the chain to take its two transactions and all slept. In the clear the same letters are
sent, without masks and commitments, and coefficients of 45 bits take 6 bytes.

``hospital_wall_s`` is the time in which one hospital worked on a round under FHE; its parts by step are the own
time of each. ``bytes_*_over_f32`` is all that one hospital sends and gets in a round, over 4 bytes a parameter.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from analytics.state import StudyState
from benchmarks.council import COORDINATOR, Bench, Round
from benchmarks.report import Measure, publish
from benchmarks.stopwatch import Point, Stopwatch
from consent_contracts.chain import Chain, Snapshot
from consent_contracts.laptop import Anvil
from consilium_records import RecordStore
from coordinator.calls import ChainCalls
from crypto import identity
from crypto.commitments import Generators, generators_needed
from crypto.secure_sum import child, masks
from crypto.secure_sum.packing import Packing
from crypto.vault import Vault
from protos import digests, wire

GOALS = {
    "fhe_over_clear_wall@1M": 4,
    "bytes_up_over_f32@1M": 0.9,
    "bytes_down_over_f32@1M": 1.8,
}
SIZES = {"1k": 995, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
CAPTION = (
    "Medians. wall: from one seal's finality to the next, all hospitals one after the other in one process, with "
    "disk and waiting for blocks (0.2 s), without local training. work: without waiting for the chain."
)
SUMS = ("fhe", "clear")
POINTS = (
    Point(masks, "mask", "mask"),
    Point(masks, "apply", "mask"),
    Point(Packing, "pack", "pack"),
    Point(Packing, "unpack", "pack"),
    Point(RecordStore, "get", "persist"),
    Point(RecordStore, "slots", "persist"),
    Point(RecordStore, "commit", "persist"),
    Point(RecordStore, "outgoing", "persist"),
    Point(RecordStore, "sent", "persist"),
    Point(Vault, "seal", "vault"),
    Point(Vault, "open", "vault"),
    Point(wire, "parse", "wire"),
    Point(wire, "encode", "wire"),
    Point(StudyState, "from_bytes", "state"),
    Point(StudyState, "to_bytes", "state"),
    Point(digests, "tagged", "hash"),
    Point(identity, "verify", "sign"),
    Point(identity.AgentKey, "sign", "sign"),
    Point(Chain, "snapshot", "chain"),
    Point(Snapshot, "_read", "chain"),
    Point(ChainCalls, "__call__", "blocks"),
)


@dataclass(frozen=True)
class Case:
    """One size: name → its measured rounds under FHE and in the clear."""

    size: str
    d: int
    rounds: dict[str, list[Round]]


def measure(sizes: Sequence[str], hospitals: int, rounds: int) -> list[Measure]:
    """Every number of every size."""
    child.warm()
    found: list[Measure] = []
    with Anvil() as anvil:
        for size in sizes:
            found += _numbers(_case(anvil.url, size, hospitals, rounds))
    return found


def _case(url: str, size: str, hospitals: int, rounds: int) -> Case:
    d = SIZES[size]
    Generators.load(generators_needed(d + 1, 22))
    watch = Stopwatch()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="consilium-benchmark-")))
        benches = {}
        for sum_ in SUMS:
            benches[sum_] = Bench(folder / sum_, url, d, sum_, hospitals, watch)
            stack.callback(benches[sum_].close)
        stack.enter_context(watch.watching(POINTS))
        case = Case(size, d, {sum_: [] for sum_ in SUMS})
        for number in range(rounds + 1):
            for sum_, bench in benches.items():
                took = bench.round()
                if number:  # the first one warms up
                    case.rounds[sum_].append(took)
    return case


def _numbers(case: Case) -> list[Measure]:
    at, f32 = case.size, 4 * case.d
    fhe, clear = (case.rounds[sum_] for sum_ in SUMS)
    wall = {sum_: _median(r.wall_s for r in case.rounds[sum_]) for sum_ in SUMS}
    work = {sum_: _median(r.work_s for r in case.rounds[sum_]) for sum_ in SUMS}
    found = [
        Measure(f"fhe_over_clear_wall@{at}", wall["fhe"] / wall["clear"], "ratio"),
        Measure(f"fhe_over_clear_work@{at}", work["fhe"] / work["clear"], "ratio"),
        Measure(f"bytes_up_over_f32@{at}", _median(r.up for r in fhe) / f32, "ratio"),
        Measure(f"bytes_down_over_f32@{at}", _median(r.down for r in fhe) / f32, "ratio"),
        Measure(f"clear_bytes_up_over_f32@{at}", _median(r.up for r in clear) / f32, "ratio"),
        Measure(f"clear_bytes_down_over_f32@{at}", _median(r.down for r in clear) / f32, "ratio"),
    ]
    for sum_ in SUMS:
        found.append(Measure(f"{sum_}_round_wall_s@{at}", wall[sum_], "s"))
        found.append(Measure(f"{sum_}_round_work_s@{at}", work[sum_], "s"))
        found += _worked(case.rounds[sum_], at, "" if sum_ == "fhe" else "clear_")
    return found


def _worked(rounds: Sequence[Round], at: str, prefix: str) -> list[Measure]:
    """Seconds of one hospital and of the coordinator, and their parts by step."""
    turns: dict[str, list[dict[str, float]]] = {"hospital": [], "coordinator": []}
    for took in rounds:
        for actor, steps in took.steps.items():
            turns["coordinator" if actor == COORDINATOR else "hospital"].append(steps)
    found: list[Measure] = []
    for role, taken in turns.items():
        found.append(Measure(f"{prefix}{role}_wall_s@{at}", _median(sum(t.values()) for t in taken), "s"))
        for step in sorted({name for t in taken for name in t}):
            seconds = _median(t.get(step, 0.0) for t in taken)
            found.append(Measure(f"{prefix}{role}_{step}_s@{at}", seconds, "s"))
    return found


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.round", description="one round under FHE and in the clear"
    )
    parser.add_argument("--json", action="store_true", help="a list of {name, value, unit}")
    parser.add_argument(
        "--sizes", default="10k,100k,1M", help=f"of {', '.join(SIZES)}; default all from 10k on"
    )
    parser.add_argument("--hospitals", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of each kind; default 5")
    options = parser.parse_args(argv)
    sizes = options.sizes.split(",")
    if not set(sizes) <= set(SIZES):
        parser.error(f"sizes are {', '.join(SIZES)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    publish(
        measure(sizes, options.hospitals, options.rounds),
        as_json=options.json,
        title=f"one round, {options.hospitals} hospitals in one process",
        caption=CAPTION,
        goals=GOALS,
    )


if __name__ == "__main__":
    main()
