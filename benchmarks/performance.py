"""Runs every benchmark and writes docs/performance.md with its tables and plots: ``python -m benchmarks.performance``.
The README's table is one of them.

About forty minutes on two quiet cores. The numbers are kept in docs/performance.json: ``--draw`` only writes the
page and the plots anew from them, ``--only round,gas`` measures some parts and keeps the others.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import deployment, plots, secure_sum
from benchmarks import round as one_round
from benchmarks.gas import GOALS as GAS_GOALS
from benchmarks.plots import Numbers
from benchmarks.report import number
from consilium_errors import Unavailable

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PLOTS = {
    "performance-parameters": "time and bytes of an upload against parameters",
    "performance-hospitals": "time and bytes of a round against hospitals",
}
GOALS: Mapping[str, Mapping[str, float]] = {
    "round": one_round.GOALS,
    "secure_sum": secure_sum.GOALS,
    "deployment": deployment.GOALS,
    "gas": GAS_GOALS,
}


@dataclass(frozen=True)
class Part:
    """One script and what the page shows of it.

    Attributes:
        tables: each of columns (what stands behind the ``@``) and rows (what stands before it).
        single: measures without a column.
    """

    name: str
    arguments: str
    says: str
    tables: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    single: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return f"python -m benchmarks.{self.name} {self.arguments}".strip()


PARTS = (
    Part(
        "secure_sum",
        "--crowds 3,10,30,100,128",
        "What one hospital among five computes for an upload, beside Flower's SecAgg+ client and NVFlare's CKKS; "
        "the committee of three; one whole FHE round of many hospitals, all roles on this one machine. "
        "SecAgg+ computes less: it commits to nothing, and its masks come from a generator that is not cryptographic. "
        "The goal for `secaggplus_over_hospital` is at least 3.",
        (
            (
                ("10k", "100k", "1M", "10M"),
                (
                    "hospital_wall_s",
                    "hospital_commit_s",
                    "hospital_mask_s",
                    "hospital_encrypt_s",
                    "hospital_quantise_s",
                    "secaggplus_wall_s",
                    "nvflare_ckks_wall_s",
                    "secaggplus_over_hospital",
                    "bytes_up_over_f32",
                    "bytes_down_over_f32",
                    "secaggplus_bytes_up_over_f32",
                    "nvflare_ckks_bytes_up_over_f32",
                    "peak_mb",
                ),
            ),
            (
                ("3x100k", "10x100k", "30x100k", "100x100k", "128x100k"),
                ("fhe_round_s", "round_bytes_up_over_f32", "round_bytes_down_over_f32"),
            ),
        ),
        (
            "mpc_sum_ms@100kx5",
            "mpc_checked_sum_s@1Mx10",
            "mpc_checked_sum_processor_s@1Mx10",
        ),
    ),
    Part(
        "round",
        "",
        "One round of three hospitals in one process, chain and disk on, under FHE and in the clear. Both kinds of "
        "sum pay for the same chain, disk and state; a low ratio is not cheap encryption.",
        (
            (
                ("10k", "100k", "1M"),
                (
                    "fhe_over_clear_wall",
                    "fhe_over_clear_work",
                    "bytes_up_over_f32",
                    "bytes_down_over_f32",
                    "fhe_round_wall_s",
                    "hospital_wall_s",
                ),
            ),
        ),
    ),
    Part(
        "deployment",
        "",
        "Real processes over Flower and mutual TLS, chain on, beside stock Flower (no TLS, no chain, nothing on "
        "disk). `study` rounds hold 30 s of single-threaded training at every hospital.",
        (
            (
                ("100k", "1M"),
                ("stock_flower_round_s", "clear_round_s", "fhe_round_s", "fhe_over_clear_wall"),
            ),
            (
                ("trivial", "100k", "1M"),
                (
                    "rss_mb@coordinator",
                    "rss_mb@superlink",
                    "rss_mb@hospital",
                    "rss_mb@node",
                    "rss_mb@cipher",
                ),
            ),
        ),
        (
            "exchange_s",
            "trivial_round_s",
            "clear_study_round_s",
            "fhe_study_round_s",
            "study_over_clear_wall",
        ),
    ),
    Part(
        "gas",
        "",
        "Exact mode, a later round.",
        single=("grant", "revoke", "recover", "lock_attest@3", "lock_attest@10", "lock_attest@50"),
    ),
    Part(
        "noise",
        "",
        "Differential privacy, processor time; noise is drawn while the hospital computes, on all cores.",
        single=("draw_cpu", "solve_cpu", "simulate_cpu"),
    ),
)


MARKS = ("<!-- measured -->\n", "<!-- /measured -->\n")
_SHOWN = {
    "exchange_s": "one exchange of letters, coordinator and four hospitals",
    "trivial_round_s": "a whole FHE round of four hospitals, with both of the chain's finalities",
    "stock_flower_round_s@1M": "stock Flower, a FedAvg round of 1M parameters (its polling; no TLS, chain, disk)",
    "clear_round_s@1M": "our round of 1M parameters with the `clear` sum, same wires and chain",
    "fhe_round_s@1M": "the same under FHE",
    "fhe_over_clear_wall@100k": "FHE over `clear`, 100k parameters",
    "fhe_over_clear_wall@1M": "FHE over `clear`, 1M parameters",
    "study_over_clear_wall": "the same with 30 s of training at each hospital in each round",
}


def readme(text: str, numbers: Numbers) -> str:
    """The README with a new table between its marks."""
    goals = GOALS["deployment"]
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    lines = ["| `python -m benchmarks.deployment` | | goal |", "|---|---|---|"]
    for name, says in _SHOWN.items():
        unit = f" {numbers[name][1]}" if name in numbers and numbers[name][1] == "s" else ""
        goal = f"≤ {number(goals[name])}" if name in goals else ""
        lines.append(f"| {says} | {_cell(name, numbers, goals)}{unit} | {goal} |")
    return before + MARKS[0] + "\n".join(lines) + "\n" + MARKS[1] + after


def measured(part: Part) -> Numbers:
    """Raises Unavailable ``benchmark.failed``."""
    command = [sys.executable, "-m", f"benchmarks.{part.name}", *part.arguments.split(), "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Unavailable("benchmark.failed", f"{part.command} ended with {done.returncode}")
    return {m["name"]: (m["value"], m["unit"]) for m in json.loads(done.stdout)}


def page(found: Mapping[str, Numbers], machine: str) -> str:
    """The whole of docs/performance.md."""
    lines = ["# Performance", "", f"Made by `python -m benchmarks.performance` on {machine}.", ""]
    lines += [
        "Ratios hold better than seconds from machine to machine. A goal that is missed is **bold**.",
        "",
    ]
    for name, says in PLOTS.items():
        lines += [f"![{says}]({name}.svg)", ""]
    for part in PARTS:
        if part.name in found:
            lines += _section(part, found[part.name])
    return "\n".join(lines).rstrip() + "\n"


def _section(part: Part, numbers: Numbers) -> list[str]:
    lines, limits = [f"## `{part.command}`", "", part.says, ""], GOALS.get(part.name, {})
    for columns, rows in part.tables:
        head = ["", *columns, "unit", "goal"]
        lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for row in rows:
            names = [f"{row}@{column}" for column in columns]
            units = {numbers[n][1] for n in names if n in numbers}
            goals = [f"{number(limits[n])} at {n.split('@')[-1]}" for n in names if n in limits]
            cells = [_cell(n, numbers, limits) for n in names]
            lines.append("| " + " | ".join([f"`{row}`", *cells, "/".join(units), ", ".join(goals)]) + " |")
        lines.append("")
    if part.single:
        lines += ["| | | unit | goal |", "|---|---|---|---|"]
        for name in part.single:
            goal = number(limits[name]) if name in limits else ""
            unit = numbers[name][1] if name in numbers else ""
            lines.append(f"| `{name}` | {_cell(name, numbers, limits)} | {unit} | {goal} |")
        lines.append("")
    return lines


def _cell(name: str, numbers: Numbers, goals: Mapping[str, float]) -> str:
    if name not in numbers:
        return "–"
    value = numbers[name][0]
    shown = number(value)
    return f"**{shown}**" if value > goals.get(name, value) else shown


def machine() -> str:
    """Processor, cores and memory of this machine, without its name."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model[1] if model else 'unnamed'}), {memory:.0f} GiB"


