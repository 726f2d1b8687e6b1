import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilium_errors import Hostile, Misuse
from crypto.commitments import Generators, Pedersen, Q, check_points, generators_needed, random_scalar
from crypto.commitments.arkworks import Arkworks
from tests.crypto.commitments.curve_reference import P

SLOTS = {22: 11, 44: 5}


def fields(values):
    return np.array(values, np.uint64)


def random_fields(rng, length, bits):
    return rng.integers(0, 1 << bits, length, dtype=np.uint64)


def hostile(call, *args):
    with pytest.raises(Hostile) as error:
        call(*args)
    return error.value.code


def misuse(call, *args):
    with pytest.raises(Misuse) as error:
        call(*args)
    return error.value.code


def negated(commitment):
    """-C: the other y has the other sign flag."""
    return bytes([commitment[0] ^ 0x20]) + commitment[1:]


class Round:
    """Honest hospitals with inputs, randomness and commitments."""

    def __init__(self, pedersen, parties=4, seed=0):
        rng = np.random.default_rng(seed)
        bits = pedersen.slot_bits - (parties - 1).bit_length()
        self.u = [random_fields(rng, pedersen.length, bits) for _ in range(parties)]
        self.r = [random_scalar() for _ in range(parties)]
        self.commitments = [pedersen.commit(u, r) for u, r in zip(self.u, self.r, strict=True)]
        self.X = sum(self.u, np.zeros(pedersen.length, np.uint64))
        self.R = sum(self.r) % Q


@pytest.fixture(scope="module", params=[22, 44])
def pedersen(request, generators):
    return Pedersen(100, request.param, generators)


@pytest.fixture(scope="module")
def round_(pedersen):
    return Round(pedersen)


def test_vectors(vectors, generators, library):
    for case in vectors("commitments"):
        u = fields(case["u"])
        pedersen = Pedersen(len(u), case["slot_bits"], generators, using=library)
        assert pedersen.commit(u, int(case["r"], 16)).hex() == case["commitment"]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([22, 44]), st.integers(1, 60), st.integers(0, 2**32))
def test_scalars_hold_the_fields_lowest_first(generators, bits, length, seed):
    """The layout in Python integers, put together by the other library."""
    u, r = random_fields(np.random.default_rng(seed), length, bits), random_scalar()
    rows, width = -(-length // SLOTS[bits]), (SLOTS[bits] * bits + 7) // 8
    packed = [
        sum(int(v) << (bits * j) for j, v in enumerate(u[k * SLOTS[bits] : (k + 1) * SLOTS[bits]]))
        for k in range(rows)
    ]
    scalars = np.frombuffer(b"".join(s.to_bytes(width, "little") for s in packed), np.uint8).reshape(
        rows, width
    )
    basis = Arkworks().basis(generators.points[:rows], generators.blinder)
    assert Pedersen(length, bits, generators).commit(u, r) == basis.combine(scalars, SLOTS[bits] * bits, r)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([22, 44]), st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**32))
def test_honest_sums_verify(generators, bits, length, parties, seed):
    pedersen = Pedersen(length, bits, generators)
    honest = Round(pedersen, parties, seed)
    pedersen.verify_sum(honest.X, honest.R, honest.commitments)


@pytest.mark.parametrize("bits", [22, 44])
@pytest.mark.parametrize("parties", [3, 32, 128])
def test_every_field_at_its_bound(generators, bits, parties):
    pedersen = Pedersen(23, bits, generators)
    top = (1 << bits - (parties - 1).bit_length()) - 1
    u = np.full(23, top, np.uint64)
    r = [random_scalar() for _ in range(parties)]
    commitments = [pedersen.commit(u, x) for x in r]
    pedersen.verify_sum(u * np.uint64(parties), sum(r) % Q, commitments)
    wrong = u * np.uint64(parties)
    wrong[-1] -= np.uint64(1)
    assert hostile(pedersen.verify_sum, wrong, sum(r) % Q, commitments) == "commitment.mismatch"


def test_equal_inputs_do_not_show(pedersen, round_):
    assert pedersen.commit(round_.u[0], random_scalar()) != round_.commitments[0]


# Attacks on the sum -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.integers(1, 2**22 - 1))
def test_any_altered_total(pedersen, round_, position, change):
    X = round_.X.copy()
    X[position] ^= np.uint64(change)
    assert hostile(pedersen.verify_sum, X, round_.R, round_.commitments) == "commitment.mismatch"


def test_values_moved_between_fields(pedersen, round_):
    assert round_.X[0] != round_.X[1]
    X = round_.X.copy()
    X[[0, 1]] = X[[1, 0]]
    assert hostile(pedersen.verify_sum, X, round_.R, round_.commitments) == "commitment.mismatch"


def test_other_randomness(pedersen, round_):
    for R in (0, (round_.R + 1) % Q, Q - round_.R):
        assert hostile(pedersen.verify_sum, round_.X, R, round_.commitments) == "commitment.mismatch"


def test_hospitals_dropped_added_or_swapped(pedersen, round_):
    other = pedersen.commit(round_.u[0], random_scalar())
    for commitments in (
        round_.commitments[1:],
        [*round_.commitments, other],
        [other, *round_.commitments[1:]],
        [negated(round_.commitments[0]), *round_.commitments[1:]],
    ):
        assert hostile(pedersen.verify_sum, round_.X, round_.R, commitments) == "commitment.mismatch"
    pedersen.verify_sum(round_.X, round_.R, round_.commitments[::-1])  # their order is bound elsewhere


