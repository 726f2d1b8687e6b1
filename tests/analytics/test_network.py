from __future__ import annotations

import base64
import hashlib
import math

import numpy as np
import pytest
import safetensors.numpy
import torch

from analytics import mlp
from analytics.layout import value_bits
from analytics.network import WEIGHT_BITS, Network, _squares, clip
from analytics.registry import advance, build, genesis, results
from analytics.state import StudyState
from analytics.study import StudySpec, tagged_sha256
from analytics.table import Table
from consilium_errors import Misuse
from tests.analytics import data


@pytest.fixture(scope="module")
def net(breast: StudySpec) -> Network:
    analysis = build(breast, breast.analysis[2])
    assert isinstance(analysis, Network)
    return analysis


def _torch_fedavg(
    net: Network, state: StudyState, hospitals: list[Table], quantised: bool
) -> list[np.ndarray]:
    """Plain torch.nn and torch.optim, and the averaging written out with Python integers."""
    e, d = net.entry, net.shape.d
    f, u = net.update_bits, net.unit_bits - 1
    weights = [int(v) for v in state["net.weights"]]
    trail = []
    for number in range(e.rounds):
        sums, mass = [0] * d, 0
        plain, plain_mass = np.zeros(d), 0.0
        start = np.array([w / 2**WEIGHT_BITS for w in weights])
        for table in hospitals:
            update, share = _torch_update(net, state, table, start, number)
            plain, plain_mass = plain + update, plain_mass + share
            sums = [s + math.trunc(v * 2**f) for s, v in zip(sums, update.tolist(), strict=True)]
            mass += round(share * 2**u)
        if quantised:
            steps = [((s << (WEIGHT_BITS + u - f)) + mass // 2) // mass for s in sums]
        else:
            steps = [round(v * 2**WEIGHT_BITS) for v in (plain / plain_mass).tolist()]
        weights = [w + s for w, s in zip(weights, steps, strict=True)]
        trail.append(np.array(weights))
    return trail


def _torch_update(
    net: Network, state: StudyState, table: Table, start: np.ndarray, number: int
) -> tuple[np.ndarray, float]:
    e, sizes = net.entry, net.shape.sizes
    torch.set_num_threads(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(sizes[0], sizes[1]), torch.nn.ReLU(), torch.nn.Linear(sizes[1], sizes[2])
    )
    torch.nn.utils.vector_to_parameters(torch.tensor(start, dtype=torch.float32), model.parameters())
    optimiser = torch.optim.SGD(model.parameters(), lr=float(e.rate))
    tag = tagged_sha256("network-round", net.spec.canonical(), b"net", number.to_bytes(8, "big"))
    shuffle = torch.Generator().manual_seed(int.from_bytes(tag[:7], "big"))
    X = torch.tensor(net.design(state).matrix(table), dtype=torch.float32)
    y = torch.tensor(table.codes["malignant"], dtype=torch.float32)
    for _ in range(e.epochs):
        order = torch.randperm(table.n, generator=shuffle)
        for at in range(0, table.n, e.batch):
            rows = order[at : at + e.batch]
            optimiser.zero_grad()
            torch.nn.BCEWithLogitsLoss()(model(X[rows])[:, 0], y[rows]).backward()
            optimiser.step()
    trained = torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy().astype(np.float64)
    share = min(table.n, e.weight_cap) / e.weight_cap
    update = np.clip(trained - start, -float(e.clip_each), float(e.clip_each))
    norm = math.sqrt(math.fsum(v * v for v in update))
    return share * (update if norm <= float(e.clip) else update * (float(e.clip) / norm)), share


def test_it_is_plain_torch_fedavg_on_the_same_grid(
    net: Network, fitted: StudyState, finished: StudyState, hospitals: list[Table]
) -> None:
    assert np.array_equal(finished["net.weights"], _torch_fedavg(net, fitted, hospitals, quantised=True)[-1])


def test_the_grid_costs_next_to_nothing(
    net: Network, fitted: StudyState, finished: StudyState, hospitals: list[Table], pooled: Table
) -> None:
    free = _torch_fedavg(net, fitted, hospitals, quantised=False)[-1]
    far = np.abs(finished["net.weights"] - free).max() / 2**WEIGHT_BITS
    assert 0 < far < 1e-3
    X = net.design(fitted).matrix(pooled)
    exact = mlp.logits(net.shape, "relu", free / 2**WEIGHT_BITS, X)
    assert np.mean((exact > 0) == (net.logits(pooled, finished) > 0)) > 0.995


def test_logits_in_numpy_are_torchs(net: Network, finished: StudyState, pooled: Table) -> None:
    X = net.design(finished).matrix(pooled)
    flat = finished["net.weights"] / 2**WEIGHT_BITS
    for activation, layer in (("relu", torch.nn.ReLU()), ("tanh", torch.nn.Tanh())):
        model = torch.nn.Sequential(torch.nn.Linear(30, 16), layer, torch.nn.Linear(16, 1)).double()
        torch.nn.utils.vector_to_parameters(torch.tensor(flat), model.parameters())
        expected = model(torch.tensor(X))[:, 0].detach().numpy()
        assert np.allclose(mlp.logits(net.shape, activation, flat, X), expected, atol=1e-12)


def test_first_weights_are_public_and_those_of_the_spec(breast: StudySpec, net: Network) -> None:
    first, again = genesis(breast)["net.weights"], genesis(breast)["net.weights"]
    assert np.array_equal(first, again)
    (w0, b0), (w1, b1) = net.shape.split(first)
    for weight, inputs in ((w0, 30), (w1, 16)):
        reach = np.abs(weight).max() / 2**WEIGHT_BITS * math.sqrt(inputs)
        assert 0.5 < reach <= 1.0
        assert abs(weight.mean()) < np.abs(weight).max() / 3
    assert not b0.any()
    assert not b1.any()
    other = StudySpec.load(
        (data.EXAMPLES / "breast_cancer" / "study.toml").read_text().replace("0.05", "0.06")
    )
    assert not np.array_equal(genesis(other)["net.weights"], first)


def _at_rate(rate: str) -> Network:
    text = (data.EXAMPLES / "breast_cancer" / "study.toml").read_text()
    spec = StudySpec.load(text.replace('rate = "0.05"', f'rate = "{rate}"'))
    analysis = build(spec, spec.analysis[2])
    assert isinstance(analysis, Network)
    return analysis


def test_the_joint_vector_is_within_its_clip(fitted: StudyState, hospitals: list[Table]) -> None:
    """Training that leaps: every coordinate, the L2 norm and the joint norm stay within the public bounds."""
    net = _at_rate("5")
    stat = net.local(hospitals[3], fitted)
    update, weight = np.asarray(stat["update"]), float(stat["weight"])
    C = float(net.entry.clip)
    assert weight == 1.0
    assert np.abs(update).max() <= 1.0
    assert C * 0.99 < np.linalg.norm(update) <= C
    assert math.hypot(float(np.linalg.norm(update)), weight * C) <= math.sqrt(2) * C
    on_grid = update * 2**net.update_bits
    assert np.array_equal(on_grid, np.rint(on_grid))


def test_clipping_never_turns_an_update(hospitals: list[Table]) -> None:
    update = np.array([3.0, -0.5, 0.25])
    assert np.array_equal(clip(update, 10.0, 10.0), update)
    assert clip(update, 10.0, 1.0) == pytest.approx(update / np.linalg.norm(update))
    assert clip(update, 1.0, 10.0).tolist() == [1.0, -0.5, 0.25]


def test_weights_are_capped_and_stay_private(
    net: Network, fitted: StudyState, hospitals: list[Table]
) -> None:
    assert [float(net.local(t, fitted)["weight"]) for t in hospitals] == [57 / 200, 114 / 200, 170 / 200, 1.0]
    assert "weight" not in " ".join(k for k in results(net.spec, fitted)["risk"])


def test_training_that_diverges_says_so(fitted: StudyState, hospitals: list[Table]) -> None:
    with pytest.raises(Misuse) as caught:
        _at_rate("999999999999999").local(hospitals[3], fitted)
    assert caught.value.code == "network.diverged"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_garbled_sum_moves_the_weights_by_the_clip_at_most(
    breast: StudySpec, net: Network, fitted: StudyState, sign: int
) -> None:
    layout = net.layout(breast, fitted)
    bound, d = layout.blocks[0].bound, net.shape.d
    for weight in (0, 1, 2**18):
        totals = {"update": np.full(d, sign * 4 * bound), "weight": np.array(weight)}
        after = advance(breast, fitted, totals, 4)
        step = (after["net.weights"] - fitted["net.weights"]) / 2**WEIGHT_BITS
        assert np.abs(step).max() <= 1.0
        assert np.linalg.norm(step) <= 4.0 + 1e-6
        assert (np.sign(step) == sign).all()


def test_one_garbled_coordinate_moves_by_its_own_clip_at_most(
    breast: StudySpec, net: Network, fitted: StudyState
) -> None:
    bound = net.layout(breast, fitted).blocks[0].bound
    update = np.zeros(net.shape.d, dtype=np.int64)
    update[7] = -4 * bound
    after = advance(breast, fitted, {"update": update, "weight": np.array(2**17)}, 4)
    step = (after["net.weights"] - fitted["net.weights"]) / 2**WEIGHT_BITS
    assert step[7] == -1.0
    assert np.count_nonzero(step) == 1


def test_a_vanishing_weight_does_not_blow_up_a_small_update(
    breast: StudySpec, net: Network, fitted: StudyState
) -> None:
    update = np.zeros(net.shape.d, dtype=np.int64)
    update[7] = 1
    after = advance(breast, fitted, {"update": update, "weight": np.array(0)}, 4)
    step = (after["net.weights"] - fitted["net.weights"]) / 2**WEIGHT_BITS
    assert 0 < step[7] <= 64 / 2**net.update_bits


@pytest.mark.parametrize("sites", [3, 4, 5, 64, 65, 1024])
def test_every_coordinate_is_one_field_for_any_number_of_sites(sites: int) -> None:
    text = (data.EXAMPLES / "breast_cancer" / "study.toml").read_text()
    names = ", ".join(f'"h{k}"' for k in range(sites))
    spec = StudySpec.load(text.replace('"h01", "h03", "h12", "h13"', names))
    analysis = build(spec, spec.analysis[2])
    layout = analysis.layout(spec, genesis(spec))
    bits = value_bits(2, sites)
    assert layout.length(bits) == 514
    assert float(spec.analysis[2].clip_each) * 2**analysis.update_bits <= layout.blocks[0].bound
    edge = {"update": np.resize([1.0, -1.0], 513), "weight": 1.0}
    total = layout.encode(edge, bits) * np.uint64(sites)
    totals = layout.decode(total, sites, bits)
    assert totals["update"][0] == sites * 2**analysis.update_bits
    state = genesis(spec).finish().finish()
    moved = analysis.move(totals, sites, state)["net.weights"] - state["net.weights"]
    assert np.abs(moved).max() <= 2**WEIGHT_BITS


def test_training_leaves_torchs_threads_alone(
    net: Network, fitted: StudyState, hospitals: list[Table]
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        net.local(hospitals[0], fitted)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_released_model_is_the_one_in_the_state(
    breast: StudySpec, net: Network, finished: StudyState
) -> None:
    result = results(breast, finished)["net"]
    model = base64.b64decode(result["model"])
    assert hashlib.sha256(model).hexdigest() == result["model_sha256"]
    tensors = safetensors.numpy.load(model)
    flat = np.concatenate(
        [tensors[f"layer{k}.{part}"].ravel() for k in (0, 1) for part in ("weight", "bias")]
    )
    assert np.array_equal(flat, (finished["net.weights"] / 2**WEIGHT_BITS).astype(np.float32))
    assert result["mode"] == "exact"
    assert result["layers"] == [30, 16, 1]


def test_a_steep_clip_is_refused_before_it_can_overflow() -> None:
    text = (data.EXAMPLES / "breast_cancer" / "study.toml").read_text()
    with pytest.raises(Misuse, match=r"analysis\[2\].clip_each"):
        StudySpec.load(text.replace("clip_each = 1", "clip_each = 65"))


@pytest.mark.parametrize("reach", [1, 2**15 - 1, 2**15, 2**24, 2**30])
def test_squares_are_summed_exactly(reach: int) -> None:
    step = np.random.default_rng(reach).integers(-reach, reach + 1, 50_000)
    step[:4] = [-reach, reach, 0, -1]
    assert _squares(step) == sum(int(v) ** 2 for v in step)
