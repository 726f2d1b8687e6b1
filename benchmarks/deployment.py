"""The whole way in real processes, beside stock Flower: ``python -m benchmarks.deployment [--json]``.

One run on one machine. Ours: processes from kits (`benchmarks.federation`), over Flower with mutual TLS, with an
anvil (a block every 0.2 s, final at once), all seven persisted steps and both finalities. Stock Flower
(`benchmarks.stock`): its own processes, client and FedAvg, no TLS, no chain, nothing kept on disk.

``exchange_s``: from the coordinator's letters to four hospitals until all their answers are there.
``trivial_round_s``: a round of means of two columns under FHE, four hospitals. For ``@100k`` and ``@1M`` three
hospitals send made updates of so many parameters; ``fhe_over_clear_wall`` divides the rounds' times under FHE by
those of the `clear` sum over the very same wires. ``study_over_clear_wall`` does so for rounds in which every
hospital first works for ``--work-s`` seconds of processor time in one torch thread. ``rss_mb``: what the largest
process of each role holds after the last of its rounds. Times are medians.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from analytics.study import StudySpec
from benchmarks import council, exchange, stock
from benchmarks.federation import Federation
from benchmarks.report import Measure, publish
from consent_contracts.laptop import Anvil
from crypto.commitments import Generators, generators_needed

GOALS = {
    "exchange_s": 0.5,
    "trivial_round_s": 4.0,
    "study_over_clear_wall": 1.25,
    "fhe_over_clear_wall@1M": 4.0,
}
SIZES = {"1k": 995, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
SUMS = ("fhe", "clear")
PARTS = ("exchange", "trivial", "stock", "sizes", "study")
NODES, HOSPITALS = 4, 3
PATIENCE_S = 1800.0
CAPTION = "Medians; real processes over mutual TLS, chain on. Stock Flower: no TLS, no chain, no disk."
_MEANS = """
schema = "consilium.study/1"
id = "benchmark-means"
protocol = {{ ethics = "BENCHMARK", plan_sha256 = "{zeros}" }}
purpose = {{ duo = "DUO:0000042", commercial = false }}
sites = [{sites}]
min_sites = 3
sum = "fhe"
row_cap = 1000
[release]
mode = "exact"
recipient = "sponsor-key-1"
[cohort]
max_missing = "0.10"
[variables]
age = {{ kind = "number", unit = "a", range = [0, 120], centre = 60, scale = 10 }}
weight = {{ kind = "number", unit = "kg", range = [0, 300], centre = 80, scale = 10 }}
{analyses}
"""
_ANALYSIS = '[[analysis]]\nid = "m{n}"\nkind = "moments"\ncolumns = ["age", "weight"]\n'


def means(sites: Sequence[str], rounds: int) -> StudySpec:
    """Means of two columns, ``rounds`` times."""
    analyses = "".join(_ANALYSIS.format(n=n) for n in range(rounds))
    listed = ", ".join(f'"{site}"' for site in sites)
    return StudySpec.load(_MEANS.format(zeros="0" * 64, sites=listed, analyses=analyses))


class Benchmark:
    """Args: ``rounds`` measured of each kind, after a first that is not counted."""

    def __init__(self, folder: Path, rpc: str, sizes: Sequence[str], rounds: int, work_s: float) -> None:
        self._folder, self._rpc, self._sizes = folder, rpc, sizes
        self._rounds, self._work_s = rounds, work_s

    def _sub(self, name: str) -> Path:
        path = self._folder / name
        path.mkdir(mode=0o700)
        return path

    def exchange(self) -> list[Measure]:
        times = exchange.measure(self._sub("exchange"), NODES, 10 * self._rounds)
        return [Measure("exchange_s", statistics.median(times), "s")]

    def trivial(self) -> list[Measure]:
        with Federation(self._sub("trivial"), self._rpc, NODES) as federation:
            times = federation.rounds(means(federation.sites, self._rounds + 1), self._rounds + 1, PATIENCE_S)
            resident = federation.resident()
        return [Measure("trivial_round_s", statistics.median(times), "s"), *_resident(resident, "trivial")]

    def stock(self) -> list[Measure]:
        return [
            Measure(
                f"stock_flower_round_s@{size}",
                statistics.median(
                    stock.rounds(self._folder / f"stock-{size}", HOSPITALS, SIZES[size], self._rounds)
                ),
                "s",
            )
            for size in self._sizes
        ]

    def sizes(self) -> list[Measure]:
        found: list[Measure] = []
        for size in self._sizes:
            d = SIZES[size]
            Generators.load(generators_needed(d + 1, 22))
            with Federation(self._sub(f"made-{size}"), self._rpc, HOSPITALS, made=True) as federation:
                wall = self._both(federation, d)
                resident = federation.resident()
            found += [Measure(f"{sum_}_round_s@{size}", wall[sum_], "s") for sum_ in SUMS]
            found.append(Measure(f"fhe_over_clear_wall@{size}", wall["fhe"] / wall["clear"], "ratio"))
            found += _resident(resident, size)
        return found

    def study(self) -> list[Measure]:
        d = SIZES[self._sizes[0]]
        folder = self._sub("study")
        with Federation(folder, self._rpc, HOSPITALS, made=True, work_s=self._work_s) as federation:
            wall = self._both(federation, d)
        found = [Measure(f"{sum_}_study_round_s", wall[sum_], "s") for sum_ in SUMS]
        return [*found, Measure("study_over_clear_wall", wall["fhe"] / wall["clear"], "ratio")]

    def _both(self, federation: Federation, d: int) -> dict[str, float]:
        return {
            sum_: statistics.median(
                federation.rounds(council.study(d, sum_, HOSPITALS), self._rounds + 1, PATIENCE_S)
            )
            for sum_ in SUMS
        }


def _resident(found: Mapping[str, float], at: str) -> list[Measure]:
    return [Measure(f"rss_mb@{role}@{at}", mb, "MB") for role, mb in sorted(found.items())]


def measure(parts: Sequence[str], sizes: Sequence[str], rounds: int, work_s: float) -> list[Measure]:
    found: list[Measure] = []
    with tempfile.TemporaryDirectory(prefix="consilium-benchmark-") as name, Anvil() as anvil:
        benchmark = Benchmark(Path(name), anvil.url, sizes, rounds, work_s)
        todo: dict[str, Callable[[], list[Measure]]] = {part: getattr(benchmark, part) for part in PARTS}
        for part in parts:
            found += todo[part]()
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.deployment", description="real processes, beside stock Flower"
    )
    parser.add_argument("--json", action="store_true", help="a list of {name, value, unit}")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--sizes", default="100k,1M", help=f"of {', '.join(SIZES)}; the study's is the first")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds of each kind; default 3")
    parser.add_argument("--work-s", type=float, default=30.0, help="training in each round of the study")
    options = parser.parse_args(argv)
    parts, sizes = options.parts.split(","), options.sizes.split(",")
    if not set(sizes) <= set(SIZES) or not set(parts) <= set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}; sizes are {', '.join(SIZES)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    publish(
        measure(parts, sizes, options.rounds, options.work_s),
        as_json=options.json,
        title="deployment in real processes",
        caption=CAPTION,
        goals=GOALS,
    )


if __name__ == "__main__":
    main()
