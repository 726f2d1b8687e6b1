from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import fixed
from consilium_errors import Misuse


def spd(p: int, seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(p + 3, p))
    return a.T @ a + 0.1 * np.eye(p)


@pytest.mark.parametrize("p", [1, 2, 5, 31])
def test_cholesky_and_solves_agree_with_lapack(p: int) -> None:
    a = spd(p, p)
    b = np.arange(1.0, p + 1)
    assert np.allclose(fixed.cholesky(a.tolist())[-1], np.linalg.cholesky(a)[-1], rtol=1e-10)
    assert np.allclose(fixed.solve_spd(a.tolist(), b.tolist()), np.linalg.solve(a, b), rtol=1e-9)
    assert np.allclose(fixed.inverse_spd(a.tolist()), np.linalg.inv(a), rtol=1e-8, atol=1e-12)


def test_the_order_of_a_dot_product_is_from_left_to_right() -> None:
    assert fixed.dot([1e16, 1.0, -1e16], [1.0, 1.0, 1.0]) == 0.0
    assert fixed.total([1e16, -1e16, 1.0]) == 1.0


def test_singular_matrices_are_named_not_solved() -> None:
    a = spd(4, 0)
    a[3], a[:, 3] = a[1], a[:, 1]
    a[3, 3] = a[1, 1]
    with pytest.raises(fixed.NotPositiveDefiniteError) as caught:
        fixed.solve_spd(a.tolist(), [1.0] * 4)
    assert caught.value.index == 3
    for bad in ([[1.0, 1.0], [1.0, 1.0 + 1e-14]], [[0.0]], [[-1.0]], [[math.nan]], [[math.inf]]):
        with pytest.raises(fixed.NotPositiveDefiniteError):
            fixed.cholesky(bad)


@given(st.floats(-1e6, 1e6), st.integers(0, 60))
def test_the_grid_is_within_half_a_step_and_stable(x: float, bits: int) -> None:
    i = fixed.to_grid(x, bits)
    assert abs(Fraction(i, 2**bits) - Fraction(x)) <= Fraction(1, 2 ** (bits + 1))
    assert fixed.to_grid(fixed.from_grid(i, bits), bits) == i or abs(i) > 2**53


@given(st.integers(-(2**120), 2**120), st.integers(0, 60))
def test_big_integers_come_back_correctly_rounded(i: int, bits: int) -> None:
    assert fixed.from_grid(i, bits) == float(Fraction(i, 2**bits))


@pytest.mark.parametrize("x", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_never_enters_the_state(x: float) -> None:
    with pytest.raises(Misuse) as caught:
        fixed.to_grid(x, 10)
    assert caught.value.code == "fixed.not_finite"
