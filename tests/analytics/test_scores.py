from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

from analytics.scores import accuracy, auc, predict, score
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from consilium_errors import Misuse


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=2, max_size=60))
def test_auc_with_ties_is_scikit_learns(rows: list[tuple[int, int]]) -> None:
    y, s = (np.array(column) for column in zip(*rows, strict=True))
    if len(set(y.tolist())) == 1:
        with pytest.raises(Misuse):
            auc(y, s / 6)
    else:
        assert auc(y, s / 6) == pytest.approx(roc_auc_score(y, s), abs=1e-12)


def test_scores_are_those_of_the_pooled_fit(breast: StudySpec, fitted: StudyState, pooled: Table) -> None:
    X = np.column_stack(list(pooled.numbers.values()))
    X = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    y = pooled.codes["malignant"]
    clear = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(X, y).predict_proba(X)[:, 1]
    ours = predict(breast, "risk", fitted, pooled)
    assert np.allclose(ours, clear, atol=1e-6)
    found = score(breast, "risk", fitted, pooled)
    assert found["accuracy"] == accuracy_score(y, clear > 0.5) == accuracy(y, ours)
    assert found["auc"] == pytest.approx(roc_auc_score(y, clear), abs=1e-12)
    assert (found["n"], found["events"]) == (569, 212)


def test_the_network_learns(
    breast: StudySpec, fitted: StudyState, finished: StudyState, pooled: Table
) -> None:
    after = score(breast, "net", finished, pooled)
    assert after["auc"] > 0.99
    assert after["accuracy"] > 0.96
    assert after["auc"] > score(breast, "net", fitted, pooled)["auc"]


def test_only_models_predict(breast: StudySpec, fitted: StudyState, pooled: Table) -> None:
    for name in ("scale", "nobody"):
        with pytest.raises(Misuse) as caught:
            predict(breast, name, fitted, pooled)
        assert caught.value.code == "scores.no_such_model"
