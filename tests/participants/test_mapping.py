from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from consilium_errors import Misuse, Refused
from examples.make_tables import LUNG_INSTITUTIONS, make
from participants import units
from participants.config import HospitalConfig
from participants.data_cli import app
from participants.mapping import map_rows, profile
from participants.sources import read
from tests.analytics.data import breast_spec, breast_table
from tests.analytics.survival import lung_frame
from tests.participants.hospitals import EXAMPLES, HOSPITAL, hospital, lines, lung

Edit = Callable[[list[list[object]]], Any]


def put(row: int, column: int, value: object) -> Edit:
    def edit(rows: list[list[object]]) -> None:
        rows[row][column] = value

    return edit


def mapped(folder: Path, *edits: Edit, count: int = 60, text: str = HOSPITAL, **replaced: str) -> Any:
    rows = lines(count)
    for edit in edits:
        edit(rows)
    config = hospital(folder, rows, text)
    return map_rows(read(config), config, lung(**replaced))


def test_units_codes_and_categories(tmp_path: Path) -> None:
    found = mapped(tmp_path)
    rows = lines(60)
    assert found.table.n == 60
    assert found.table.numbers["time"].tolist() == [row[1] * 7 for row in rows]  # type: ignore[operator]
    assert found.table.numbers["age"].tolist() == [row[3] for row in rows]
    assert found.table.codes["death"].tolist() == [int(row[2] == "dead") for row in rows]
    assert found.table.codes["sex"].tolist() == ["MF".index(str(row[4])) for row in rows]
    assert found.kept.tolist() == list(range(60))


@pytest.mark.parametrize("value", ["D", "Dead", "0", "dead?"])
def test_an_unmapped_value_stops_it_and_is_counted_but_not_told(tmp_path: Path, value: str) -> None:
    with pytest.raises(Misuse) as wrong:
        mapped(tmp_path, put(3, 2, value), put(9, 2, value))
    assert wrong.value.code == "mapping.unmapped"
    assert "columns.death: 2 rows" in str(wrong.value)
    assert value not in str(wrong.value).replace("columns.death", "").split()


@pytest.mark.parametrize("value", ["sixty", "60 a", "6,0", "nan", "inf", "1e999", "0x10", "１２"])
def test_what_is_no_plain_number_is_unmapped(tmp_path: Path, value: str) -> None:
    with pytest.raises(Misuse) as wrong:
        mapped(tmp_path, put(3, 3, value))
    assert wrong.value.code == "mapping.unmapped"


@pytest.mark.parametrize("value", ["", None, -9, "-9.0", 999, "999"])
def test_missing_codes_and_gaps_drop_the_row(tmp_path: Path, value: object) -> None:
    found = mapped(tmp_path, put(3, 3, value))
    assert found.table.n == 59
    assert 3 not in found.kept
    assert found.profile.missing["age"] == 1
    assert found.profile.dropped == 1


@pytest.mark.parametrize(("column", "value", "name"), [(3, 111, "age"), (1, 158, "time"), (1, 0, "time")])
def test_out_of_range_is_dropped_and_not_clipped(
    tmp_path: Path, column: int, value: object, name: str
) -> None:
    found = mapped(tmp_path, put(3, column, value))
    assert found.profile.outside[name] == 1
    assert 3 not in found.kept
    low, high = lung().variables[name].range  # type: ignore[union-attr]
    assert found.table.numbers[name].min() >= low
    assert found.table.numbers[name].max() <= high


def test_too_many_gaps_are_refused(tmp_path: Path) -> None:
    six = [put(i, 3, "") for i in range(3)] + [put(i, 1, 500) for i in range(3, 6)]
    assert mapped(tmp_path, *six).table.n == 54
    with pytest.raises(Refused) as refused:
        mapped(tmp_path, *six, put(6, 3, ""))
    assert refused.value.code == "mapping.max_missing"


def test_who_is_not_of_the_cohort_does_not_count_as_missing(tmp_path: Path) -> None:
    young = [put(i, 3, 12) for i in range(20)]
    found = mapped(tmp_path, *young, *(put(i, 1, "") for i in range(20)))
    assert found.profile.excluded == 20
    assert found.profile.dropped == 0
    assert found.profile.outside["age"] == 0
    assert found.table.n == found.profile.cohort == 40


def test_who_cannot_be_judged_counts_as_missing(tmp_path: Path) -> None:
    found = mapped(tmp_path, put(0, 3, ""), put(1, 3, 12))
    assert (found.profile.excluded, found.profile.dropped, found.table.n) == (1, 1, 58)


def test_a_rule_on_a_category_does_not_ask_for_other_variables(tmp_path: Path) -> None:
    rule = {'include = "age >= 18"': "include = 'sex == \"female\"'"}
    found = mapped(tmp_path, put(0, 3, ""), put(1, 3, ""), **rule)  # row 0 is a man
    assert (found.profile.excluded, found.profile.dropped, found.table.n) == (30, 1, 29)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("[columns.age]", "[columns.years]", "mapping.column"),
        ('unit = "a"', 'unit = "kg"', "units.dimension"),
        ('unit = "a"\n', "", "mapping.unit"),
        ("dead = 1", "dead = 2", "mapping.map"),
        ('M = "male"', 'M = "man"', "mapping.map"),
        ('unit = "a"', 'map = { 1 = "1" }', "mapping.map"),
        ('map = { dead = 1, alive = 0 }', 'unit = "d"', "mapping.map"),
    ],
)  # fmt: skip
def test_a_mapping_that_does_not_fit_the_study(tmp_path: Path, old: str, new: str, code: str) -> None:
    assert old in HOSPITAL
    with pytest.raises(Misuse) as wrong:
        mapped(tmp_path, text=HOSPITAL.replace(old, new))
    assert wrong.value.code == code


