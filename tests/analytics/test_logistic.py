from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from analytics.fixed import to_grid
from analytics.logistic import BETA_BITS, Logistic, sigmoid
from analytics.registry import build, genesis, results
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from tests.analytics import data

MIXED = """
schema = "consilium.study/1"
id = "mixed"
protocol = { ethics = "IRB-1", plan_sha256 = "%s" }
purpose = { duo = "DUO:0000007" }
sites = ["a", "b", "c"]
row_cap = 500
release = { mode = "exact", recipient = "sponsor" }
cohort = { max_missing = "0" }
[variables]
ill = { kind = "event" }
smokes = { kind = "event" }
age = { kind = "number", unit = "a", range = [0, 100], centre = 50, scale = 10 }
stage = { kind = "category", levels = ["i", "ii", "iii"], reference = "ii" }
[[analysis]]
id = "risk"
kind = "logistic"
outcome = "ill"
terms = ["age", "smokes", "stage"]
""" % ("ab" * 32)


def mixed_table(n: int, seed: int) -> Table:
    rng = np.random.default_rng(seed)
    age, smokes, stage = rng.uniform(20, 90, n), rng.integers(0, 2, n), rng.integers(0, 3, n)
    eta = -0.5 + 0.4 * (age - 50) / 10 + 0.8 * smokes + np.array([-0.7, 0.0, 0.9])[stage]
    ill = (rng.uniform(size=n) < sigmoid(eta)).astype(int)
    return Table({"age": age}, {"ill": ill, "smokes": smokes, "stage": stage}, n)


def standardised(table: Table) -> np.ndarray:
    X = np.column_stack(list(table.numbers.values()))
    return (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)


