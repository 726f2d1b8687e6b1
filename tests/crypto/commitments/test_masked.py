"""Openings under masks: right ones pass, false ones are charged to whoever made them, and none shows anything."""

import itertools
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilium_errors import Error, Hostile
from crypto.commitments import Pedersen, Q, masked, random_scalar, scalars
from crypto.commitments.masked import MaskedOpening
from tests.crypto.commitments.test_scalars import drawn

PARTIES = 4


def key(i, j):
    return sha256(f"pair {min(i, j)} {max(i, j)}".encode()).digest()


class Set:
    def __init__(self, pedersen, seed=0):
        rng = np.random.default_rng(seed)
        top = 1 << (pedersen.slot_bits - 2)
        self.pedersen = pedersen
        self.u = [rng.integers(0, top, pedersen.length).astype(np.uint64) for _ in range(PARTIES)]
        self.r = [random_scalar() for _ in range(PARTIES)]
        self.c = [pedersen.commit(u, r) for u, r in zip(self.u, self.r, strict=True)]
        self.openings = [
            masked.mask(pedersen, pedersen.scalars(u), r, self.pairs(i))
            for i, (u, r) in enumerate(zip(self.u, self.r, strict=True))
        ]

    @staticmethod
    def pairs(i):
        return [(key(i, j), i < j) for j in range(PARTIES) if j != i]

    def verify(self, i, opening=None):
        adds = [plus for _, plus in self.pairs(i)]
        masked.verify(self.pedersen, opening or self.openings[i], self.c[i], adds)


@pytest.fixture(scope="module", params=[(22, 100), (44, 13)], ids=["22", "44"])
def whole(request, generators):
    slot_bits, length = request.param
    return Set(Pedersen(length, slot_bits, generators))


def test_openings_are_checked_alone_and_add_up_to_the_sum(whole):
    for i in range(PARTIES):
        whole.verify(i)
    for i, j in itertools.combinations(range(PARTIES), 2):
        mine, theirs = (whole.openings[a].points[b - (b > a)] for a, b in ((i, j), (j, i)))
        assert mine == theirs
    values, blind = masked.total(whole.openings)
    total, beyond = whole.pedersen.fields(values)
    np.testing.assert_array_equal(total, sum(whole.u, np.zeros_like(whole.u[0])))
    assert not beyond.any()
    assert blind == sum(whole.r) % Q
    whole.pedersen.verify_sum(total, blind, whole.c)


def test_the_masks_are_what_is_written(whole):
    """Python integers, pair by pair."""
    pedersen = whole.pedersen
    for i, opening in enumerate(whole.openings):
        expected, blind = scalars.to_ints(pedersen.scalars(whole.u[i])), whole.r[i]
        for j in range(PARTIES):
            if j != i:
                *masks, last = drawn(key(i, j), pedersen.rows + 1)
                sign = 1 if i < j else -1
                expected = [e + sign * m for e, m in zip(expected, masks, strict=True)]
                blind += sign * last
        assert scalars.to_ints(opening.values) == [e % Q for e in expected]
        assert opening.blind == blind % Q


def test_both_libraries_give_the_same_opening(generators, library):
    whole = Set(Pedersen(30, 22, generators, using=library), seed=3)
    again = Pedersen(30, 22, generators)
    for i, opening in enumerate(whole.openings):
        same = masked.mask(again, again.scalars(whole.u[i]), whole.r[i], Set.pairs(i))
        assert same.to_bytes() == opening.to_bytes()
        whole.verify(i)


def bumped(opening, row):
    one = scalars.from_ints([int(k == row) for k in range(len(opening.values))])
    return replace(opening, values=scalars.add(opening.values, one))


@pytest.mark.parametrize("lie", ["value", "last value", "randomness", "point", "points turned", "nothing"])
def test_a_false_opening_fails_by_its_own_words(whole, lie):
    good, other = whole.openings[1], whole.openings[2]
    altered = {
        "value": lambda: bumped(good, 0),
        "last value": lambda: bumped(good, len(good.values) - 1),
        "randomness": lambda: replace(good, blind=(good.blind + 1) % Q),
        "point": lambda: replace(good, points=(other.points[2], *good.points[1:])),
        "points turned": lambda: replace(good, points=good.points[::-1]),
        "nothing": lambda: replace(good, values=np.zeros_like(good.values), blind=0),
    }
    with pytest.raises(Hostile):
        whole.verify(1, altered[lie]())


def test_a_lie_that_fits_its_own_equation_contradicts_a_peer(whole):
    """Values shifted, and the point of one pair with them: what is left to a liar."""
    good, pedersen = whole.openings[0], whole.pedersen
    lie = bumped(good, 0)
    point = pedersen.curve.weighted([good.points[1], pedersen.base], [1, 1])
    lie = replace(lie, points=(good.points[0], point, good.points[2]))
    whole.verify(0, lie)
    assert lie.points[1] != whole.openings[2].points[0]


def test_the_same_masks_under_another_input_show_the_same(whole):
    """The proof of hiding, played: two inputs exchanged between two parties, masks moved along, all else alike."""
    pedersen = whole.pedersen
    i, j = 1, 2
    drawn_pair = scalars.uniform(key(i, j), pedersen.rows + 1)
    swapped = [whole.u[j], whole.u[i]]
    differences = scalars.subtract(pedersen.scalars(whole.u[i]), pedersen.scalars(whole.u[j]))
    moved = scalars.add(drawn_pair[:-1], differences)  # i adds: u_j + (M + u_i - u_j) = u_i + M
    rest = {p: scalars.uniform(key(*p), pedersen.rows + 1)[:-1] for p in itertools.combinations(range(4), 2)}
    rest[i, j] = moved
    for party, u in zip((i, j), swapped, strict=True):
        w = pedersen.scalars(u)
        for (low, high), m in rest.items():
            if party in (low, high):
                w = scalars.add(w, m) if party == low else scalars.subtract(w, m)
        assert np.array_equal(w, whole.openings[party].values)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_bytes_from_outside_parse_or_are_refused(whole, data):
    good = bytearray(whole.openings[0].to_bytes())
    rows, peers = whole.pedersen.rows, PARTIES - 1
    match data.draw(st.sampled_from(["flip", "cut", "grow", "any"])):
        case "flip":
            for bit in data.draw(
                st.lists(st.integers(0, 8 * len(good) - 1), min_size=1, max_size=3, unique=True)
            ):
                good[bit // 8] ^= 1 << bit % 8
        case "cut":
            del good[data.draw(st.integers(0, len(good) - 1)) :]
        case "grow":
            good += data.draw(st.binary(min_size=1, max_size=40))
        case "any":
            good = bytearray(data.draw(st.binary(max_size=masked.size(rows, peers))))

    def read():
        opening = MaskedOpening.from_bytes(bytes(good), rows, peers)
        assert opening.to_bytes() == bytes(good)
        whole.verify(0, opening)

    with pytest.raises(Error) as caught:
        read()
    assert caught.value.code in (
        "masked.length",
        "scalars.range",
        "commitment.point",
        "commitment.mismatch",
    )
