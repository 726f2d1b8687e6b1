"""Arithmetic on shares against Python's integers, and what a member sees while it is done."""

import numpy as np

from crypto.mpc import robust, seam
from crypto.mpc.links import Links
from tests.crypto.mpc.stand import Committee, Seat

M = 1 << 64
EDGES = [0, 1, -1, 2**62, -(2**62), 2**63 - 1, -(2**63), 12345, -98765]


def split(values, seed=1):
    """Additive shares of ``values``, one row a member, equal at all three processes."""
    rng = np.random.default_rng(seed)
    values = np.array([v % M for v in np.asarray(values, object).reshape(-1)], np.uint64)
    first, second = (rng.integers(0, M, values.size, dtype=np.uint64) for _ in range(2))
    return [first, second, values - first - second]


def arithmetic(links: Links, seat: Seat):
    engine = seam.start(links)
    x, y = split(EDGES, 1)[seat.rank], split(EDGES[::-1], 2)[seat.rank]
    negative = engine.negative(x)
    truth = split(range(4 * 7), 3)[seat.rank].reshape(4, 7) - split([13] * 28, 4)[seat.rank].reshape(4, 7)
    found = {
        "product": engine.open(engine.multiply(x, y)).tolist(),
        "negative": engine.open_bits(negative),
        "as number": engine.open(engine.to_arithmetic(negative)).tolist(),
        "any": engine.open_bits(engine.either(engine.negative(truth))),
        "zero": engine.open(engine.zero(5)).tolist(),
        "scalar": engine.zero_scalar(10**60 + 7),
        "replicated": [part.tolist() for part in engine.replicate(x)],
    }
    engine.close()
    return found


def test_products_signs_and_bits_are_exact(committee: Committee):
    found = committee.play(arithmetic)
    for member in found:
        assert member["product"] == [a * b % M for a, b in zip(EDGES, EDGES[::-1], strict=True)]
        assert member["negative"] == [v < 0 for v in EDGES]
        assert member["as number"] == [int(v < 0) for v in EDGES]
        assert member["any"] == [True, True, False, False]
        assert member["zero"] == [0] * 5
    assert sum(member["scalar"] for member in found) % (10**60 + 7) == 0
    assert all(member["scalar"] for member in found)
    own, following = ([member["replicated"][k] for member in found] for k in (0, 1))
    assert [sum(c) % M for c in zip(*own, strict=True)] == [v % M for v in EDGES]
    assert following == [own[1], own[2], own[0]]


def sorting(links: Links, seat: Seat, values):
    engine = seam.start(links)
    mine = split(values, 5)[seat.rank].reshape(values.shape)
    (median, two), (trimmed, kept) = robust.median(engine, mine), robust.trimmed_sum(engine, mine, 1)
    found = engine.open(median).view(np.int64) / two, engine.open(trimmed).view(np.int64) / kept
    engine.close()
    return found


def test_median_and_trimmed_mean_against_numpy(committee: Committee):
    for hospitals in (4, 5):
        values = np.random.default_rng(hospitals).integers(-(2**25), 2**25, (hospitals, 40))
        values[:, 0], values[1] = 7, values[0]  # ties
        for median, trimmed in committee.play(sorting, values):
            assert np.array_equal(median, np.median(values, axis=0))
            assert np.array_equal(trimmed, np.sort(values, axis=0)[1:-1].mean(axis=0))


def watching(links: Links, seat: Seat, x):
    """Squares ``x`` and opens the square; what came in, what went out, and this member's share of the square."""
    received, sent = [], []
    receive, send = links.receive, links.send

    def listen(peer, size=None):
        received.append(bytes(frame := receive(peer, size)))
        return frame

    def speak(peer, body):
        sent.append(bytes(body))
        send(peer, body)

    links.receive, links.send = listen, speak  # type: ignore[method-assign]
    engine = seam.start(links)
    mine = split([x], 6)[seat.rank]
    primitives = seam.load().crypten.mpc.primitives
    shared = primitives.ArithmeticSharedTensor.from_shares(seam.to_tensor(mine), precision=0)
    square = shared.square().share.numpy().view(np.uint64)
    opened = int(engine.open(square)[0])
    engine.close()
    words = [[int.from_bytes(f, "little") for f in frames if len(f) == 8] for frames in (received, sent)]
    return opened, *words, int(square[0])


def undo_square(known: int, square_share: int) -> int | None:
    """The stock protocol's z = x1^2 + 2·x1·x2 solved for x2, up to its top bit, where x1 is known and odd."""
    if known % 2 == 0:
        return None
    return (square_share - known * known) // 2 * pow(known, -1, M // 2) % (M // 2)


def test_the_attack_on_the_stock_square_works_on_the_stock_square():
    x1, x2 = 2**61 + 12345, 2**62 + 99
    assert undo_square(x1, (x1 * x1 + 2 * x1 * x2) % M) == x2


def test_a_square_gives_no_share_away(committee: Committee):
    x = 31415926535
    shares = [int(s[0]) for s in split([x], 6)]
    found = committee.play(watching, x)
    squares = [z for *_, z in found]
    for rank, (opened, received, sent, _) in enumerate(found):
        assert opened == x * x % M
        assert len(received) >= 3
        assert not {share for r, share in enumerate(shares) if r != rank} & set(
            received
        )  # none is sent as it is
        known = {shares[rank], *received, *sent}
        guesses = {undo_square(k, z) for k in known for z in squares} - {None}
        assert not {share % (M // 2) for share in shares} & guesses
        # nor the re-randomised ones: own, the neighbour's, and what the attack makes of the third add up to x
        assert all((a + b + c - x) % (M // 2) for a in known for b in known for c in guesses)


def test_twice_the_same_square_sends_different_bytes(committee: Committee):
    first, second = committee.play(watching, 5), committee.play(watching, 5)
    for (_, _, a, _), (_, _, b, _) in zip(first, second, strict=True):
        assert a
        assert not set(a) & set(b)