def test_the_profile_counts_faults_instead_of_stopping(tmp_path: Path) -> None:
    rows = lines(60)
    rows[1][4] = rows[2][4] = "X"
    rows[3][1] = 5000
    config = hospital(tmp_path, rows)
    found = profile(read(config), config, lung())
    assert found.unmapped == {"sex": {"X": 2}}
    assert found.outside["time"] == 1
    assert (found.kept, found.dropped) == (57, 3)
    with pytest.raises(Misuse):
        found.check()


# units -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (3, "wk", "d", 21),
        (1, "mo", "d", 30.4375),
        (2, "a", "d", 730.5),
        (888, "mo", "a", 74),
        (24528, "h", "d", 1022),
        (1800, "mm", "m", 1.8),
        (12.5, "g/dL", "g/L", 125),
        (100, "mm[Hg]", "kPa", 13.3322387415),
        (37, "%", "1", 0.37),
    ],
)
def test_conversions(value: float, source: str, target: str, expected: float) -> None:
    assert units.convert(np.array([float(value)]), source, target)[0] == pytest.approx(expected, rel=1e-15)


@given(st.sampled_from(sorted(units.UNITS)), st.sampled_from(sorted(units.UNITS)))
def test_factors_are_inverse_or_refused(a: str, b: str) -> None:
    if units.UNITS[a][0] != units.UNITS[b][0]:
        with pytest.raises(Misuse):
            units.factor(a, b)
    else:
        assert units.factor(a, b) * units.factor(b, a) == Fraction(1)


def test_whole_days_stay_whole_from_hours_minutes_and_weeks() -> None:
    days = np.arange(1, 4000, dtype=np.float64)
    for unit, many in (("h", 24), ("min", 1440)):
        assert (units.convert(days * many, unit, "d") == days).all()
    assert (units.convert(days, "wk", "d") == days * 7).all()


# the demo's hospitals --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    return make(tmp_path_factory.mktemp("demo"))


def test_the_lung_hospitals_hold_the_very_rows_of_lifelines(demo: dict[str, dict[str, Path]]) -> None:
    spec, frame = lung(), lung_frame()
    assert set(demo["lung"]) == set(spec.sites)
    for site, path in demo["lung"].items():
        config = HospitalConfig.load(path)
        found = map_rows(read(config), config, spec).table
        part = frame[frame["inst"] == LUNG_INSTITUTIONS[site]]
        expected = sorted(zip(part["time"], part["age"], part["sex"] - 1, part["status"], strict=True))
        numbers = (found.numbers["time"], found.numbers["age"])
        assert sorted(zip(*numbers, found.codes["sex"], found.codes["death"], strict=True)) == expected


def test_the_breast_hospitals_hold_the_very_rows_of_scikit_learn(demo: dict[str, dict[str, Path]]) -> None:
    spec, whole = breast_spec(), breast_table()
    assert set(demo["breast_cancer"]) == set(spec.sites)
    tables = []
    for path in demo["breast_cancer"].values():
        config = HospitalConfig.load(path)
        tables.append(map_rows(read(config), config, spec).table)
    names = list(whole.numbers)

    def rows(numbers: Any, codes: Any) -> list[list[float]]:
        return np.column_stack([*(numbers[n] for n in names), codes["malignant"]]).tolist()

    together = [row for t in tables for row in rows(t.numbers, t.codes)]
    assert sorted(together) == sorted(rows(whole.numbers, whole.codes))
    sizes, shares = [t.n for t in tables], [t.codes["malignant"].mean() for t in tables]
    assert max(sizes) > 3 * min(sizes)
    assert max(shares) > 2 * min(shares) > 0


def test_the_files_are_the_same_each_time(demo: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    for study, sites in make(tmp_path).items():
        for site, path in sites.items():
            for file in path.parent.iterdir():
                assert file.read_bytes() == (demo[study][site].parent / file.name).read_bytes()


# command line ----------------------------------------------------------------------------------------


def run(folder: Path, command: str) -> Any:
    study = str(EXAMPLES / "lung" / "study.toml")
    return CliRunner().invoke(app, [command, str(folder / "hospital.toml"), study])


def test_check_says_usable_and_profile_shows_values(tmp_path: Path) -> None:
    hospital(tmp_path, lines(60))
    checked = run(tmp_path, "check")
    assert checked.exit_code == 0, checked.output
    assert "usable" in checked.output
    shown = run(tmp_path, "profile")
    assert shown.exit_code == 0
    assert "male 30, female 30" in shown.output


def test_check_shows_the_unmapped_values_at_home_and_fails(tmp_path: Path) -> None:
    rows = lines(60)
    rows[1][4] = rows[2][4] = "[X]"
    hospital(tmp_path, rows)
    checked = run(tmp_path, "check")
    assert checked.exit_code == 1
    assert "'[X]' ×2" in checked.output
    assert "mapping.unmapped" in checked.output
    assert run(tmp_path, "profile").exit_code == 1


def test_check_fails_below_the_floor(tmp_path: Path) -> None:
    hospital(tmp_path, lines(14))
    checked = run(tmp_path, "check")
    assert checked.exit_code == 1
    assert "disclosure.min_rows" in checked.output
