"""What a single clear table would have said: independent libraries on the pooled rows.

Only the demo can do this, because it made the hospitals and so may read them all.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from analytics.study_analyses import LogisticEntry, NetworkEntry
from analytics.table import Table

Floats = NDArray[np.float64]


class Quality(TypedDict):
    accuracy: float
    auc: float


@dataclass(frozen=True)
class Model:
    """A fitted comparison: logits of rows. ``slope`` is of columns in units of their standard deviation."""

    slope: Floats
    intercept: float
    network: Any
    mean: Floats
    sd: Floats

    def logits(self, X: Floats) -> Floats:
        Z = (X - self.mean) / self.sd
        if self.network is None:
            return np.asarray(Z @ self.slope + self.intercept)
        return np.asarray(self.network(Z))


def design(table: Table, terms: Sequence[str]) -> Floats:
    return np.column_stack([table.number(term) for term in terms])


def logistic(entry: LogisticEntry, tables: Sequence[Table]) -> Model:
    """Ridge logistic regression by scikit-learn on the rows of ``tables`` together."""
    from sklearn.linear_model import LogisticRegression

    X = np.vstack([design(t, entry.terms) for t in tables])
    y = np.concatenate([t.code(entry.outcome) for t in tables])
    mean, sd = X.mean(axis=0), X.std(axis=0, ddof=1)
    fit = LogisticRegression(C=1 / float(entry.ridge), solver="newton-cholesky", tol=1e-12)
    fit.fit((X - mean) / sd, y)
    return Model(fit.coef_[0], float(fit.intercept_[0]), None, mean, sd)


def fit(entry: LogisticEntry | NetworkEntry, tables: Sequence[Table]) -> Model:
    return logistic(entry, tables) if isinstance(entry, LogisticEntry) else network(entry, tables)


def network(entry: NetworkEntry, tables: Sequence[Table]) -> Model:
    """The same network by plain torch SGD on the rows of ``tables`` together, as many epochs in all."""
    import torch

    X = np.vstack([design(t, entry.terms) for t in tables])
    y = np.concatenate([t.code(entry.outcome) for t in tables]).astype(np.float32)
    mean, sd = X.mean(axis=0), X.std(axis=0, ddof=1)
    torch.manual_seed(0)
    widths = [X.shape[1], *entry.hidden, 1]
    layers: list[torch.nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU() if entry.activation == "relu" else torch.nn.Tanh()]
    net = torch.nn.Sequential(*layers[:-1])
    optimiser = torch.optim.SGD(net.parameters(), lr=float(entry.rate))
    Z, target = torch.tensor((X - mean) / sd, dtype=torch.float32), torch.tensor(y)
    for _ in range(entry.rounds * entry.epochs):
        order = torch.randperm(len(Z))
        for start in range(0, len(Z), entry.batch):
            part = order[start : start + entry.batch]
            optimiser.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(Z[part])[:, 0], target[part])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    def logits(rows: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(net(torch.tensor(rows, dtype=torch.float32))[:, 0].numpy(), dtype=float)

    return Model(np.zeros(0), 0.0, logits, mean, sd)


def quality(model: Model, table: Table, terms: Sequence[str], outcome: str) -> Quality:
    """By scikit-learn."""
    from sklearn.metrics import accuracy_score, roc_auc_score

    y, logit = table.code(outcome), model.logits(design(table, terms))
    return {"accuracy": float(accuracy_score(y, logit > 0)), "auc": float(roc_auc_score(y, logit))}


def coefficients(result: Mapping[str, Any], model: Model) -> float:
    """Largest difference of a released logistic regression from ``model``, in released standard errors."""
    theirs = [model.intercept, *map(float, model.slope)]
    pairs = zip(result["terms"], theirs, strict=True)
    return max(abs(float(ours["estimate"]) - its) / float(ours["se"]) for ours, its in pairs)


# survival ----------------------------------------------------------------------------------------------


def kaplan_meier(result: Mapping[str, Any], tables: Sequence[Table]) -> float:
    """Largest difference of released survival from lifelines on the released grid."""
    from lifelines import KaplanMeierFitter

    t = np.concatenate([x.number(result["time"]) for x in tables])
    e = np.concatenate([x.code(result["event"]) for x in tables])
    g = np.concatenate([x.code(result["by"]) for x in tables])
    worst = 0.0
    for arm, curve in enumerate(result["curves"]):
        cells = curve["cells"][:-1]
        edges = np.array([cell["to"] for cell in cells] + [np.finfo(float).max])
        rows = g == arm
        fit = KaplanMeierFitter().fit(edges[np.searchsorted(edges, t[rows], side="left")], e[rows])
        for cell in cells:
            truth = float(fit.survival_function_at_times(cell["to"]).item())
            worst = max(worst, abs(truth - cell["survival"]))
    return worst


def logrank(tables: Sequence[Table], time: str, event: str, by: str) -> tuple[float, float]:
    """``(chi2, p)`` of the test stratified by hospital, by statsmodels."""
    from statsmodels.duration.survfunc import survdiff

    t = np.concatenate([x.number(time) for x in tables])
    e = np.concatenate([x.code(event) for x in tables])
    g = np.concatenate([x.code(by) for x in tables])
    site = np.concatenate([np.full(x.n, k) for k, x in enumerate(tables)])
    chi2, p = survdiff(t, e, g, strata=site)
    return float(chi2), float(p)
