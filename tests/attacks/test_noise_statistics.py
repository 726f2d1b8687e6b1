"""The noise as it leaves the real pipeline: its variance, its tails, its grid, and that nothing repeats.

Every statistic has a p-value; an honest run fails one test in a million. Each is also shown noise that is wrong in one
way, and must see it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from analytics import layout as layouts
from analytics import registry
from analytics.privacy import noise_of
from analytics.state import StudyState
from analytics.study import StudySpec
from crypto.privacy import discrete_gaussian
from deploy.council import Council
from participants.bundles import openings
from tests.private import patients, private_spec

ALPHA = 1e-6
Noise = NDArray[np.float64]


def variance(noise: Noise, sigma: float) -> float:
    s = float(((noise / sigma) ** 2).sum())
    return 2 * min(stats.chi2.cdf(s, noise.size), stats.chi2.sf(s, noise.size))


def shape(noise: Noise, sigma: float) -> float:
    """Against the normal: at such deviations the discrete Gaussian differs by less than 1e-5 of it."""
    return float(stats.kstest(noise.ravel() / sigma, "norm").pvalue)


def tails(noise: Noise, sigma: float) -> float:
    far = int((np.abs(noise) > 3 * sigma).sum())
    return float(stats.binomtest(far, noise.size, 2 * stats.norm.sf(3)).pvalue)


def grid(noise: Noise, sigma: float) -> float:
    """The low four bits are uniform."""
    counts = np.bincount(noise.astype(np.int64).ravel() % 16, minlength=16)
    return float(stats.chisquare(counts).pvalue)


def repeats(noise: Noise, sigma: float) -> float:
    """Neighbours of a round, and the same coordinate of two rounds, are uncorrelated."""
    pairs = [(row[:-1], row[1:]) for row in noise] + [(noise[0], noise[1])]
    found = [float(stats.pearsonr(a, b).pvalue) for a, b in pairs]
    return min(1.0, min(found) * len(found))


TESTS = {"variance": variance, "shape": shape, "tails": tails, "grid": grid, "repeats": repeats}


@pytest.fixture(scope="module")
def drawn(quick_chain: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Noise, Noise, float]:
    """(noise, exact sums, deviation) of two rounds of four hospitals, by chain, cipher and commitments."""
    folder: Path = tmp_path_factory.mktemp("noise")
    folder.chmod(0o700)
    spec = private_spec("noise", moments=False, rounds=2, hidden="64, 64", epsilon="1")
    tables = {name: patients(i) for i, name in enumerate("abcd")}
    council = Council(folder, quick_chain, {n: (lambda _, t=t: t) for n, t in tables.items()})  # type: ignore[misc]
    try:
        study = council.register(spec)
        council.run(study, 4)
        store = council.seats["a"].hospital.store
        noise, exact = [], []
        for opening in openings(store, study):
            state = StudyState.from_bytes(opening.state_before)
            total = opened(spec, state, opening.sum)
            analysis = registry.current(spec, state)
            assert analysis is not None
            truth = sum(np.asarray(analysis.local(t, state)["gradient"]) for t in tables.values())
            exact.append(truth)
            noise.append(total - truth)
        return np.array(noise, dtype=float), np.array(exact, dtype=float), 2.0 * noise_of(spec, "net").sigma
    finally:
        council.close()


def opened(spec: StudySpec, state: StudyState, body: bytes) -> NDArray[np.int64]:
    analysis = registry.current(spec, state)
    assert analysis is not None
    layout = analysis.layout(spec, state)
    bits = layouts.value_bits(layout.fields, len(spec.sites))
    total = np.frombuffer(body, dtype="<u8").astype(np.uint64)
    return np.asarray(layout.decode(total, len(spec.sites), bits)["gradient"], dtype=np.int64)


@pytest.mark.slow
@pytest.mark.chain
@pytest.mark.parametrize("name", TESTS)
def test_the_pipelines_noise(drawn: tuple[Noise, Noise, float], name: str) -> None:
    noise, _, sigma = drawn
    assert noise.size == 2 * 4417
    assert TESTS[name](noise, sigma) > ALPHA


@pytest.mark.slow
@pytest.mark.chain
def test_the_noise_knows_nothing_of_the_sum(drawn: tuple[Noise, Noise, float]) -> None:
    noise, exact, _ = drawn
    assert stats.pearsonr(noise.ravel(), exact.ravel()).pvalue > ALPHA


def honest(sigma: int = 50_000) -> Noise:
    return np.array([discrete_gaussian(sigma, 3000) for _ in range(2)], dtype=float)


WRONG: dict[str, tuple[str, Callable[[Noise], Noise]]] = {
    "a fifth too small": ("variance", lambda x: 0.8 * x),
    "none": ("variance", np.zeros_like),
    "uniform of the right variance": (
        "shape",
        lambda x: np.random.default_rng(0).uniform(-1, 1, x.shape) * 50_000 * math.sqrt(3),
    ),
    "cut at three deviations": ("tails", lambda x: np.clip(x, -149_000, 149_000)),
    "on a coarser grid": ("grid", lambda x: 2 * np.round(x / 2)),
    "a round's noise again": ("repeats", lambda x: np.array([x[0], x[0]])),
    "a neighbour's noise again": ("repeats", lambda x: np.repeat(x[:, ::2], 2, axis=1)),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_noise_is_seen(fault: str) -> None:
    name, spoil = WRONG[fault]
    good = np.array([discrete_gaussian(50_000, 8000) for _ in range(2)], dtype=float)
    assert TESTS[name](good, 50_000.0) > ALPHA
    with np.errstate(all="ignore"):
        assert not TESTS[name](spoil(good), 50_000.0) > ALPHA


def test_small_noise_is_a_discrete_gaussian_integer_by_integer() -> None:
    sigma, n = 4, 40_000
    found = discrete_gaussian(sigma, n)
    k = np.arange(-14, 15)
    p = np.exp(-(k**2) / (2 * sigma**2))
    p /= np.exp(-(np.arange(-200, 201) ** 2) / (2 * sigma**2)).sum()
    counts = np.array([(found == v).sum() for v in k])
    rest = np.array([n - counts.sum()])
    expected = np.append(p, 1 - p.sum()) * n
    assert stats.chisquare(np.append(counts, rest), expected).pvalue > ALPHA


def test_two_draws_differ() -> None:
    a, b = (discrete_gaussian(10**6, 100) for _ in range(2))
    assert (a != b).any()
