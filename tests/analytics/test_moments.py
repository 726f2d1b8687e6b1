from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analytics.moments import Moments
from analytics.registry import build, genesis, results
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from consilium_errors import Misuse, Refused
from tests.analytics import data


def moments(spec: StudySpec) -> Moments:
    analysis = build(spec, spec.analysis[0])
    assert isinstance(analysis, Moments)
    return analysis


def test_they_are_those_of_the_pooled_table(breast: StudySpec, scaled: StudyState, pooled: Table) -> None:
    frame = pd.DataFrame(dict(pooled.numbers))
    result = results(breast, scaled)["scale"]
    assert result["n"] == len(frame)
    assert result["mode"] == "exact"
    assert list(result["columns"]) == list(frame.columns)
    for name, column in result["columns"].items():
        assert column["mean"] == pytest.approx(frame[name].mean(), rel=1e-9)
        assert column["variance"] == pytest.approx(frame[name].var(ddof=1), rel=1e-9)
        assert column["sd"] == pytest.approx(frame[name].std(ddof=1), rel=1e-9)


def test_a_declared_centre_and_scale_change_the_grid_not_the_answer(
    breast: StudySpec, hospitals: list[Table]
) -> None:
    text = (data.EXAMPLES / "breast_cancer" / "study.toml").read_text()
    moved = text.replace("range = [0, 40] }", 'range = [0, 40], centre = 14, scale = "3.5" }')
    assert moved != text
    spec = StudySpec.load(moved)
    state = data.run_analysis(spec, genesis(spec), hospitals)
    before = moments(breast).moments(data.run_analysis(breast, genesis(breast), hospitals))["mean_radius"]
    after = moments(spec).moments(state)["mean_radius"]
    assert after.mean == pytest.approx(before.mean, rel=1e-11)
    assert after.variance == pytest.approx(before.variance, rel=1e-9)


def test_every_row_at_the_end_of_its_range_fits_the_layout(breast: StudySpec, pooled: Table) -> None:
    for end in (0, 1):
        numbers = {
            name: np.full(breast.row_cap, float(breast.variables[name].range[end])) for name in pooled.numbers
        }
        table = Table(numbers, {"malignant": np.zeros(breast.row_cap, int)}, breast.row_cap)
        data.summed(breast, genesis(breast), [table] * 3)


def test_more_rows_than_the_cap_are_refused(breast: StudySpec, pooled: Table) -> None:
    n = breast.row_cap + 1
    table = Table({name: np.full(n, 0.01) for name in pooled.numbers}, {}, n)
    with pytest.raises(Misuse) as caught:
        data.summed(breast, genesis(breast), [table] * 3)
    assert caught.value.code == "layout.out_of_range"


def test_a_constant_column_has_no_variance(breast: StudySpec, pooled: Table) -> None:
    numbers = {name: np.full(10, 0.015) for name in pooled.numbers}
    state = data.run_analysis(breast, genesis(breast), [Table(numbers, {}, 10)] * 3)
    assert moments(breast).moments(state)["mean_area"].variance == pytest.approx(0.0, abs=1e-4)


def test_fewer_rows_than_the_cell_floor_are_not_released(breast: StudySpec, hospitals: list[Table]) -> None:
    keep = np.zeros(hospitals[0].n, dtype=bool)
    keep[0] = True
    one = hospitals[0].where(keep)
    state = data.run_analysis(breast, genesis(breast), [one] * 4)
    with pytest.raises(Refused) as caught:
        results(breast, state)
    assert caught.value.code == "disclosure.min_cell"
    empty = one.where(np.array([False]))
    nobody = data.run_analysis(breast, genesis(breast), [empty] * 3)
    with pytest.raises(Refused):
        moments(breast).moments(nobody)
