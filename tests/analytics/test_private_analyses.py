"""Worst neighbours against the sensitivity that is booked, gradients against torch, answers against the pooled data."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from analytics import layout as layouts
from analytics import mlp, per_record, private_moments, registry
from analytics.mlp import Shape
from analytics.privacy import cap, epsilon_at, label, noise_of, plan_of, terms_of
from analytics.private_moments import PrivateMoments
from analytics.private_network import GRID, PrivateNetwork
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from consilium_errors import Hostile, Misuse
from tests.private import patients, private_spec, private_text, run


def flat(found: object) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(v)) for v in found.values()])  # type: ignore[attr-defined]


def moments_of(spec: StudySpec) -> PrivateMoments:
    analysis = registry.build(spec, spec.analysis[0])
    assert isinstance(analysis, PrivateMoments)
    return analysis


def network_of(spec: StudySpec) -> PrivateNetwork:
    analysis = registry.build(spec, spec.analysis[-1])
    assert isinstance(analysis, PrivateNetwork)
    return analysis


# sensitivity ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [16, 37])
def test_no_two_rows_are_further_apart_than_the_moments_sensitivity(
    grid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pair of rows of one column on a coarse grid, and every row against none."""
    monkeypatch.setattr(private_moments, "GRID", grid)
    spec = private_spec()
    analysis = PrivateMoments(spec, spec.analysis[0].model_copy(update={"columns": ("age",)}))  # type: ignore[arg-type]
    rows = [
        flat(analysis.local(Table({"age": np.array([x])}, {}, 1), StudyState()))
        for x in np.linspace(0, 120, 8 * grid + 1)
    ]
    bound = analysis.query.sensitivity_squared
    assert max(int(((a - b) ** 2).sum()) for a, b in itertools.combinations(rows, 2)) <= bound
    assert bound - 4 * grid <= max(int((a**2).sum()) for a in rows) <= bound


@pytest.mark.parametrize("seed", range(5))
def test_a_patient_moves_the_moments_by_no_more_than_booked(seed: int) -> None:
    analysis, rng = moments_of(private_spec()), np.random.default_rng(seed)
    table = patients(seed, 30)
    base = flat(analysis.local(table, StudyState()))
    bound = analysis.query.sensitivity_squared
    for age, bmi in [
        (0.0, 0.0),
        (120.0, 80.0),
        (120.0, 0.0),
        (60.0, 40.0),
        (1e9, -1e9),
        *rng.uniform(0, 80, (5, 2)),
    ]:
        for keep in (slice(0, 30), slice(1, 30)):
            numbers = {
                "age": np.append(table.numbers["age"][keep], age),
                "bmi": np.append(table.numbers["bmi"][keep], bmi),
            }
            other = Table(numbers, {}, len(numbers["age"]))
            moved = flat(analysis.local(other, StudyState())) - base
            assert sum(int(v) ** 2 for v in moved) <= bound


@pytest.mark.parametrize("clip", ["0.01", "1"])
def test_a_patient_moves_the_gradient_by_no_more_than_booked(clip: str) -> None:
    text = private_text(rounds=3, hidden="4, 3").replace('clip = "1"', f'clip = "{clip}"')
    spec = StudySpec.load(text)
    state = run_moments(spec)
    analysis, table = network_of(spec), patients(1, 30)
    base = flat(analysis.local(table, state))
    bound, most = analysis.query.sensitivity_squared, 0
    for age, bmi, ill in itertools.product((0.0, 120.0), (0.0, 80.0), (0, 1)):
        for keep in (slice(0, 30), slice(1, 30)):
            other = Table(
                {
                    "age": np.append(table.numbers["age"][keep], age),
                    "bmi": np.append(table.numbers["bmi"][keep], bmi),
                },
                {"ill": np.append(table.codes["ill"][keep], ill)},
                30 if keep.start else 31,
            )
            moved = flat(analysis.local(other, state)) - base
            most = max(most, sum(int(v) ** 2 for v in moved))
    assert most <= bound
    assert most > bound // 2  # the bound is met: clipping is at work


def run_moments(spec: StudySpec) -> StudyState:
    from tests.private import open_round

    return open_round(spec, registry.genesis(spec), [patients(i) for i in range(4)], noise=False)