def reference(X: np.ndarray, y: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients by scikit-learn, standard errors from the penalised information at them."""
    C = 1 / ridge if ridge else np.inf
    fit = LogisticRegression(C=C, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(X, y)
    beta = np.concatenate([fit.intercept_, fit.coef_[0]])
    full = np.column_stack([np.ones(len(y)), X])
    p = sigmoid(full @ beta)
    H = full.T @ ((p * (1 - p))[:, None] * full) + ridge * np.diag([0.0] + [1.0] * X.shape[1])
    return beta, np.sqrt(np.diag(np.linalg.inv(H)))


def check(terms: list[dict[str, object]], beta: np.ndarray, se: np.ndarray) -> None:
    estimates, errors = (np.array([t[k] for t in terms]) for k in ("estimate", "se"))
    assert (np.abs(estimates - beta) / se).max() < 1e-6
    assert np.abs(errors / se - 1).max() < 1e-5


def test_ridge_on_breast_cancer_is_the_pooled_fit(
    breast: StudySpec, fitted: StudyState, pooled: Table
) -> None:
    result = results(breast, fitted)["risk"]
    assert result["converged"]
    assert not result["separation"]
    assert result["n"] == 569
    beta, se = reference(standardised(pooled), pooled.codes["malignant"], 1.0)
    check(result["terms"], beta, se)
    eta = beta[0] + standardised(pooled) @ beta[1:]
    deviance = 2 * np.sum(np.logaddexp(0, (1 - 2 * pooled.codes["malignant"]) * eta))
    assert result["deviance"] == pytest.approx(deviance, abs=1e-6)


def test_categories_and_events_without_penalty_are_the_pooled_fit() -> None:
    spec = StudySpec.load(MIXED)
    tables = [mixed_table(n, seed) for seed, n in enumerate((80, 150, 300))]
    result = results(spec, data.run_study(spec, tables))["risk"]
    ages, codes = (np.concatenate([t.numbers["age"] for t in tables]), {})
    for key in ("ill", "smokes", "stage"):
        codes[key] = np.concatenate([t.codes[key] for t in tables])
    X = np.column_stack([(ages - 50) / 10, codes["smokes"], codes["stage"] == 0, codes["stage"] == 2])
    assert [t["term"] for t in result["terms"]] == ["(intercept)", "age", "smokes", "stage=i", "stage=iii"]
    check(result["terms"], *reference(X, codes["ill"], 0.0))


def test_without_a_penalty_breast_cancer_does_not_pretend(hospitals: list[Table]) -> None:
    text = (data.EXAMPLES / "breast_cancer" / "study.toml").read_text()
    spec = StudySpec.load(text.replace('ridge = "1"', 'ridge = "0"'))
    state = data.run_analysis(spec, genesis(spec), hospitals)
    result = results(spec, data.run_analysis(spec, state, hospitals))["risk"]
    assert not result["converged"] or result["separation"]


def _at(spec: StudySpec, state: StudyState, beta: list[float]) -> StudyState:
    return state.with_("risk.trial", [to_grid(b, BETA_BITS) for b in beta], BETA_BITS)


def test_a_step_that_falls_is_halved_back_to_the_accepted_coefficients() -> None:
    spec = StudySpec.load(MIXED)
    tables = [mixed_table(200, seed) for seed in range(3)]
    state = data.run_round(spec, genesis(spec), tables)
    accepted = state.floats("risk.beta")
    far = [a + 64 * (t - a) for a, t in zip(accepted, state.floats("risk.trial"), strict=True)]
    wild = _at(spec, state, far)
    after = data.run_round(spec, wild, tables)
    assert after.floats("risk.beta") == accepted
    assert after.floats("risk.trial") == [
        (a + w) / 2 for a, w in zip(accepted, wild.floats("risk.trial"), strict=True)
    ]
    assert after.position == state.next_round().position
    direct = results(spec, data.run_analysis(spec, state, tables))["risk"]
    recovered = results(spec, data.run_analysis(spec, wild, tables))["risk"]
    assert recovered["converged"]
    for a, b in zip(direct["terms"], recovered["terms"], strict=True):
        assert a["estimate"] == pytest.approx(b["estimate"], abs=1e-7 * b["se"])


def test_halving_without_end_is_given_up() -> None:
    spec = StudySpec.load(MIXED)
    tables = [mixed_table(200, seed) for seed in range(3)]
    state = _at(spec, data.run_round(spec, genesis(spec), tables), [1e5, -1e5, 1e5, 1e5, -1e5])
    result = results(spec, data.run_analysis(spec, state, tables))["risk"]
    assert result["status"] == "diverged"
    assert not result["converged"]


def test_the_round_cap_ends_the_analysis() -> None:
    spec = StudySpec.load(MIXED + "max_rounds = 2\n")
    tables = [mixed_table(200, seed) for seed in range(3)]
    state = data.run_study(spec, tables)
    assert state.position.total == 2
    result = results(spec, state)["risk"]
    assert (result["status"], result["rounds"], result["converged"]) == ("round cap", 2, False)


def test_an_aliased_term_is_singular_not_pseudo_inverted() -> None:
    spec = StudySpec.load(MIXED)
    tables = []
    for seed in range(3):
        t = mixed_table(100, seed)
        tables.append(Table(t.numbers, {**t.codes, "smokes": (t.codes["stage"] == 0).astype(int)}, t.n))
    result = results(spec, data.run_study(spec, tables))["risk"]
    assert (result["status"], result["terms"]) == ("singular", [])


def test_separated_outcomes_are_flagged() -> None:
    spec = StudySpec.load(MIXED + 'ridge = "0.000000001"\nmax_rounds = 60\n')
    tables = []
    for seed in range(3):
        t = mixed_table(100, seed)
        tables.append(Table(t.numbers, {**t.codes, "ill": (t.numbers["age"] > 50).astype(int)}, t.n))
    result = results(spec, data.run_study(spec, tables))["risk"]
    assert result["separation"] or not result["converged"]


def test_extreme_rows_fit_the_layout_at_wild_coefficients(breast: StudySpec, scaled: StudyState) -> None:
    """Every row at the end of its range and coefficients of 50: still within what the layout declares."""
    analysis = build(breast, breast.analysis[1])
    assert isinstance(analysis, Logistic)
    n = breast.row_cap
    for end, beta in ((0, 50.0), (1, -50.0), (1, 0.0)):
        numbers = {c: np.full(n, float(breast.variables[c].range[end])) for c in breast.analysis[1].terms}
        table = Table(numbers, {"malignant": np.full(n, end)}, n)
        state = _at(breast, scaled, [beta] * 31)
        data.summed(breast, state, [table] * 3)


def test_the_answer_does_not_depend_on_how_rows_are_spread(breast: StudySpec, pooled: Table) -> None:
    """Only as far as rounding goes: sums are exact, each hospital's own statistic is rounded once."""
    spreads = []
    for shares in ((0.3, 0.3, 0.2, 0.2), (0.7, 0.1, 0.1, 0.1)):
        tables = data.split_unevenly(pooled, "mean_texture", shares)
        state = data.run_analysis(breast, genesis(breast), tables)
        spreads.append(results(breast, data.run_analysis(breast, state, tables))["risk"]["terms"])
    for a, b in zip(*spreads, strict=True):
        assert a["estimate"] == pytest.approx(b["estimate"], abs=1e-6 * a["se"])


def test_a_model_without_its_moments_is_a_misuse(breast: StudySpec) -> None:
    from analytics.design import design
    from consilium_errors import Misuse

    with pytest.raises(Misuse):
        design(breast, genesis(breast), breast.analysis[1].terms, "scale")
    broken = replace(build(breast, breast.analysis[1]), entry=breast.analysis[1])
    with pytest.raises(Misuse):
        broken.layout(breast, genesis(breast))
