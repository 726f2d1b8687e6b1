from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from analytics.tails import Z_95, band, chi2_sf
from consilium_errors import Misuse


@given(st.floats(0, 1400), st.integers(1, 40))
def test_chi_squared_is_that_of_scipy(x: float, df: int) -> None:
    assert chi2_sf(x, df) == pytest.approx(chi2.sf(x, df), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("x", [59.999999, 60.0, 60.000001, 1e4, 1e300])
def test_the_two_branches_meet_and_the_far_tail_vanishes(x: float) -> None:
    assert chi2_sf(x, 1) == pytest.approx(math.erfc(math.sqrt(x / 2)), rel=1e-13)


@pytest.mark.parametrize(("x", "df"), [(-1.0, 1), (math.nan, 1), (math.inf, 1), (1.0, 0)])
def test_nonsense_is_refused(x: float, df: int) -> None:
    with pytest.raises(Misuse):
        chi2_sf(x, df)


@given(st.floats(0.001, 0.999), st.floats(1e-6, 1.0))
def test_the_band_is_the_log_log_interval(survival: float, variance: float) -> None:
    width = norm.ppf(0.975) * math.sqrt(variance) / math.log(survival)
    assume(abs(width) < 700)  # beyond, the reference overflows; Greenwood's variance keeps it near 2
    low, high = band(survival, variance)
    assert low == pytest.approx(survival ** math.exp(-width), abs=1e-12)
    assert high == pytest.approx(survival ** math.exp(width), abs=1e-12)
    assert 0 <= low <= survival <= high <= 1


def test_the_quantile() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-15) == Z_95
    assert band(1.0, 0.0) == (1.0, 1.0)
    assert band(0.0, 0.0) == (0.0, 0.0)