# the arithmetic ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gradients_are_torchs(activation: mlp.Activation) -> None:
    import torch

    shape, rng = Shape((3, 5, 4, 1)), np.random.default_rng(0)
    weights, X = rng.normal(size=shape.d), rng.normal(size=(7, 3))
    y = rng.integers(0, 2, 7).astype(float)
    found = per_record.gradients(shape, activation, weights, X, y)
    for i in range(7):
        leaves = [
            torch.tensor(np.array(part), dtype=torch.float64, requires_grad=True)
            for pair in shape.split(weights)
            for part in pair
        ]
        h = torch.tensor(X[i : i + 1], dtype=torch.float64)
        for k in range(0, len(leaves), 2):
            h = torch.nn.functional.linear(h, leaves[k], leaves[k + 1])
            if k < len(leaves) - 2:
                h = torch.relu(h) if activation == "relu" else torch.tanh(h)
        truth = torch.tensor(y[i : i + 1], dtype=torch.float64)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(h[:, 0], truth)
        expected = np.concatenate([g.numpy().ravel() for g in torch.autograd.grad(loss, leaves)])
        np.testing.assert_allclose(found[i], expected, rtol=1e-9, atol=1e-12)


def test_clipping_is_row_by_row_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, rng = Shape((3, 4, 1)), np.random.default_rng(1)
    weights, X, y = (
        rng.normal(size=shape.d),
        5 * rng.normal(size=(23, 3)),
        rng.integers(0, 2, 23).astype(float),
    )
    kwargs = {"clip": 0.5, "grid": GRID}
    whole = per_record.clipped_sum(shape, "tanh", weights, X, y, **kwargs)  # type: ignore[arg-type]
    monkeypatch.setattr(per_record, "_CHUNK", 2 * shape.d)
    np.testing.assert_array_equal(whole, per_record.clipped_sum(shape, "tanh", weights, X, y, **kwargs))  # type: ignore[arg-type]
    raw = per_record.gradients(shape, "tanh", weights, X, y)
    norms = np.linalg.norm(raw, axis=1)
    expected = (raw * np.minimum(1, 0.5 / norms)[:, None]).sum(axis=0)
    np.testing.assert_allclose(whole * 0.5 / GRID, expected, atol=23 * 0.5 / GRID)
    assert (norms > 0.5).any()
    assert (norms < 0.5).any()


def test_without_noise_the_moments_are_the_pooled_ones() -> None:
    spec, tables = private_spec(), [patients(i, 200) for i in range(4)]
    found = registry.results(spec, run(spec, tables, noise=False))["table1"]
    for name in ("age", "bmi"):
        pooled = np.concatenate([t.numbers[name] for t in tables])
        assert found["columns"][name]["mean"] == pytest.approx(pooled.mean(), abs=1e-3)
        assert found["columns"][name]["sd"] == pytest.approx(pooled.std(ddof=1), rel=1e-3)
    assert found["n"] == 800


def test_without_noise_the_network_is_plain_gradient_descent() -> None:
    import torch

    spec, tables = private_spec(rounds=4, hidden="3"), [patients(i, 50) for i in range(4)]
    state = run(spec, tables, noise=False)
    analysis = network_of(spec)
    start = analysis._floats(registry.genesis(spec))
    design = analysis.design(state)
    X = np.concatenate([design.matrix(t) for t in tables])
    y = np.concatenate([t.codes["ill"] for t in tables]).astype(float)
    leaves = [
        torch.tensor(np.array(p), dtype=torch.float64) for pair in analysis.shape.split(start) for p in pair
    ]
    for _ in range(4):
        flat_now = np.concatenate([p.numpy().ravel() for p in leaves])
        rows = per_record.gradients(analysis.shape, "tanh", flat_now, X, y)
        rows *= np.minimum(1, 1 / np.linalg.norm(rows, axis=1))[:, None]
        step = torch.tensor(rows.mean(axis=0))
        at = 0
        for p in leaves:
            p -= step[at : at + p.numel()].reshape(p.shape)
            at += p.numel()
    expected = np.concatenate([p.numpy().ravel() for p in leaves])
    np.testing.assert_allclose(analysis._floats(state), expected, atol=1e-4)


def test_noise_is_told_and_is_of_the_told_size() -> None:
    spec, tables = private_spec(epsilon="2"), [patients(i, 200) for i in range(4)]
    exact = registry.results(spec, run(spec, tables, noise=False))["table1"]
    misses = []
    for _ in range(60):
        noisy = registry.results(spec, run(spec, tables))["table1"]
        assert (noisy["mode"], noisy["epsilon"], noisy["delta"]) == ("dp", 2.0, 1e-6)
        misses.append((noisy["n"] - exact["n"]) / noisy["noise"])
    spread = math.sqrt(sum(m * m for m in misses) / len(misses))
    assert 0.5 < spread < 1.6  # chi-squared with 60 degrees: beyond 1e-6 on either side


def test_a_variance_that_drowned_is_not_told() -> None:
    spec = private_spec(epsilon="0.5")
    tables = [patients(i, 12) for i in range(4)]
    drowned = []
    for _ in range(20):
        state = run(spec, tables)
        if state.scalar("table1.n") > 10 * moments_of(spec).step:
            drowned += [
                c["variance"] is None for c in registry.results(spec, state)["table1"]["columns"].values()
            ]
    assert any(drowned)


# the plan ------------------------------------------------------------------------------------------------


