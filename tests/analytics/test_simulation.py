"""What is told of the loss: seeded, quick, larger with less budget, and about what the real noise does."""

from __future__ import annotations

import time

import pytest

from analytics.privacy import plan_of, words
from analytics.privacy.simulation import Loss, Patients, losses
from analytics.study import StudySpec
from tests.private import private_spec, private_text


def by_name(spec: StudySpec, rows: int) -> dict[str, Loss]:
    return {loss.name: loss for loss in losses(spec, rows)}


def test_everybody_is_told_the_same() -> None:
    spec = private_spec(rounds=3)
    assert losses(spec, 30) == losses(spec, 30)


def test_a_larger_promise_costs_more() -> None:
    wide, tight = (by_name(private_spec(rounds=10, epsilon=e, rate="2"), 50) for e in ("20", "0.3"))
    for name, measure in (("table1", "count"), ("table1", "means")):
        assert getattr(tight[name], measure) > 5 * getattr(wide[name], measure)
    assert wide["net"].noisy is not None
    assert tight["net"].noisy is not None
    assert wide["net"].clean == pytest.approx(wide["net"].noisy, abs=0.02)
    assert tight["net"].noisy < wide["net"].noisy - 0.02


def test_the_count_is_off_by_what_its_noise_is() -> None:
    spec = private_spec(epsilon="1")
    from analytics import registry
    from tests.private import patients, run

    noise = registry.results(spec, run(spec, [patients(i, 100) for i in range(4)]))["table1"]["noise"]
    count = by_name(spec, 100)["table1"].count
    assert count is not None
    assert 0.2 * noise < count < 2.5 * noise  # a mean square of five


def test_made_up_patients_keep_the_declared_ranges() -> None:
    import numpy as np

    text = private_text(rounds=1).replace(
        "ill = {", 'sex = { kind = "category", levels = ["m", "f", "x"] }\nill = {'
    )
    table = Patients(StudySpec.load(text), 1).draw(np.random.default_rng(0), 500)
    assert table.number("age").min() >= 0
    assert table.number("age").max() <= 120
    assert set(table.code("sex")) == {0, 1, 2}
    assert 0.1 < table.code("ill").mean() < 0.9


def test_what_would_take_too_long_is_left_out_and_said() -> None:
    spec = private_spec(rounds=1000, hidden="512, 512", epsilon="8")
    began = time.monotonic()
    found = losses(spec, 100)
    assert time.monotonic() - began < 10
    assert [loss.name for loss in found] == ["table1"]
    assert "too large" in words.accuracy([], 100)[0]


def test_the_promise_in_words() -> None:
    plan = plan_of(private_spec(rounds=4, epsilon="1"))
    assert plan is not None
    assert "with at most 73.1 % success" in words.promise(plan)[1]
    lines = words.prices(plan)
    assert lines[1].startswith("net: 4 rounds at rho 0.0030")
    assert "from the shares of 2 honest hospitals" in lines[1]
    assert lines[2] == "all rounds together: epsilon 1.000 at delta 0.000001"
