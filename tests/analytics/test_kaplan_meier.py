from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from analytics.layout import value_bits
from analytics.registry import build, genesis, results
from analytics.table import Table
from consilium_errors import Misuse, Refused
from tests.analytics.data import run_study
from tests.analytics.survival import lung_spec, lung_tables, made_up


def curves_of(tables: list[Table]) -> dict[str, Any]:
    spec = lung_spec()
    found: dict[str, Any] = results(spec, run_study(spec, tables))["curves"]
    return found


def pooled(tables: list[Table], code: int) -> tuple[np.ndarray, np.ndarray]:
    rows = [t.codes["sex"] == code for t in tables]
    time = np.concatenate([t.numbers["time"][r] for t, r in zip(tables, rows, strict=True)])
    died = np.concatenate([t.codes["death"][r] for t, r in zip(tables, rows, strict=True)])
    return time, died


@pytest.mark.parametrize("tables", [lung_tables(), made_up(1), made_up(2, sites=3, rows=400)])
def test_released_points_are_those_of_lifelines_on_the_same_gridded_times(tables: list[Table]) -> None:
    result = curves_of(tables)
    assert result["mode"] == "exact"
    assert result["grid"] == 30
    for code, curve in enumerate(result["curves"]):
        time, died = pooled(tables, code)
        closed = curve["cells"][:-1]
        edges = np.array([cell["to"] for cell in closed] + [1e6])
        gridded = edges[np.searchsorted(edges, time, side="left")]
        km = KaplanMeierFitter().fit(gridded, died)
        for cell in closed:
            low, high = km.confidence_interval_.loc[cell["to"]]
            assert cell["survival"] == pytest.approx(
                km.survival_function_at_times(cell["to"]).item(), abs=1e-12
            )
            assert cell["lower"] == pytest.approx(low, abs=1e-12)
            assert cell["upper"] == pytest.approx(high, abs=1e-12)
            assert cell["at_risk"] == km.event_table.loc[cell["to"], "at_risk"]
            assert cell["deaths"] == km.event_table.loc[cell["to"], "observed"]
            assert cell["censored"] == km.event_table.loc[cell["to"], "censored"]


@pytest.mark.parametrize("tables", [lung_tables(), made_up(1), made_up(3, rows=20)])
def test_the_median_lies_in_its_interval(tables: list[Table]) -> None:
    for code, curve in enumerate(curves_of(tables)["curves"]):
        cells = curve["cells"][:-1]
        time, died = pooled(tables, code)
        edges = np.array([cell["to"] for cell in cells] + [1e6])
        km = KaplanMeierFitter().fit(edges[np.searchsorted(edges, time, side="left")], died)
        median = curve["median"]
        if median["to"] is not None:
            assert km.median_survival_time_ == median["to"]
        assert curve["median_ci"]["from"] <= median["from"]
        assert curve["median_ci"]["to"] is None or curve["median_ci"]["to"] >= median["to"]
        # On exact times it is inside as well, as far as merging does not move the curve across one half.
        exact = KaplanMeierFitter().fit(time, died).median_survival_time_
        assert curve["median_ci"]["from"] <= exact <= (curve["median_ci"]["to"] or np.inf)


@pytest.mark.parametrize("seed", range(6))
def test_no_cell_is_below_the_floor_and_none_shows_where_the_last_patient_left(seed: int) -> None:
    tables = made_up(seed, rows=12 + 5 * seed)
    for code, curve in enumerate(curves_of(tables)["curves"]):
        exits = [cell["deaths"] + cell["censored"] for cell in curve["cells"]]
        assert min(exits) >= 5
        assert sum(exits) == curve["n"] == len(pooled(tables, code)[0])
        assert curve["cells"][-1]["to"] is None
        assert "survival" not in curve["cells"][-1]
        assert all(cell["at_risk"] >= 5 for cell in curve["cells"])


def test_moving_one_patient_beyond_the_last_released_time_changes_nothing() -> None:
    tables = lung_tables()
    last = tables[0].numbers["time"].argmax()
    moved = np.array(tables[0].numbers["time"])
    assert moved[last] > 600
    moved[last] = 1100
    other = Table({**tables[0].numbers, "time": moved}, tables[0].codes, tables[0].n)
    assert curves_of(tables) == curves_of([other, *tables[1:]])


def test_a_group_of_four_is_not_released() -> None:
    tables = lung_tables()
    few = []
    left = 4
    for t in tables:
        women = np.flatnonzero(t.codes["sex"] == 1)
        keep = t.codes["sex"] == 0
        keep[women[:left]] = True
        left -= min(left, len(women))
        few.append(t.where(keep))
    with pytest.raises(Refused) as refused:
        curves_of(few)
    assert refused.value.code == "disclosure.min_cell"


@pytest.mark.parametrize(
    ("time", "bin_"),
    [(1.0, 0), (29.999, 0), (30.0, 0), (30.0 + 1e-9, 0), (30.01, 1), (60.0, 1), (1100.0, 36)],
)
def test_a_time_on_an_edge_belongs_to_the_bin_that_it_closes(time: float, bin_: int) -> None:
    spec = lung_spec()
    analysis = build(spec, spec.analysis[0])
    one = Table({"time": np.array([time]), "age": np.array([50.0])}, {"death": [1], "sex": [0]}, 1)  # type: ignore[dict-item]
    local = analysis.local(one, genesis(spec))
    assert np.flatnonzero(np.asarray(local["deaths"])[0]).tolist() == [bin_]
    assert not np.asarray(local["censored"]).any()


@pytest.mark.parametrize("time", [0.5, 1100.5])
def test_a_time_outside_the_declared_range_is_not_clipped_into_it(time: float) -> None:
    spec = lung_spec()
    one = Table({"time": np.array([time]), "age": np.array([50.0])}, {"death": [1], "sex": [0]}, 1)  # type: ignore[dict-item]
    with pytest.raises(Misuse) as wrong:
        build(spec, spec.analysis[0]).local(one, genesis(spec))
    assert wrong.value.code == "layout.out_of_range"


def test_it_sums_two_counts_per_group_and_bin_in_one_round() -> None:
    spec = lung_spec()
    layout = build(spec, spec.analysis[0]).layout(spec, genesis(spec))
    assert layout.length(value_bits(layout.fields, 4)) == 2 * 2 * 37
    assert not any(block.signed for block in layout.blocks)


def test_without_groups_there_is_one_curve() -> None:
    spec = lung_spec(**{'event = "death"\nby = "sex"\n\n': 'event = "death"\n\n'})
    result = results(spec, run_study(spec, lung_tables()))["curves"]
    assert [curve["group"] for curve in result["curves"]] == ["all"]
    assert result["curves"][0]["n"] == 98