@pytest.mark.parametrize("bits", [22, 44])
def test_an_overflowing_sum_is_not_carried(generators, bits):
    """Without guard bits a carry would open as another vector: this is why totals are bounded twice."""
    pedersen = Pedersen(3, bits, generators)
    half, r = fields([1 << (bits - 1), 0, 0]), [random_scalar(), random_scalar()]
    commitments = [pedersen.commit(half, x) for x in r]
    true_total, carried, R = fields([1 << bits, 0, 0]), fields([0, 1, 0]), sum(r) % Q
    assert hostile(pedersen.verify_sum, true_total, R, commitments) == "commitment.out_of_range"
    pedersen.verify_sum(carried, R, commitments)  # the algebra alone cannot tell


def test_the_cancelling_commitment(pedersen, round_):
    """A late poster cancels hospital 0: algebra takes its y, what the round opens does not pass."""
    y, s = round_.u[1], random_scalar()
    target = pedersen.commit(y, s)
    honest = round_.commitments[0]
    cancelling = pedersen.curve.add([target, negated(honest)])
    pedersen.verify_sum(y, s, [honest, cancelling])  # the attack is real for one who may choose X and R

    # In the round, X and R are sums with hospital 0's unknown input and randomness in them.
    X, R = round_.u[0] + y, (round_.r[0] + s) % Q
    assert hostile(pedersen.verify_sum, X, R, [honest, cancelling]) == "commitment.mismatch"
    # Uploading zeros does not help.
    assert (
        hostile(pedersen.verify_sum, round_.u[0], round_.r[0], [honest, cancelling]) == "commitment.mismatch"
    )
    # Nor does cancelling without a target of one's own.
    assert hostile(pedersen.verify_sum, X, R, [honest, negated(honest)]) == "commitment.mismatch"


def test_the_copied_commitment(pedersen, round_):
    first = round_.commitments[0]
    assert hostile(check_points, [first, round_.commitments[1], first]) == "commitment.duplicate"
    X, R = round_.u[0] * np.uint64(2), round_.r[0] * 2 % Q
    assert hostile(pedersen.verify_sum, X, R, [first, first]) == "commitment.duplicate"


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        bytes(48),
        b"\xc0" + bytes(47),
        b"\x80" + bytes(47),
        (P | 1 << 383).to_bytes(48, "big"),
        b"\xff" * 48,
    ],
    ids=["empty", "zeros", "neutral", "outside the subgroup", "x is p", "ones"],
)
def test_bad_points(pedersen, round_, bad):
    commitments = [*round_.commitments[:-1], bad]
    assert hostile(pedersen.verify_sum, round_.X, round_.R, commitments) == "commitment.point"
    assert hostile(check_points, commitments) == "commitment.point"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 383))
def test_altered_commitments(pedersen, round_, bit):
    altered = (int.from_bytes(round_.commitments[0], "big") ^ 1 << bit).to_bytes(48, "big")
    code = hostile(pedersen.verify_sum, round_.X, round_.R, [altered, *round_.commitments[1:]])
    assert code in {"commitment.point", "commitment.mismatch"}


# The caller's mistakes --------------------------------------------------------------------------------


def test_what_cannot_be_committed_to(pedersen, round_):
    u, r = round_.u[0], random_scalar()
    big = u.copy()
    big[50] = 1 << pedersen.slot_bits
    assert misuse(pedersen.commit, big, r) == "commitment.out_of_range"
    big[50] = 2**64 - 1
    assert misuse(pedersen.commit, big, r) == "commitment.out_of_range"
    for wrong in (u[:-1], u.astype(np.int64), u.astype(np.float64), u.reshape(10, 10), u.tolist(), u[:0]):
        assert misuse(pedersen.commit, wrong, r) == "commitment.shape"
    for randomness in (0, -1, Q, Q + 1):
        assert misuse(pedersen.commit, u, randomness) == "commitment.randomness"


def test_what_cannot_be_verified(pedersen, round_):
    assert misuse(pedersen.verify_sum, round_.X[:-1], round_.R, round_.commitments) == "commitment.shape"
    assert misuse(pedersen.verify_sum, round_.X, round_.R + Q, round_.commitments) == "commitment.randomness"
    assert misuse(pedersen.verify_sum, round_.X, -1, round_.commitments) == "commitment.randomness"
    assert misuse(pedersen.verify_sum, round_.X, round_.R, []) == "commitment.none"


def test_sizes(generators):
    assert [generators_needed(n, 22) for n in (1, 11, 12, 1_000_000)] == [1, 1, 2, 90_910]
    assert [generators_needed(n, 44) for n in (1, 5, 6, 1_000_000)] == [1, 1, 2, 200_000]
    assert misuse(generators_needed, 0, 22) == "commitment.length"
    assert misuse(generators_needed, 5, 32) == "commitment.slot_bits"
    assert misuse(Pedersen, len(generators.points) * 11 + 1, 22, generators) == "commitment.generators"
    Pedersen(len(generators.points) * 11, 22, generators)


def test_randomness_is_fresh_and_in_range():
    drawn = [random_scalar() for _ in range(1000)]
    assert len(set(drawn)) == 1000
    assert all(0 < r < Q for r in drawn)
    assert max(drawn).bit_length() == 255


def test_strided_views_commit_alike(pedersen, round_):
    wide = np.zeros((100, 2), np.uint64)
    wide[:, 0] = round_.u[0]
    assert pedersen.commit(wide[:, 0], round_.r[0]) == round_.commitments[0]


@pytest.mark.slow
def test_a_million_fields(cache):
    pedersen = Pedersen(1_000_000, 22, Generators.load(generators_needed(1_000_000, 22), cache))
    honest = Round(pedersen, 3)
    pedersen.verify_sum(honest.X, honest.R, honest.commitments)
    honest.X[777_777] ^= np.uint64(1)
    assert hostile(pedersen.verify_sum, honest.X, honest.R, honest.commitments) == "commitment.mismatch"
