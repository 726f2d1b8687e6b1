"""How well a model predicts, at home: nothing here leaves a hospital."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from analytics.logistic import Logistic, sigmoid
from analytics.network import Network
from analytics.registry import build
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from consilium_errors import Misuse


class Score(TypedDict):
    """Rows, events, share of rows classified rightly at 1/2, and area under the ROC curve."""

    n: int
    events: int
    accuracy: float
    auc: float


def predict(spec: StudySpec, name: str, state: StudyState, table: Table) -> NDArray[np.float64]:
    """float64[n] probabilities of the outcome by the model ``name`` as it stands in ``state``.

    Raises:
        Misuse: ``scores.no_such_model``.
    """
    return sigmoid(_model(spec, name).logits(table, state))


def _model(spec: StudySpec, name: str) -> Logistic | Network:
    for entry in spec.analysis:
        if entry.id == name and isinstance(model := build(spec, entry), Logistic | Network):
            return model
    raise Misuse("scores.no_such_model", f"{name} is not a model of this study")


def accuracy(y: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Share of rows on the right side of 1/2."""
    return float(np.mean((probability > 0.5) == (y == 1)))


def auc(y: NDArray[np.int64], score: NDArray[np.float64]) -> float:
    """Probability that an event scores above a non-event, ties one half (Mann and Whitney 1947).

    Raises:
        Misuse: ``scores.one_class`` where there are no events or nothing but events.
    """
    events = int(np.count_nonzero(y == 1))
    others = len(y) - events
    if events == 0 or others == 0:
        raise Misuse("scores.one_class", "the AUC needs rows with and without the event")
    _, which, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[which]
    return float((ranks[y == 1].sum() - events * (events + 1) / 2.0) / (events * others))


def score(spec: StudySpec, name: str, state: StudyState, table: Table) -> Score:
    """The model ``name`` on ``table``."""
    probability = predict(spec, name, state, table)
    y = table.code(_model(spec, name).entry.outcome)
    return Score(
        n=table.n,
        events=int(np.count_nonzero(y == 1)),
        accuracy=accuracy(y, probability),
        auc=auc(y, probability),
    )
