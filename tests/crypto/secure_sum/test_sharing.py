from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilium_errors import Hostile, Misuse
from crypto.commitments import Q
from crypto.secure_sum import sharing


def source(seed: bytes = b"") -> Callable[[int], bytes]:
    counter = itertools.count()
    return lambda size: hashlib.shake_256(seed + next(counter).to_bytes(4, "big")).digest(size)


def test_any_threshold_of_holders_recovers_and_one_fewer_does_not() -> None:
    random = source()
    secret = sharing.random_secret(random)
    dealt = sharing.deal(secret, 5, 3, random)
    for holders in itertools.combinations(range(1, 6), 3):
        assert sharing.recover({j: dealt.pieces[j - 1] for j in holders}, 3) == secret
    for holders in itertools.combinations(range(1, 6), 2):
        pieces = {j: dealt.pieces[j - 1] for j in holders}
        with pytest.raises(Hostile, match="too few"):
            sharing.recover(pieces, 3)
        assert sharing.recover(pieces, 2) != secret


def test_what_a_smaller_coalition_holds_fits_every_secret() -> None:
    random = source()
    dealt = sharing.deal(sharing.random_secret(random), 4, 3, random)
    s1, s2 = (int.from_bytes(piece[:32], "big") for piece in dealt.pieces[:2])
    for other in (1, 5, Q - 1):  # f(x) = other + a x + c x^2 with f(1) = s1, f(2) = s2 has a solution
        c = (s2 - 2 * s1 + other) * pow(2, -1, Q) % Q
        a = (s1 - other - c) % Q
        assert (other + a + c) % Q == s1
        assert (other + 2 * a + 4 * c) % Q == s2


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 128), st.data())
def test_a_piece_is_good_for_its_holder_only_and_unaltered(parties: int, data: st.DataObject) -> None:
    random = source()
    dealt = sharing.deal(sharing.random_secret(random), parties, parties - 1, random)
    holder = data.draw(st.integers(1, parties))
    piece = dealt.pieces[holder - 1]
    sharing.check_piece(piece, holder, parties, dealt.root)
    at = data.draw(st.integers(0, len(piece) - 1))
    altered = piece[:at] + bytes([piece[at] ^ 1 << data.draw(st.integers(0, 7))]) + piece[at + 1 :]
    for wrong, place in (
        (altered, holder),
        (piece, holder % parties + 1),
        (piece[:-1], holder),
        (b"", holder),
    ):
        with pytest.raises(Hostile):
            sharing.check_piece(wrong, place, parties, dealt.root)


@pytest.mark.parametrize("share", [b"", bytes(31), Q.to_bytes(32, "big"), b"\xff" * 32])
def test_what_is_no_scalar_is_no_share(share: bytes) -> None:
    dealt = sharing.deal(sharing.random_secret(source()), 3, 2, source())
    with pytest.raises(Hostile):
        sharing.check_piece(share + dealt.pieces[0][32:], 1, 3, dealt.root)


@pytest.mark.parametrize(
    ("parties", "collusion", "expected"),
    [(3, 0, 2), (3, 1, 2), (4, 1, 3), (5, 3, 4), (10, 3, 7), (128, 1, 127), (128, 100, 101)],
)
def test_the_threshold_is_a_seals_quorum_above_the_collusion(
    parties: int, collusion: int, expected: int
) -> None:
    assert sharing.threshold_for(parties, collusion) == expected


@pytest.mark.parametrize(("parties", "collusion"), [(3, 2), (2, 0), (1, 0), (129, 1)])
def test_no_threshold_is_left(parties: int, collusion: int) -> None:
    with pytest.raises(Misuse):
        sharing.threshold_for(parties, collusion)
