from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lifelines.statistics import multivariate_logrank_test
from statsmodels.duration.survfunc import survdiff

from analytics.layout import value_bits
from analytics.logrank import observed_minus_expected
from analytics.registry import build, genesis, results
from analytics.table import Table
from consilium_errors import Refused
from tests.analytics.data import run_study
from tests.analytics.survival import lung_spec, lung_tables, made_up

THREE = {
    'levels = ["male", "female"], reference = "male"': 'levels = ["a", "b", "c"]',
}


def logrank_of(tables: list[Table], **replaced: str) -> dict[str, Any]:
    spec = lung_spec(**replaced)
    found: dict[str, Any] = results(spec, run_study(spec, tables))["test"]
    return found


def stacked(tables: list[Table]) -> tuple[np.ndarray, ...]:
    site = np.concatenate([np.full(t.n, i) for i, t in enumerate(tables)])
    columns = [np.concatenate([t.codes[c] for t in tables]) for c in ("death", "sex")]
    return (np.concatenate([t.numbers["time"] for t in tables]), *columns, site)


@pytest.mark.parametrize(
    ("tables", "replaced"),
    [
        (lung_tables(), {}),
        (made_up(1), {}),
        (made_up(2, sites=3, rows=300), {}),
        (made_up(4, groups=3), THREE),
    ],
)
def test_it_is_that_of_statsmodels_stratified_by_site(tables: list[Table], replaced: dict[str, str]) -> None:
    result = logrank_of(tables, **replaced)
    time, died, group, site = stacked(tables)
    chi2, p = survdiff(time, died, group, strata=site)
    assert result["chi2"] == pytest.approx(chi2, rel=1e-9)
    assert result["p"] == pytest.approx(p, rel=1e-9)
    assert result["df"] == len(set(group)) - 1
    assert [g["observed"] for g in result["groups"]] == np.bincount(group[died == 1]).tolist()
    assert sum(g["expected"] for g in result["groups"]) == pytest.approx(died.sum(), abs=1e-9)
    assert (result["mode"], result["times"], result["strata"]) == ("exact", "exact, within each site", "site")


def test_strata_matter() -> None:
    time, died, group, _ = stacked(lung_tables())
    assert logrank_of(lung_tables())["chi2"] != pytest.approx(survdiff(time, died, group)[0], rel=1e-3)


def test_one_stratum_is_that_of_lifelines() -> None:
    table = made_up(5, sites=1, rows=500, groups=3)[0]
    time, died, group = table.numbers["time"], table.codes["death"] == 1, table.codes["sex"]
    difference, covariance = observed_minus_expected(time, died, group, 3)
    reference = multivariate_logrank_test(time, group, died)
    chi2 = difference[:2] @ np.linalg.solve(covariance[:2, :2], difference[:2])
    assert chi2 == pytest.approx(reference.test_statistic, rel=1e-9)


def test_the_order_of_rows_does_not_matter() -> None:
    table = made_up(6, sites=1)[0]
    turned = np.random.default_rng(0).permutation(table.n)
    arguments = (table.numbers["time"], table.codes["death"] == 1, table.codes["sex"])
    straight = observed_minus_expected(*arguments, 2)
    mixed = observed_minus_expected(*(a[turned] for a in arguments), 2)
    for a, b in zip(straight, mixed, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_a_site_without_deaths_or_with_one_group_adds_nothing_wrong() -> None:
    tables = made_up(7)
    quiet = Table(
        tables[0].numbers, {**tables[0].codes, "death": np.zeros(tables[0].n, np.int64)}, tables[0].n
    )
    men = tables[1].where(tables[1].codes["sex"] == 0)
    mixed = [quiet, men, *tables[2:]]
    time, died, group, site = stacked(mixed)
    # statsmodels cannot take a stratum with one group; such a stratum holds no information.
    told = site >= 2
    chi2, _ = survdiff(time[told], died[told], group[told], strata=site[told])
    assert logrank_of(mixed)["chi2"] == pytest.approx(chi2, rel=1e-9)


def test_groups_that_never_meet_at_a_site_cannot_be_compared() -> None:
    tables = [t.where(t.codes["sex"] == i % 2) for i, t in enumerate(made_up(8))]
    with pytest.raises(Refused) as refused:
        only_logrank(tables)
    assert refused.value.code == "logrank.singular"


def test_a_group_below_the_floor_is_not_released() -> None:
    tables = made_up(9)
    few = [t.where((t.codes["sex"] == 0) | (np.cumsum(t.codes["sex"] == 1) <= 1)) for t in tables]
    assert sum(int((t.codes["sex"] == 1).sum()) for t in few) < 5
    with pytest.raises(Refused) as refused:
        only_logrank(few)
    assert refused.value.code == "disclosure.min_cell"


def only_logrank(tables: list[Table]) -> dict[str, Any]:
    """As `logrank_of`, without the curves' own rules in the way."""
    spec = lung_spec()
    result: dict[str, Any] = build(spec, spec.analysis[1]).result(run_study(spec, tables))
    return result


def test_rounding_to_the_grid_is_below_1e_11() -> None:
    spec, tables = lung_spec(), lung_tables()
    analysis = build(spec, spec.analysis[1])
    layout = analysis.layout(spec, genesis(spec))
    bits = value_bits(layout.fields, len(tables))
    total = sum(layout.encode(analysis.local(t, genesis(spec)), bits) for t in tables)
    opened = layout.decode(total, len(tables), bits)  # type: ignore[arg-type]
    exact = sum(np.asarray(analysis.local(t, genesis(spec))["difference"]) for t in tables)
    assert np.abs(opened["difference"].astype(float) / 2**40 - exact).max() < 1e-11