def main(argv: Sequence[str] | None = None) -> None:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="benchmarks.performance", description="all benchmarks, on one page")
    parser.add_argument("--only", default=",".join(names), help=f"of {', '.join(names)}; default all")
    parser.add_argument("--draw", action="store_true", help="measure nothing, write the page anew")
    options = parser.parse_args(argv)
    wanted = [] if options.draw else options.only.split(",")
    if not set(wanted) <= set(names):
        parser.error(f"parts are {', '.join(names)}")
    kept = DOCS / "performance.json"
    found: dict[str, Numbers] = json.loads(kept.read_text())["parts"] if kept.exists() else {}
    its = json.loads(kept.read_text())["machine"] if kept.exists() else machine()
    for part in PARTS:
        if part.name in wanted:
            print(part.command, file=sys.stderr, flush=True)
            found[part.name], its = measured(part), machine()
            kept.write_text(json.dumps({"machine": its, "parts": found}, indent=1) + "\n")
    (DOCS / "performance.md").write_text(page(found, its), encoding="utf-8")
    if "deployment" in found:
        home = ROOT / "README.md"
        home.write_text(readme(home.read_text(), found["deployment"]), encoding="utf-8")
    if "secure_sum" in found:
        plots.parameters(found["secure_sum"], DOCS / "performance-parameters.svg")
        plots.hospitals(found["secure_sum"], DOCS / "performance-hospitals.svg")


if __name__ == "__main__":
    main()
