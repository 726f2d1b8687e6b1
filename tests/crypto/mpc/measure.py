"""Prints what a committee of three processes on this machine needs: ``python -m tests.crypto.mpc.measure``.

Wall time is the slowest member's, from a barrier to its result; processor time is the mean of the three. Both are
the best of some repetitions. On a machine that does other work, processor time is the one to compare.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crypto import envelopes
from crypto.mpc import checks, robust, seam, sharing
from crypto.mpc.links import Links
from tests.api.pki import Authority
from tests.crypto.mpc.stand import Committee, Seat

REPEAT = 5
OVERHEAD = 3 * (sharing.PLAINTEXT_BYTES + envelopes.OVERHEAD)


def vectors(n: int, d: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(-1000, 1000, d, dtype=np.int64) for _ in range(n)]


def held_by(rank: int, shares: list[sharing.Shares]) -> list[sharing.Held]:
    return [sharing.Held(rank, s.plaintexts[rank][:32], s.plaintexts[rank][32:64], 0, s.blob) for s in shares]


def clocked(links: Links, work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = [], []
    for _ in range(REPEAT):
        links.barrier()
        begin, busy = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - begin)
        processor.append(time.process_time() - busy)
    return min(wall), min(processor)


def plain_sum(links: Links, seat: Seat, folder: Path, d: int) -> tuple[float, float]:
    held = held_by(seat.rank, load(folder, d))
    engine = seam.start(links)
    return clocked(links, lambda: sharing.add_own(held, d) + engine.zero(d))


def opened_sum(links: Links, seat: Seat, folder: Path, d: int) -> tuple[float, float]:
    held = held_by(seat.rank, load(folder, d))
    engine = seam.start(links)
    return clocked(links, lambda: engine.open(sharing.add_own(held, d)))


def checked_sum(links: Links, seat: Seat, folder: Path, d: int) -> tuple[float, float]:
    held, bound = held_by(seat.rank, load(folder, d)), 1 << 22
    engine = seam.start(links)

    def work() -> None:
        found = checks.scan(held, d, bytes(32))
        accept = checks.accepted(engine, found, bound)
        assert all(accept)
        checks.sum_accepted(found, held, accept) + engine.zero(d)

    return clocked(links, work)


def hidden_sum(links: Links, seat: Seat, folder: Path, d: int) -> tuple[float, float]:
    held = held_by(seat.rank, load(folder, d))
    engine = seam.start(links)

    def work() -> None:
        failed = checks.too_long(engine, checks.scan(held, d, bytes(32)), 1 << 22)
        checks.zero_out(engine, held, failed, d)

    return clocked(links, work)


def median(links: Links, seat: Seat, folder: Path, d: int) -> tuple[float, float]:
    matrix = sharing.own_matrix(held_by(seat.rank, load(folder, d)), d)
    engine = seam.start(links)
    return clocked(links, lambda: robust.median(engine, matrix))


def load(folder: Path, d: int) -> list[sharing.Shares]:
    out = []
    for blob in sorted(folder.glob("*.blob")):
        secret = blob.with_suffix(".seeds").read_bytes()
        size = sharing.PLAINTEXT_BYTES
        first, second, third = (secret[at : at + size] for at in range(0, 3 * size, size))
        out.append(sharing.Shares(blob.read_bytes(), (first, second, third)))
    return out


def main() -> None:
    cases: list[tuple[str, Callable[..., Any], int, int]] = [
        ("sum, shares to hospitals", plain_sum, 5, 100_000),
        ("sum, opened on the links", opened_sum, 5, 100_000),
        ("checked sum", checked_sum, 5, 100_000),
        ("hidden zero-out", hidden_sum, 5, 100_000),
        ("median", median, 5, 10_000),
        ("checked sum", checked_sum, 10, 1_000_000),
        ("hidden zero-out", hidden_sum, 10, 1_000_000),
    ]
    for name, play, n, d in cases:
        if len(sys.argv) > 1 and sys.argv[1] not in name:
            continue
        with tempfile.TemporaryDirectory() as raw:
            folder = Path(raw)
            begin = time.perf_counter()
            shares = [sharing.share(u, 1) for u in vectors(n, d)]
            spent = (time.perf_counter() - begin) / n
            for i, s in enumerate(shares):
                (folder / f"{i:03}.blob").write_bytes(s.blob)
                (folder / f"{i:03}.seeds").write_bytes(b"".join(s.plaintexts))
            found = Committee(folder / "committee", Authority()).play(play, folder, d, timeout_s=60)
            wall, processor = max(f[0] for f in found), sum(f[1] for f in found) / 3
            print(
                f"{name} {d} x {n}: wall {1e3 * wall:.1f} ms, processor {1e3 * processor:.1f} ms a member; "
                f"a hospital shares in {1e3 * spent:.1f} ms and sends {len(shares[0].blob) + OVERHEAD} bytes",
                flush=True,
            )


if __name__ == "__main__":
    main()
