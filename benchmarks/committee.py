"""What a committee of three processes on this machine needs: ``python -m benchmarks.committee [--json]``.

Wall time is the slowest member's, from a barrier to its result; processor time is the mean of the three. Both are
the best of some repetitions. Three members on fewer than three processors wait for each other: there, and on a
machine that does other work, processor time is the one to compare.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import Measure, publish
from crypto.identity import AgentKey
from crypto.mpc import sharing
from crypto.mpc.handshake import Session
from crypto.mpc.links import Links
from crypto.mpc.process import Job
from deploy.committee import benches
from participants.committee.job import Bench

REPEAT = 5
TIMEOUT_S = 120.0
BOUND = 1 << 22
CAPTION = "Best of some repetitions; wall: the slowest member's."
Times = tuple[float, float]
Case = Callable[[Links, list[sharing.Held], int], Times]


def clocked(links: Links, work: Callable[[], object]) -> Times:
    """Wall and processor seconds."""
    wall, processor = [], []
    for _ in range(REPEAT):
        links.barrier()
        begin, busy = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - begin)
        processor.append(time.process_time() - busy)
    return min(wall), min(processor)


def plain_sum(links: Links, held: list[sharing.Held], d: int) -> Times:
    from crypto.mpc import seam

    engine = seam.start(links)
    return clocked(links, lambda: sharing.add_own(held, d) + engine.zero(d))


def opened_sum(links: Links, held: list[sharing.Held], d: int) -> Times:
    from crypto.mpc import seam

    engine = seam.start(links)
    return clocked(links, lambda: engine.open(sharing.add_own(held, d)))


def checked_sum(links: Links, held: list[sharing.Held], d: int) -> Times:
    from crypto.mpc import checks, seam

    engine = seam.start(links)

    def work() -> None:
        found = checks.scan(held, d, bytes(32))
        accepted = checks.accepted(engine, found, BOUND)
        if not all(accepted):
            raise AssertionError("every vector is within the bound")
        _ = checks.sum_accepted(found, held, accepted) + engine.zero(d)

    return clocked(links, work)


def median(links: Links, held: list[sharing.Held], d: int) -> Times:
    from crypto.mpc import robust, seam

    matrix, engine = sharing.own_matrix(held, d), seam.start(links)
    return clocked(links, lambda: robust.median(engine, matrix))


def exchanges(links: Links, held: list[sharing.Held], d: int) -> Times:
    """One exchange of ``d`` bytes, each to both others."""
    body = bytes(d)
    return clocked(links, lambda: links.exchange(body, d))


CASES: dict[str, tuple[Case, int, int]] = {
    "exchange of 64 bytes": (exchanges, 1, 64),
    "exchange of 800 kB": (exchanges, 1, 800_000),
    "sum, shares to hospitals": (plain_sum, 5, 100_000),
    "sum, opened on the links": (opened_sum, 5, 100_000),
    "checked sum": (checked_sum, 5, 100_000),
    "checked sum of a million": (checked_sum, 10, 1_000_000),
    "median": (median, 5, 10_000),
}


def play(bench: Bench, orgs: Sequence[bytes], name: bytes, folder: str, case: str) -> Times:
    """One member in its own process."""
    import torch

    torch.set_num_threads(1)
    run, _, d = CASES[case]
    rank = orgs.index(AgentKey.from_bytes(bench.key).address)
    places = [bench.listen if org == orgs[rank] else bench.peers[org] for org in orgs]
    held = [
        sharing.Held(rank, *_seeds(path, rank), 0, path.read_bytes())
        for path in sorted(Path(folder).glob("*.blob"))
    ]
    session = Session(rank, tuple(orgs), name)
    with Links.connect(session, places, bench.credentials, timeout_s=TIMEOUT_S) as links:
        return run(links, held, d)


def _seeds(path: Path, rank: int) -> tuple[bytes, bytes]:
    body = path.with_suffix(".seeds").read_bytes()[rank * sharing.PLAINTEXT_BYTES :]
    return body[:32], body[32:64]


@dataclass(frozen=True)
class Taken:
    """Of one case.

    Attributes:
        wall_s: of the slowest member. ``processor_s``: mean of the three.
        share_s: in which one hospital shares its vector.
    """

    wall_s: float
    processor_s: float
    share_s: float


def measure(case: str, folder: Path) -> Taken:
    """``folder`` is empty, for the shares and the members' papers."""
    _, hospitals, d = CASES[case]
    rng, spent = np.random.default_rng(1), 0.0
    for i in range(hospitals):
        u = rng.integers(-1000, 1000, max(d // 8, 1) if "exchange" in case else d, dtype=np.int64)
        begin = time.perf_counter()
        shares = sharing.share(u, 1)
        spent += time.perf_counter() - begin
        (folder / f"{i:03}.blob").write_bytes(shares.blob)
        (folder / f"{i:03}.seeds").write_bytes(b"".join(shares.plaintexts))
    members = benches(folder / "committee")
    orgs = [AgentKey.from_bytes(bench.key).address for bench in members]
    name = secrets.token_bytes(32)
    with ExitStack() as stack:
        jobs = [stack.enter_context(Job(play, b, orgs, name, str(folder), case)) for b in members]
        found = [job.result(10 * TIMEOUT_S) for job in jobs]
    return Taken(max(f[0] for f in found), sum(f[1] for f in found) / len(found), spent / hospitals)


def measures(case: str, taken: Taken) -> list[Measure]:
    _, hospitals, d = CASES[case]
    at = f"@{case}, {d} x {hospitals}"
    found = [
        Measure(f"wall_ms{at}", 1e3 * taken.wall_s, "ms"),
        Measure(f"processor_ms{at}", 1e3 * taken.processor_s, "ms a member"),
    ]
    if "exchange" not in case:
        found.append(Measure(f"share_ms{at}", 1e3 * taken.share_s, "ms a hospital"))
        found.append(Measure(f"share_bytes{at}", sharing.upload_size(d), "bytes a hospital"))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.committee", description="a committee of three processes"
    )
    parser.add_argument("--json", action="store_true", help="a list of {name, value, unit}")
    parser.add_argument("--case", default="", help=f"those with this in their names: {', '.join(CASES)}")
    options = parser.parse_args(argv)
    found: list[Measure] = []
    for case in (name for name in CASES if options.case in name):
        with tempfile.TemporaryDirectory(prefix="consilium-benchmark-") as folder:
            found += measures(case, measure(case, Path(folder)))
    publish(found, as_json=options.json, title="a committee of three", caption=CAPTION)


if __name__ == "__main__":
    main()
