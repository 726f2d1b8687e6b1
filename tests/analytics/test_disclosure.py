"""Each rule of the floor against somebody who tries to get below it."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.disclosure import (
    Floor,
    check_cells,
    check_difference,
    check_fixed_set,
    check_label,
    check_parameters,
    check_result,
    check_rows,
    check_sites,
    merge_bins,
)
from analytics.registry import results
from consilium_errors import Misuse, Refused
from tests.analytics.data import run_study
from tests.analytics.survival import lung_spec, lung_tables

FLOOR = Floor()


def refused(code: str, rule: Any, *arguments: Any) -> None:
    with pytest.raises(Refused) as error:
        rule(*arguments)
    assert error.value.code == f"disclosure.{code}"


def test_two_sites_learn_each_other_by_subtraction() -> None:
    check_sites(3, FLOOR)
    refused("min_sites", check_sites, 2, FLOOR)
    refused("min_sites", check_sites, 3, Floor(min_sites=4))


@pytest.mark.parametrize(
    "setting",
    [
        {"min_sites": 2},
        {"min_rows": 0},
        {"min_cell": 0},
        {"min_difference": 0},
        {"max_params_per_row": Fraction(0)},
    ],
)
def test_no_setting_goes_below_the_least(setting: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        Floor(**setting)


def test_a_site_with_few_rows_stays_out() -> None:
    check_rows(15, FLOOR)
    refused("min_rows", check_rows, 14, FLOOR)


@pytest.mark.parametrize("counts", [[5, 4], [0, 9], [[7, 8], [9, -1]], [], 4])
def test_a_small_or_empty_cell_is_not_released(counts: Any) -> None:
    refused("min_cell", check_cells, counts, 5)


def test_cells_of_the_floor_are() -> None:
    check_cells([[5, 6], [7, 5]], 5)
    check_cells(5, 5)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 9))
def test_merged_bins_cover_everything_and_hold_enough(exits: list[int], floor: int) -> None:
    if sum(exits) < floor:
        refused("min_cell", merge_bins, exits, floor)
        return
    ranges = merge_bins(exits, floor)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(exits)
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    assert all(sum(exits[start:end]) >= floor for start, end in ranges)
    # No cell but the last is wider than it needs to be.
    assert all(sum(exits[start : end - 1]) < floor for start, end in ranges[:-1])


def versions(*rows: int) -> np.ndarray:
    return np.array(rows, dtype=np.int32)


def test_the_difference_of_two_cohorts_shows_no_patient() -> None:
    everybody = np.ones(40, np.int32)
    for gone in range(1, 5):
        fewer = everybody.copy()
        fewer[:gone] = 0
        refused("difference", check_difference, fewer, [everybody], 5)
        refused("difference", check_difference, everybody, [fewer], 5)
    fewer = everybody.copy()
    fewer[:5] = 0
    check_difference(fewer, [everybody], 5)
    check_difference(everybody, [everybody], 5)
    check_difference(everybody, [], 5)


def test_a_corrected_row_is_a_difference() -> None:
    before, after = np.ones(40, np.int32), np.ones(40, np.int32)
    after[7] = 2
    refused("difference", check_difference, after, [before], 5)


def test_a_swap_of_two_patients_counts_both() -> None:
    a, b = versions(*[1] * 20, 0, 0, 0), versions(*[0] * 3, *[1] * 20)
    check_difference(a, [b], 5)
    refused("difference", check_difference, a, [b], 7)


def test_patients_who_came_later_count() -> None:
    before = np.ones(40, np.int32)
    refused("difference", check_difference, np.ones(44, np.int32), [before], 5)
    check_difference(np.ones(45, np.int32), [before], 5)


def test_every_earlier_cohort_is_looked_at() -> None:
    near, far = np.ones(40, np.int32), np.zeros(40, np.int32)
    now = near.copy()
    now[0] = 0
    refused("difference", check_difference, now, [far, near, far], 5)


def test_leaving_a_site_out_shows_that_site() -> None:
    check_fixed_set({b"a", b"b", b"c"}, [b"c", b"b", b"a"], FLOOR)
    refused("fixed_set", check_fixed_set, {b"a", b"b", b"c", b"d"}, {b"a", b"b", b"c"}, FLOOR)
    refused("fixed_set", check_fixed_set, {b"a", b"b", b"c"}, {b"a", b"b", b"c", b"d"}, FLOOR)
    check_fixed_set({b"a", b"b", b"c", b"d"}, {b"a", b"b", b"c"}, Floor(leave_site_out=True))


def test_a_saturated_regression_is_not_released() -> None:
    check_parameters(33, 100, FLOOR)
    refused("parameters", check_parameters, 34, 100, FLOOR)


@pytest.mark.parametrize("label", [{"mode": "exact"}, {"mode": "dp", "epsilon": 1.5, "delta": 1e-6}])
def test_a_label_that_tells(label: dict[str, Any]) -> None:
    check_label(label)


@pytest.mark.parametrize(
    "label",
    [
        {},
        {"mode": "private"},
        {"mode": "exact", "epsilon": 0, "delta": 0},
        {"mode": "dp"},
        {"mode": "dp", "epsilon": 0, "delta": 1e-6},
        {"mode": "dp", "epsilon": float("nan"), "delta": 1e-6},
        {"mode": "dp", "epsilon": float("inf"), "delta": 1e-6},
        {"mode": "dp", "epsilon": 1, "delta": 1},
        {"mode": "dp", "epsilon": "1", "delta": 0},
    ],
)
def test_a_label_that_does_not(label: dict[str, Any]) -> None:
    refused("label", check_label, label)


def released() -> dict[str, Any]:
    spec = lung_spec()
    return results(spec, run_study(spec, lung_tables()))


def test_honest_results_pass_the_last_look() -> None:
    for result in released().values():
        check_result(result, 4, FLOOR)


def test_the_last_look_refuses_what_somebody_cut_finer() -> None:
    honest = released()
    refused("min_sites", check_result, honest["curves"], 2, FLOOR)
    refused("label", check_result, {**honest["test"], "mode": None}, 4, FLOOR)
    # The study released to 5 while this hospital's own floor is higher.
    refused("min_cell", check_result, honest["curves"], 4, Floor(min_cell=6))
    refused("min_cell", check_result, honest["test"], 4, Floor(min_cell=36))
    cells = honest["curves"]["curves"][1]["cells"]
    cells[2] = {**cells[2], "deaths": 1, "censored": 0}
    refused("min_cell", check_result, honest["curves"], 4, FLOOR)


def test_the_last_look_at_a_regression() -> None:
    result = {"kind": "logistic", "mode": "exact", "n": 90, "terms": [{}] * 30}
    refused("parameters", check_result, result, 4, FLOOR)
    check_result({**result, "n": 91}, 4, FLOOR)
    refused("min_cell", check_result, {"kind": "moments", "mode": "exact", "n": 4}, 4, FLOOR)
