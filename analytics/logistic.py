"""Ridge logistic regression by iteratively reweighted least squares, one secure sum per step.

Maximises  loglik(b) - ridge/2 * |b|^2  without penalty on the intercept (the criterion of scikit-learn's
LogisticRegression with C = 1/ridge). Each round sums, at the trial coefficients: X'WX (upper triangle),
X'(y-p), the deviance and n. The move is a Newton step by fixed-order Cholesky; a trial that is worse than the
last accepted coefficients is halved back towards them. Converged when the Newton decrement g'H^-1 g < 1e-9
(Boyd and Vandenberghe, section 9.5); that last step is still taken, which squares the remaining error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.design import Design, design, width
from analytics.fixed import NotPositiveDefiniteError, dot, from_grid, inverse_spd, solve_spd, to_grid
from analytics.layout import Block, Integers, Layout
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.study_analyses import LogisticEntry
from analytics.table import Table
from consilium_errors import Refused

FRACTION_BITS = 28
BETA_BITS = 40
DECREMENT = 1e-9
SEPARATION = 15.0
MAX_HALVINGS = 10
_MAX_BETA = float(1 << 20)  # far beyond any estimate, well within the grid

RUNNING, CONVERGED, SINGULAR, ROUND_CAP, DIVERGED = range(5)
STATUS = ("running", "converged", "singular", "round cap", "diverged")


@dataclass(frozen=True)
class Logistic:
    """The analysis `logistic`; coefficients are ordered intercept first, then the design's columns."""

    spec: StudySpec
    entry: LogisticEntry

    @property
    def name(self) -> str:
        return self.entry.id

    @property
    def kind(self) -> str:
        return self.entry.kind

    @cached_property
    def ridge(self) -> float:
        return float(self.entry.ridge)

    @cached_property
    def p(self) -> int:
        """Number of coefficients with the intercept."""
        return 1 + width(self.spec, self.entry.terms)

    def _key(self, part: str) -> str:
        return f"{self.name}.{part}"

    def begin(self, state: StudyState) -> StudyState:
        zeros = np.zeros(self.p, dtype=np.int64)
        for part in ("beta", "trial"):
            state = state.with_(self._key(part), zeros, BETA_BITS)
        return state.with_(self._key("status"), RUNNING).with_(self._key("halvings"), 0)

    def design(self, state: StudyState) -> Design:
        return design(self.spec, state, self.entry.terms, self.entry.standardise)

    def layout(self, spec: StudySpec, state: StudyState) -> Layout:
        reach = [1.0, *(column.reach for column in self.design(state).columns)]
        widest, cap = max(reach), float(spec.row_cap)
        trial = state.floats(self._key("trial"))
        # -2 log p <= 2 log 2 + 2 |eta|, and |eta| <= sum of |beta_j| reach_j
        deviance = cap * (2.0 + 2.0 * dot([abs(b) for b in trial], reach)) * (1 + 1e-9)
        return Layout(
            (
                Block("n", (), spec.row_cap, signed=False),
                Block.real("deviance", (), deviance, FRACTION_BITS, signed=False),
                Block.real("gradient", (self.p,), cap * widest * (1 + 1e-9), FRACTION_BITS),
                Block.real(
                    "information",
                    (self.p * (self.p + 1) // 2,),
                    0.25 * cap * widest * widest * (1 + 1e-9),
                    FRACTION_BITS,
                ),
            )
        )

    def local(self, table: Table, state: StudyState) -> Mapping[str, ArrayLike]:
        X = np.column_stack([np.ones(table.n), self.design(state).matrix(table)])
        y = table.code(self.entry.outcome).astype(np.float64)
        eta = X @ np.array(state.floats(self._key("trial")))
        prob = sigmoid(eta)
        weight = prob * (1.0 - prob)
        return {
            "n": table.n,
            "deviance": float(2.0 * np.sum(np.logaddexp(0.0, (1.0 - 2.0 * y) * eta))),
            "gradient": X.T @ (y - prob),
            "information": (X.T @ (weight[:, None] * X))[np.triu_indices(self.p)],
        }

    # the move -----------------------------------------------------------------------------------------

    def move(self, totals: Mapping[str, Integers], parties: int, state: StudyState) -> StudyState:
        last = state.position.round + 1 >= self.entry.max_rounds
        if self._fell(int(totals["deviance"]), parties, state):
            return self._end(state, ROUND_CAP) if last else self._halve(state)
        state = (
            state.with_(self._key("beta"), state[self._key("trial")], BETA_BITS)
            .with_(self._key("n"), totals["n"])
            .with_(self._key("halvings"), 0)
            .with_wide(self._key("deviance"), [int(totals["deviance"])], FRACTION_BITS)
            .with_wide(self._key("information"), totals["information"].tolist(), FRACTION_BITS)
        )
        return self._newton([from_grid(g, FRACTION_BITS) for g in totals["gradient"].tolist()], last, state)

    def _newton(self, score: list[float], last: bool, state: StudyState) -> StudyState:
        beta = state.floats(self._key("beta"))
        gradient = [g - lam * b for g, lam, b in zip(score, self._penalty, beta, strict=True)]
        try:
            step = solve_spd(self._hessian(state), gradient)
        except NotPositiveDefiniteError:
            return self._end(state, SINGULAR)
        trial = [b + s for b, s in zip(beta, step, strict=True)]
        if not all(abs(b) < _MAX_BETA for b in trial):
            return self._end(state, DIVERGED)
        state = state.with_(self._key("trial"), [to_grid(b, BETA_BITS) for b in trial], BETA_BITS)
        if dot(gradient, step) < DECREMENT:
            return self._end(self._last_step(score, step, state), CONVERGED)
        return self._end(state, ROUND_CAP) if last else state.next_round()

    def _last_step(self, score: Sequence[float], step: Sequence[float], state: StudyState) -> StudyState:
        """Accept the trial unseen; its deviance by Taylor's second order, the rest is below 1e-13."""
        bend = dot([dot(row, step) for row in self._hessian(state)], step)
        bend -= dot([lam * s for lam, s in zip(self._penalty, step, strict=True)], step)
        change = to_grid(bend - 2.0 * dot(score, step), FRACTION_BITS)
        deviance = max(state.wide(self._key("deviance"))[0] + change, 0)
        state = state.with_(self._key("beta"), state[self._key("trial")], BETA_BITS)
        return state.with_wide(self._key("deviance"), [deviance], FRACTION_BITS)

    def _fell(self, deviance: int, parties: int, state: StudyState) -> bool:
        """Whether the trial is worse than the accepted coefficients by more than the sums' rounding."""
        if self._key("deviance") not in state:
            return False
        before = state.wide(self._key("deviance"))[0]
        now = self._objective(deviance, state.floats(self._key("trial")))
        return now > self._objective(before, state.floats(self._key("beta"))) + parties * 2.0**-26

    def _objective(self, deviance: int, beta: Sequence[float]) -> float:
        """Twice the negative penalised log-likelihood."""
        penalty = dot([lam * b for lam, b in zip(self._penalty, beta, strict=True)], beta)
        return from_grid(deviance, FRACTION_BITS) + penalty

    def _halve(self, state: StudyState) -> StudyState:
        halvings = state.scalar(self._key("halvings")) + 1
        if halvings > MAX_HALVINGS:
            return self._end(state, DIVERGED)
        beta, trial = state[self._key("beta")], state[self._key("trial")]
        halfway = beta + (trial - beta) // 2
        state = state.with_(self._key("trial"), halfway, BETA_BITS).with_(self._key("halvings"), halvings)
        return state.next_round()

    def _end(self, state: StudyState, status: int) -> StudyState:
        state = state.with_(self._key("status"), status)
        state = state.with_(self._key("rounds"), state.position.round + 1)
        return state.without(self._key("trial")).without(self._key("halvings")).finish()

    @cached_property
    def _penalty(self) -> list[float]:
        return [0.0] + [self.ridge] * (self.p - 1)

    def _hessian(self, state: StudyState) -> list[list[float]]:
        upper = iter(state.wide(self._key("information")))
        H = [[0.0] * self.p for _ in range(self.p)]
        for i in range(self.p):
            for j in range(i, self.p):
                H[i][j] = H[j][i] = from_grid(next(upper), FRACTION_BITS)
            H[i][i] += self._penalty[i]
        return H

    # the answer ---------------------------------------------------------------------------------------

    def result(self, state: StudyState) -> dict[str, Any]:
        n, status = state.scalar(self._key("n")), state.scalar(self._key("status"))
        if n < self.spec.release.min_cell:
            raise Refused("disclosure.min_cell", f"{n} rows, expected at least {self.spec.release.min_cell}")
        beta = state.floats(self._key("beta"))
        return {
            "analysis": self.name,
            "kind": self.kind,
            "mode": "exact",
            "n": n,
            "outcome": self.entry.outcome,
            "ridge": self.ridge,
            "rounds": state.scalar(self._key("rounds")),
            "status": STATUS[status],
            "converged": status == CONVERGED,
            "separation": any(abs(b) > SEPARATION for b in beta),
            "deviance": from_grid(state.wide(self._key("deviance"))[0], FRACTION_BITS),
            "standard_errors": "from the penalised information X'WX + ridge",
            "terms": self._terms(beta, state) if status != SINGULAR else [],
        }

    def _terms(self, beta: Sequence[float], state: StudyState) -> list[dict[str, Any]]:
        try:
            inverse = inverse_spd(self._hessian(state))
        except NotPositiveDefiniteError:
            return []
        per = "sd" if self.entry.standardise is not None else "scale"
        labels = [("(intercept)", "1")]
        labels += [(c.label, per if c.level is None else "level") for c in self.design(state).columns]
        return [
            {"term": label, "per": unit, "estimate": beta[i], "se": math.sqrt(inverse[i][i])}
            for i, (label, unit) in enumerate(labels)
        ]

    def logits(self, table: Table, state: StudyState) -> NDArray[np.float64]:
        """float64[n] linear predictors with the accepted coefficients; for use at home."""
        beta = np.array(state.floats(self._key("beta")))
        eta: NDArray[np.float64] = beta[0] + self.design(state).matrix(table) @ beta[1:]
        return eta


def sigmoid(eta: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-eta)) without overflow."""
    small = np.exp(-np.abs(eta))
    return np.where(eta >= 0, 1.0, small) / (1.0 + small)
