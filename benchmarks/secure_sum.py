"""One hospital's share of a secure sum, beside what peers do: ``python -m benchmarks.secure_sum [--json]``.

``hospital_wall_s`` is what a hospital computes for an upload, once its update is there: quantise, pack, mask (one
mask for each peer and its own), commit, encrypt. Flower's SecAgg+ client is the stock one with the stock workflow's
ranges, NVFlare's CKKS its parameters through TenSEAL; all take the same vector in the same run, in turn, and the
least of some repetitions counts. ``bytes_*_over_f32`` is the upload and the sum, over 4 bytes a parameter.
``peak_mb`` is the resident set of a process that makes an upload, at its highest; it is a process of its own.

``fhe_round_s`` is one whole round, all fourteen steps, of that many hospitals and the coordinator on this one
machine, over a real laptop chain: see `benchmarks.crowd`. ``mpc_*`` is the committee of three, in processes of their
own, over mutual TLS: wall time of the slowest member, best of some repetitions.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from benchmarks import committee, peers
from benchmarks.council import MadeAnalyst, hidden, study
from benchmarks.crowd import Crowd, Round
from benchmarks.report import Measure, publish
from consent_contracts.laptop import Anvil
from consilium_errors import Misuse
from crypto.commitments import Generators, Pedersen, generators_needed
from crypto.secure_sum import masks, schemes
from crypto.secure_sum.packing import Packing

GOALS = {
    "hospital_wall_s@1M": 0.6,
    "bytes_up_over_f32@1M": 0.9,
    "bytes_down_over_f32@1M": 1.8,
    "peak_mb@10M": 1536,
    "mpc_sum_ms@100kx5": 5,
    "mpc_checked_sum_s@1Mx10": 0.5,
    "fhe_round_s@100x100k": 60,
}
PARTS = ("upload", "committee", "round")
SPARE_ACCOUNTS, CROWD_SIZE = 10, "100k"
SIZES = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000, "10M": 10_000_000}
CAPTION = "Least of some repetitions, one hospital, the same vector for all in one run."


@dataclass(frozen=True)
class Upload:
    """Seconds by step, and bytes."""

    steps: dict[str, float]
    up: int
    down: int

    @property
    def wall_s(self) -> float:
        return sum(self.steps.values())


class Hospital:
    """Everything of an upload that takes time, over the product's own functions."""

    def __init__(self, d: int, parties: int) -> None:
        try:
            hidden(d)
        except Misuse:
            self._quantise: Callable[[], np.ndarray] = _plain_quantiser(d)
        else:
            analyst = MadeAnalyst(study(d, "fhe", parties))
            state = analyst.genesis()
            self._quantise = lambda: analyst.contribute(state).values
        length = len(self._quantise())
        self._packing = Packing(length, parties, 2)
        self._pedersen = Pedersen(length, 22, Generators.load(generators_needed(length, 22)))
        self._scheme = schemes.fhe()
        self._keys = [bytes([i + 1]) * 32 for i in range(parties)]

    def upload(self) -> Upload:
        steps: dict[str, float] = {}
        clock = time.perf_counter()

        def lap(name: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            steps[name], clock = now - clock, now

        values = self._quantise()
        lap("quantise")
        self._pedersen.commit(values, 7)
        lap("commit")
        packed = self._packing.pack(values)
        lap("pack")
        half = len(self._keys) // 2
        masked = masks.apply(packed, masks.mask(self._keys[:half], self._keys[half:], len(packed)))
        lap("mask")
        sealed = self._scheme.encrypt(bytes(32), masked)
        lap("encrypt")
        return Upload(steps, len(sealed), self._scheme.total_size(len(packed)))


def _plain_quantiser(d: int) -> Callable[[], np.ndarray]:
    """For sizes that no declared network has: the same rounding to a grid and offset."""
    update = np.random.default_rng(1).uniform(-1.0, 1.0, d) / math.sqrt(d)

    def quantise() -> np.ndarray:
        scaled = np.rint(np.ldexp(update, 18)).astype(np.int64) + (1 << 17)
        return np.clip(scaled, 0, (1 << 18) - 1).astype(np.uint64)

    return quantise


def measure(sizes: Sequence[str], parties: int, repeat: int) -> list[Measure]:
    found: list[Measure] = []
    for size in sizes:
        found += _at(size, parties, repeat)
    return found


def _at(size: str, parties: int, repeat: int) -> list[Measure]:
    d = SIZES[size]
    if d > SIZES["1M"]:
        return _process(size, parties)
    hospital, update = Hospital(d, parties), np.random.default_rng(2).uniform(-1.0, 1.0, d)
    uploads, secagg, ckks = [hospital.upload()], [], []
    for _ in range(repeat):
        uploads.append(hospital.upload())
        secagg.append(peers.secaggplus(update, parties))
        ckks.append(peers.nvflare_ckks(update))
    best = min(uploads, key=lambda u: u.wall_s)
    found = [Measure(f"hospital_wall_s@{size}", best.wall_s, "s")]
    found += [Measure(f"hospital_{name}_s@{size}", seconds, "s") for name, seconds in best.steps.items()]
    found += [
        Measure(f"secaggplus_wall_s@{size}", min(s for s, _ in secagg), "s"),
        Measure(f"nvflare_ckks_wall_s@{size}", min(s for s, _ in ckks), "s"),
        Measure(f"secaggplus_over_hospital@{size}", min(s for s, _ in secagg) / best.wall_s, "ratio"),
        Measure(f"bytes_up_over_f32@{size}", best.up / (4 * d), "ratio"),
        Measure(f"bytes_down_over_f32@{size}", best.down / (4 * d), "ratio"),
        Measure(f"secaggplus_bytes_up_over_f32@{size}", secagg[0][1] / (4 * d), "ratio"),
        Measure(f"nvflare_ckks_bytes_up_over_f32@{size}", ckks[0][1] / (4 * d), "ratio"),
    ]
    return found


def _committee() -> list[Measure]:
    found = {}
    for case in ("sum, shares to hospitals", "checked sum of a million"):
        with tempfile.TemporaryDirectory(prefix="consilium-benchmark-") as folder:
            found[case] = committee.measure(case, Path(folder))
    plain, checked = found.values()
    return [
        Measure("mpc_sum_ms@100kx5", 1e3 * plain.wall_s, "ms"),
        Measure("mpc_sum_processor_ms@100kx5", 1e3 * plain.processor_s, "ms"),
        Measure("mpc_share_ms@100k", 1e3 * plain.share_s, "ms"),
        Measure("mpc_checked_sum_s@1Mx10", checked.wall_s, "s"),
        Measure("mpc_checked_sum_processor_s@1Mx10", checked.processor_s, "s"),
        Measure("mpc_share_ms@1M", 1e3 * checked.share_s, "ms"),
    ]


def _rounds(crowds: Sequence[int]) -> list[Measure]:
    found: list[Measure] = []
    for hospitals in crowds:
        took, at = _round(hospitals, CROWD_SIZE), f"{hospitals}x{CROWD_SIZE}"
        f32 = 4 * SIZES[CROWD_SIZE]
        found += [
            Measure(f"fhe_round_s@{at}", took.wall_s, "s"),
            Measure(f"round_bytes_up_over_f32@{at}", took.up / f32, "ratio"),
            Measure(f"round_bytes_down_over_f32@{at}", took.down / f32, "ratio"),
        ]
    return found


def _round(hospitals: int, size: str) -> Round:
    """The second round of a study; the first warms up."""
    Generators.load(generators_needed(SIZES[size] + 1, 22))
    with (
        tempfile.TemporaryDirectory(prefix="consilium-benchmark-") as folder,
        Anvil(accounts=hospitals + SPARE_ACCOUNTS) as anvil,
        Crowd(Path(folder) / "council", anvil.url, SIZES[size], hospitals) as crowd,
    ):
        crowd.round()
        return crowd.round()


def _process(size: str, parties: int) -> list[Measure]:
    """One upload in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.secure_sum", "--process", size, "--hospitals", str(parties)]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return [Measure(**each) for each in json.loads(said)]


def _here(size: str, parties: int) -> list[Measure]:
    d, upload = SIZES[size], Hospital(SIZES[size], parties).upload()
    return [
        Measure(f"hospital_wall_s@{size}", upload.wall_s, "s"),
        Measure(f"bytes_up_over_f32@{size}", upload.up / (4 * d), "ratio"),
        Measure(f"bytes_down_over_f32@{size}", upload.down / (4 * d), "ratio"),
        Measure(f"peak_mb@{size}", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.secure_sum", description="an upload, beside peers")
    parser.add_argument("--json", action="store_true", help="a list of {name, value, unit}")
    parser.add_argument("--sizes", default=",".join(SIZES), help=f"of {', '.join(SIZES)}; default all")
    parser.add_argument("--hospitals", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--crowds", default="100", help="hospitals of the part `round`, as in 3,10,100")
    parser.add_argument("--process", choices=sorted(SIZES), help="only one upload here, as JSON")
    options = parser.parse_args(argv)
    if options.process:
        publish(_here(options.process, options.hospitals), as_json=True)
        return
    sizes = options.sizes.split(",")
    if not set(sizes) <= set(SIZES):
        parser.error(f"sizes are {', '.join(SIZES)}")
    parts = options.parts.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found = measure(sizes, options.hospitals, options.repeat) if "upload" in parts else []
    found += _committee() if "committee" in parts else []
    if "round" in parts:
        found += _rounds([int(n) for n in options.crowds.split(",")])
    publish(
        found,
        as_json=options.json,
        title=f"an upload of one hospital among {options.hospitals}",
        caption=CAPTION,
        goals=GOALS,
    )


if __name__ == "__main__":
    main()
