"""Membership inference by the strongest attacker there is.

It knows every other patient, every state, and the share of the noise of the hospital that colludes, and weighs both
cases exactly. All that it lacks is whether one patient took part.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from analytics import registry
from analytics.privacy import noise_of, plan_of
from analytics.study import StudySpec
from analytics.table import Table
from crypto.privacy import discrete_gaussian
from tests.private import patients, private_spec

TRIALS = 400
SITES = "abc"


def with_target(table: Table) -> Table:
    """The one whose presence shows most: against the model's grain, at the ends of the ranges."""
    numbers = {"age": np.append(table.numbers["age"], 0.0), "bmi": np.append(table.numbers["bmi"], 80.0)}
    return Table(numbers, {"ill": np.append(table.codes["ill"], 1)}, table.n + 1)


def spec_of(epsilon: str) -> StudySpec:
    return private_spec("inference", sites=SITES, epsilon=epsilon, rounds=3, moments=False, hidden="3")


def flat(found: object) -> NDArray[np.float64]:
    return np.concatenate([np.ravel(np.asarray(v)) for v in found.values()]).astype(float)  # type: ignore[attr-defined]


def attack(spec: StudySpec, trials: int = TRIALS, *, noise: bool) -> list[tuple[bool, bool]]:
    """(took part, guess) for each training from the beginning; all but the target are the same."""
    rng, tables = np.random.default_rng(7), [patients(i, 20) for i in range(len(SITES))]
    sigma = noise_of(spec, "net").sigma
    outcomes = []
    for _ in range(trials):
        present = bool(rng.integers(2))
        state, evidence = registry.genesis(spec), 0.0
        while (analysis := registry.current(spec, state)) is not None:
            others = flat(analysis.local(tables[1], state)) + flat(analysis.local(tables[2], state))
            without = others + flat(analysis.local(tables[0], state))
            target = others + flat(analysis.local(with_target(tables[0]), state))
            # Two honest shares; the third hospital colludes and takes its own share off again.
            shares = (
                sum(discrete_gaussian(sigma, without.size) for _ in range(2))
                if noise
                else np.zeros(without.size)
            )
            seen = (target if present else without) + shares
            evidence += float(((seen - without) ** 2 - (seen - target) ** 2).sum())
            blocks = analysis.layout(spec, state).blocks
            d = blocks[0].size
            totals = {"gradient": seen[:d].astype(np.int64), "count": np.array(int(seen[d]))}
            state = registry.advance(spec, state, totals, len(SITES))
        outcomes.append((present, evidence > 0))
    return outcomes


def rates(outcomes: list[tuple[bool, bool]]) -> tuple[float, float, float]:
    """(accuracy, true positive rate, false positive rate)."""
    hits = [guess for present, guess in outcomes if present]
    alarms = [guess for present, guess in outcomes if not present]
    return (
        sum(p == g for p, g in outcomes) / len(outcomes),
        sum(hits) / len(hits),
        sum(alarms) / len(alarms),
    )


def test_without_noise_the_attacker_is_never_wrong() -> None:
    accuracy, _, _ = rates(attack(spec_of("1"), 60, noise=False))
    assert accuracy == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", ["1", "8"])
def test_with_noise_the_attacker_stays_within_the_promise(epsilon: str) -> None:
    spec = spec_of(epsilon)
    plan = plan_of(spec)
    assert plan is not None
    accuracy, hits, alarms = rates(attack(spec, noise=True))
    slack = 5 / math.sqrt(TRIALS)  # five deviations of a rate of half the trials, at most
    e = math.exp(float(plan.epsilon))
    assert hits <= e * alarms + 1e-6 + slack * (1 + e)
    # All rounds together are one Gaussian of this distance: an attacker who does better has found a leak.
    best = NormalDist().cdf(math.sqrt(2 * plan.total.rho / 1e9) / 2)
    assert accuracy <= best + slack / 2
    # And this one is the best: were the noise larger than was paid for, or the attack lame, it would show here.
    assert accuracy >= best - slack / 2 - 0.05
