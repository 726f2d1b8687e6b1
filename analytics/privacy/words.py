"""The promise, its price and its cost in accuracy, in plain words for sponsors and hospitals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from analytics.privacy.accounting import agreed
from analytics.privacy.plan import Plan
from analytics.privacy.price import Price, cap, epsilon_at
from analytics.privacy.simulation import Loss


def promise(plan: Plan) -> list[str]:
    """What every patient is promised."""
    e = math.exp(float(plan.epsilon))
    best = (e + float(plan.delta)) / (1 + e)
    return [
        f"every patient is promised epsilon {plan.epsilon:f} at delta {plan.delta:f} for all results of this study "
        "together",
        "whoever knows everything but one patient, and sees every result, guesses from them whether that patient "
        f"took part with at most {_percent(best)} success, where a coin has 50 %",
    ]


def prices(plan: Plan) -> list[str]:
    """What is booked for each analysis."""
    lines = []
    for name, query in plan.queries.items():
        noise = plan.noises[name]
        rounds = "1 round" if query.rounds == 1 else f"{query.rounds} rounds"
        lines.append(
            f"{name}: {rounds} at rho {Decimal(noise.rho) / 10**9:f} each; noise multiplier {noise.multiplier:.2f} "
            f"from the shares of {noise.honest} honest hospitals"
        )
    together = epsilon_at(plan.total, plan.delta)
    return [*lines, f"all rounds together: epsilon {together} at delta {plan.delta:f}"]


def accuracy(losses: Sequence[Loss], rows: int) -> list[str]:
    """What the noise alone costs, on made-up patients."""
    lines = []
    for loss in losses:
        if loss.clean is not None and loss.noisy is not None:
            lines.append(
                f"{loss.name}: ranks {_percent(loss.noisy)} of pairs of patients rightly, without noise "
                f"{_percent(loss.clean)}"
            )
        elif loss.count is not None:
            means = "are lost" if loss.means is None else f"are off by {loss.means:.2g} standard deviations"
            lost = f"; {_percent(loss.spreads)} of the standard deviations are lost" if loss.spreads else ""
            lines.append(
                f"{loss.name}: the number of patients is off by {loss.count:.2g}, means {means}{lost}"
            )
    if not lines:
        return ["no accuracy was simulated: the study is too large for a few seconds"]
    return [
        f"on made-up patients, {rows} in each hospital, the noise alone costs:",
        *(f"  {x}" for x in lines),
    ]


def budget(plan: Plan, spent: Price, epsilon: Decimal, delta: Decimal) -> list[str]:
    """What this study takes of a hospital's own budget, and what remains.

    Args:
        spent: by this hospital so far, over all studies.
        epsilon, delta: the hospital's budget.
    """
    allowed, after = cap(epsilon, delta), spent + plan.total
    if not after.within(allowed):
        return [f"more than remains of your privacy budget of epsilon {epsilon:f} at delta {delta:f}"]
    left = 1 - after.rho / allowed.rho
    return [
        f"of your privacy budget, epsilon {epsilon:f} at delta {delta:f} over all studies and for good, "
        f"{agreed([(spent, 1)], delta)} is used and {agreed([(spent, 1), (plan.total, 1)], delta)} will be",
        f"{_percent(left)} of the budget remains (counted in rho, which adds up)",
    ]


def _percent(share: float) -> str:
    """Never rounded up to certainty."""
    shown = f"{100 * share:.1f}"
    return ("more than 99.9" if shown == "100.0" and share < 1 else shown.removesuffix(".0")) + " %"
