"""The price of noise against Google's dp-accounting, OpenDP, and divergences computed by hand."""

from __future__ import annotations

import math
from decimal import Decimal

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from analytics.privacy import zcdp
from analytics.privacy.zcdp import RHO_UNITS

CASES = [(0.8, 1), (1.0, 1), (1.0, 20), (5.0, 20), (5.0, 200), (20.0, 1), (28.65, 40), (100.0, 1000)]
"""Multipliers of the Gaussian, and how often it is opened."""


@pytest.mark.parametrize(("multiplier", "rounds"), CASES)
def test_epsilon_is_dp_accountings(multiplier: float, rounds: int) -> None:
    event = dp_accounting.GaussianDpEvent(multiplier)
    rdp = RdpAccountant(orders=[1 + math.exp(t / 100) for t in range(-600, 900)])
    pld = PLDAccountant()
    rdp.compose(event, rounds)
    pld.compose(event, rounds)
    rho = math.ceil(rounds / (2 * multiplier**2) * RHO_UNITS)
    for delta in (1e-3, 1e-6, 1e-10):
        found = float(zcdp.epsilon_of(rho, Decimal(repr(delta))))
        assert found == pytest.approx(rdp.get_epsilon(delta), rel=1e-4, abs=1e-6)
        assert found > pld.get_epsilon(delta)  # the exact loss of the Gaussian: zCDP is never below it


@pytest.mark.parametrize("epsilon", ["0.1", "1", "8", "30"])
@pytest.mark.parametrize("delta", ["0.001", "0.000001"])
def test_rho_is_the_most_that_keeps_the_promise(epsilon: str, delta: str) -> None:
    e, d = Decimal(epsilon), Decimal(delta)
    rho = zcdp.rho_for(e, d)
    assert zcdp.epsilon_of(rho, d) <= e < zcdp.epsilon_of(rho + 1 + rho // 10**6, d)


def test_epsilon_is_opendps() -> None:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    made = dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64"), scale=10.0)
    assert made.map(7.0) * RHO_UNITS == pytest.approx(zcdp.rho_of(10, 1, 49, 1), abs=1.5)
    curve = dp.c.make_zCDP_to_approxDP(made).map(7.0)
    ours = float(zcdp.epsilon_of(zcdp.rho_of(10, 1, 49, 1), Decimal("0.000001")))
    assert curve.epsilon(1e-6) == pytest.approx(ours, rel=1e-3)


def pmf(sigma: float, reach: int) -> np.ndarray:
    k = np.arange(-reach, reach + 1)
    p = np.exp(-(k**2) / (2 * sigma**2))
    return p / p.sum()


@pytest.mark.parametrize(("sigma", "shares", "shift"), [(4, 2, 3), (4, 3, 1), (5, 2, 8)])
@pytest.mark.parametrize("order", [1.1, 2.0, 8.0])
def test_the_divergence_of_summed_shares_is_within_the_booked_rho(
    sigma: int, shares: int, shift: int, order: float
) -> None:
    """Rényi divergence of the true sum and its shift, by convolution."""
    one = pmf(sigma, 30 * sigma)
    whole = one
    for _ in range(shares - 1):
        whole = np.convolve(whole, one)
    p, q = whole[shift:], whole[:-shift]
    keep = (p > 1e-290) & (q > 1e-290)
    divergence = math.log(np.sum(np.exp(order * np.log(p[keep]) + (1 - order) * np.log(q[keep])))) / (
        order - 1
    )
    assert divergence <= order * zcdp.rho_of(sigma, shares, shift * shift, 1) / RHO_UNITS + 1e-9


def test_coarse_noise_pays_for_not_being_one_gaussian() -> None:
    """At sigma 1 the sum of shares is visibly none; at the least sigma that we allow the term is nothing."""
    assert float(zcdp.tau(1, 3)) == pytest.approx(
        10 * (math.exp(-(math.pi**2)) + math.exp(-4 / 3 * math.pi**2)), rel=1e-9
    )
    alone = math.ceil(RHO_UNITS * 0.5 / 2)
    assert zcdp.rho_of(1, 2, 1, 10_000) > alone
    assert zcdp.tau(zcdp.LEAST_SIGMA, 127) < Decimal("1e-65")


def test_sigma_is_the_least_that_pays() -> None:
    for rho in (10, 10**6, 10**9, 10**12):
        sigma = zcdp.sigma_for(rho, 2, 4 * 2**40, 5000)
        assert zcdp.rho_of(sigma, 2, 4 * 2**40, 5000) <= rho
        assert sigma == zcdp.LEAST_SIGMA or zcdp.rho_of(sigma - 1, 2, 4 * 2**40, 5000) > rho


def test_tails_are_booked() -> None:
    assert zcdp.tail_of(1) == 1
    exact = math.erfc((zcdp.TAIL - 0.25) / math.sqrt(2)) * 128 * 1e6 * (1 + math.exp(30))
    assert exact * 1e18 < zcdp.tail_of(10**6)


def test_the_callers_arithmetic_does_not_matter() -> None:
    """Another precision or rounding in the process would fork the study."""
    from decimal import ROUND_DOWN, localcontext

    def found() -> tuple[object, ...]:
        zcdp.epsilon_of.cache_clear()
        zcdp.rho_for.cache_clear()
        e, d = Decimal("1.5"), Decimal("0.000001")
        return zcdp.rho_for(e, d), zcdp.epsilon_of(12345, d), zcdp.rho_of(77, 3, 991, 5), zcdp.tail_of(9)

    expected = found()
    with localcontext() as context:
        context.prec, context.rounding = 6, ROUND_DOWN
        assert found() == expected
