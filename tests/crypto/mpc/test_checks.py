"""The bound on vectors that nobody sees: arithmetic offline, verdicts by a real committee."""

import numpy as np
import pytest

from consilium_errors import Misuse
from crypto.mpc import checks, robust, seam, sharing
from crypto.mpc.links import Links
from crypto.mpc.prg import Stream
from tests.crypto.mpc.stand import Committee, Seat

M = 1 << 64
SEED = bytes(range(32))


def held(vectors, rank: int) -> list[sharing.Held]:
    return [
        sharing.Held(rank, s.plaintexts[rank][:32], s.plaintexts[rank][32:64], 0, s.blob) for s in vectors
    ]


def projections(seed: bytes, d: int) -> np.ndarray:
    """The rows, read independently: two bits an entry, low first: 1 is +1, 3 is -1."""
    raw = Stream(seed).words(-(-10 * d // 8)).tobytes()[: 10 * d]
    pairs = [[b >> s & 3 for s in (0, 2, 4, 6)] for b in raw]
    return np.array([[0, 1, 0, -1][p] for group in pairs for p in group], object).reshape(d, 40)


@pytest.mark.parametrize("d", [1, 5, sharing.CHUNK, sharing.CHUNK + 3])
def test_norms_and_projections_are_exact_whatever_the_values(d):
    rng = np.random.default_rng(d)
    vectors = [rng.integers(-(2**63), 2**63 - 1, d, dtype=np.int64), rng.integers(-9, 9, d, dtype=np.int64)]
    shared = [sharing.share(u, 0) for u in vectors]
    found = [checks.scan(held(shared, rank), d, SEED) for rank in range(3)]
    norms, sums = sum(f.norms for f in found), sum(f.projections for f in found)
    rows = projections(SEED, d)
    for h, u in enumerate(vectors):
        exact = u.astype(object)
        assert int(norms[h]) == int((exact * exact).sum()) % M
        assert [int(p) for p in sums[h]] == [int(v) % M for v in exact @ rows]
    assert np.array_equal(sharing.reconstruct([f.total for f in found]), vectors[0] + vectors[1])


def test_rows_are_ternary_with_the_right_odds():
    rows = projections(SEED, 4000).astype(float)
    for value, odds in ((0, 0.5), (1, 0.25), (-1, 0.25)):
        assert abs((rows == value).mean() - odds) < 6 * np.sqrt(odds / rows.size)


B, D = 1 << 20, 600


def cases() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    direction = rng.normal(size=D)
    direction /= np.linalg.norm(direction)
    short = np.trunc(direction * B).astype(np.int64)
    wrapped, spread, sparse, pairs = short.copy(), short.copy(), np.zeros(D, np.int64), np.zeros(D, np.int64)
    wrapped[7] = 1 << 32  # 65536.0 on a grid of 2^16: its square is 0
    spread[:256] = 1 << 28  # squares of 2^56, 256 of them: 0
    sparse[3] = -(1 << 63)
    pairs[:4] = [1 << 62, -(1 << 62), 1 << 32, -(1 << 33)]
    # With the seed known beforehand: every projection far on one side, every square 0.
    rows = projections(SEED, D).sum(axis=1).astype(np.int64)
    edge = np.zeros(D, np.int64)
    edge[0] = B
    over = edge.copy()
    over[1] = 1
    return {
        "short": short,
        "at the bound": edge,
        "one above": over,
        "long": short * 3,
        "wrapped": wrapped,
        "wrapped together": spread,
        "half the ring": sparse,
        "wrapped pairs": pairs,
        "zero": np.zeros(D, np.int64),
        "all projections above": rows << 32,
        "all projections below": -(rows << 32),
    }


GOOD = {"short", "at the bound", "zero"}


def test_the_wrapped_vectors_would_pass_a_norm_alone():
    for name in ("wrapped", "wrapped together", "half the ring"):
        u = cases()[name].astype(object)
        assert int((u * u).sum()) % M <= B * B < int((u * u).sum())


def verdicts(links: Links, seat: Seat, shared):
    engine = seam.start(links)
    mine = held(shared, seat.rank)
    found = checks.scan(mine, D, SEED)
    seen: list[int] = []
    exchange = links.exchange
    links.exchange = lambda body, size=None: (seen.append(size), exchange(body, size))[1]  # type: ignore[method-assign]
    accept = checks.accepted(engine, found, B)
    links.exchange = exchange  # type: ignore[method-assign]
    failed = checks.too_long(engine, found, B)
    hidden = checks.zero_out(engine, mine, failed, D)
    open_sum = checks.sum_accepted(found, mine, accept)
    engine.close()
    return accept, seen, hidden, open_sum


def test_one_sided_cases_are_one_sided():
    rows = projections(SEED, D)
    for name, sign in (("all projections above", 1), ("all projections below", -1)):
        found = [(int(v) + (1 << 63)) % M - (1 << 63) for v in cases()[name].astype(object) @ rows]
        assert all(sign * v > 7 * B for v in found)


def test_verdicts_and_both_ways_to_leave_the_others_out(committee: Committee):
    vectors = cases()
    shared = [sharing.share(u, 0) for u in vectors.values()]
    found = committee.play(verdicts, shared)
    kept = sum(u for name, u in vectors.items() if name in GOOD)
    for accept, opened, _, _ in found:
        assert dict(zip(vectors, accept, strict=True)) == {name: name in GOOD for name in vectors}
        assert opened == [8 * len(vectors)]  # one word a vector was opened, and nothing else
    assert np.array_equal(sharing.reconstruct([f[2] for f in found]), kept)
    assert np.array_equal(sharing.reconstruct([f[3] for f in found]), kept)


def test_bounds_beyond_the_argument_are_refused():
    for bound, length in ((0, 5), (checks.MAX_BOUND + 1, 5), (5, (1 << 24) + 1)):
        with pytest.raises(Misuse) as e:
            checks.check_bound(bound, length)
        assert e.value.code == "mpc.bound"


@pytest.mark.parametrize("n", range(1, 11))
def test_the_network_sorts(n):
    """A network that sorts all sequences of 0 and 1 sorts everything (Knuth 5.3.4 Z)."""
    lines = np.array([[i >> k & 1 for i in range(1 << n)] for k in range(n)])
    for layer in robust.network(n):
        touched = [line for pair in layer for line in pair]
        assert len(touched) == len(set(touched))
        for i, j in layer:
            lines[i], lines[j] = np.minimum(lines[i], lines[j]), np.maximum(lines[i], lines[j])
    assert np.all(np.diff(lines, axis=0) >= 0)


def test_too_many_values_are_not_sorted():
    class Nothing:
        rank = 0

    with pytest.raises(Misuse) as e:
        robust.sort(Nothing(), np.zeros((5, robust.MAX_VALUES // 5 + 1), np.uint64))  # type: ignore[arg-type]
    assert e.value.code == "mpc.too_large"