def test_the_whole_study_keeps_its_promise() -> None:
    spec = private_spec(rounds=20, epsilon="4", shares="shares = { net = 3 }")
    plan = plan_of(spec)
    assert plan is not None
    assert 3.99 < epsilon_at(plan.total, plan.delta) <= 4
    net, table1 = plan.noises["net"], plan.noises["table1"]
    assert 20 * net.rho == pytest.approx(3 * table1.rho, rel=1e-4)
    assert plan.total.rho == 20 * net.rho + table1.rho
    assert (net.honest, net.dimension) == (2, network_of(spec).shape.d + 1)
    assert terms_of(spec, "net") == (net.rho, net.delta, net.digest())
    assert net.digest() != table1.digest()
    assert epsilon_at(plan.total, plan.delta) <= 4


def test_fewer_honest_hospitals_add_more_each() -> None:
    few, many = private_spec(collusion=2, min_sites=4), private_spec(collusion=1, min_sites=4)
    assert noise_of(few, "table1").sigma == pytest.approx(
        math.sqrt(3 / 2) * noise_of(many, "table1").sigma, rel=1e-4
    )


def test_noise_fits_its_field_whatever_the_roster() -> None:
    sites = [f"s{i}" for i in range(128)]
    text = private_text(rounds=1000, epsilon="0.1", row_cap=2**31 - 1).replace(
        'sites = ["a", "b", "c", "d"]', "sites = [" + ", ".join(f'"{s}"' for s in sites) + "]"
    )
    spec = StudySpec.load(text)
    state = registry.genesis(spec)
    layout = moments_of(spec).layout(spec, state)
    assert layout.blocks[0].bound > noise_of(spec, "table1").reach > 2**30
    worst = {b.name: np.full(b.shape, b.bound, dtype=object) for b in layout.blocks}
    bits = layouts.value_bits(layout.fields, 128)
    total = layout.encode(worst, bits) * np.uint64(128)
    assert layout.decode(total, 128, bits)["n"] == 128 * layout.blocks[0].bound


def test_a_promise_that_cannot_be_kept_is_said_so() -> None:
    with pytest.raises(Misuse) as caught:
        plan_of(private_spec(rounds=1000, epsilon="0.000001"))
    assert caught.value.code == "privacy.too_tight"


def test_a_hospitals_cap_in_the_chains_units() -> None:
    from decimal import Decimal

    price = cap(Decimal(8), Decimal("0.000001"))
    assert epsilon_at(price, Decimal("0.000001")) <= 8
    assert price.delta == 10**9
    assert cap(Decimal(0), Decimal("0.000001")) == cap(Decimal(8), Decimal(0))
    assert not epsilon_at(price, Decimal("0.000000001")).is_finite()


# the study file ------------------------------------------------------------------------------------------

KM = '[[analysis]]\nid = "km"\nkind = "kaplan_meier"\ntime = "age"\nevent = "ill"\n'


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda t: t.replace('epsilon = "4"', 'epsilon = "31"'), "privacy.epsilon"),
        (lambda t: t.replace('delta = "0.000001"', 'delta = "0.01"'), "privacy.delta"),
        (lambda t: t.replace('delta = "0.000001"', 'delta = "0"'), "privacy.delta"),
        (lambda t: t.replace('clip = "1"', ""), "privacy.clip"),
        (lambda t: t.replace('clip = "1"', 'clip = "1"\nunit = "visit"'), "privacy.unit"),
        (lambda t: t.replace('clip = "1"', 'clip = "1"\nshares = { other = 2 }'), "privacy.shares.other"),
        (lambda t: t.replace('sum = "fhe"', 'sum = "clear"'), "sum"),
        (lambda t: t.replace('mode = "dp"', 'mode = "exact"'), "privacy"),
        (lambda t: t + "epochs = 2\n", "analysis[1].epochs"),
        (lambda t: t + KM, "analysis[2].kind"),
        (lambda t: t[: t.index("[privacy]")] + t[t.index("[cohort]") :], "privacy"),
    ],
)
def test_what_no_noise_is_offered_for_is_named(change: object, field: str) -> None:
    with pytest.raises(Misuse) as caught:
        StudySpec.load(change(private_text(rounds=2)))  # type: ignore[operator]
    assert caught.value.code == "study.invalid"
    assert field in [line.split(":")[0] for line in str(caught.value).splitlines()]


def test_the_canonical_form_is_the_only_one() -> None:
    spec = private_spec(rounds=2, shares="shares = { net = 3 }")
    assert StudySpec.from_canonical(spec.canonical()) == spec
    assert label(spec) == {"mode": "dp", "epsilon": 4.0, "delta": 1e-6, "unit": "patient"}
    with pytest.raises(Hostile):
        StudySpec.from_canonical(spec.canonical().replace(b'"sum":"fhe"', b'"sum":"clear"'))
