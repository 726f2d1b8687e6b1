"""What a person is told before a decision: every analysis, column, cost and objection."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from analytics.study import StudySpec
from participants.config import HospitalConfig
from participants.mapping import Profile
from participants.review_text import Asked, page
from tests.conftest import tiny_spec

EXAMPLES = Path(__file__).parents[2] / "examples"

HOSPITAL = """
schema = "consilium.hospital/1"
site = "h12"
[source]
kind = "csv"
path = "x.csv"
patient_id = "mrn"
[columns.time]
from = "os_months"
unit = "mo"
[columns.sex]
from = "SEX"
map = { M = "male", F = "female" }
[policy]
purposes = ["DUO:0000007"]
[budget]
exact_releases_per_year = 7
"""


def told(spec: StudySpec, **how: object) -> str:
    config = HospitalConfig.load(HOSPITAL)
    profile = Profile("h12", 100, 7, {}, {}, {}, 3, 90, Fraction(1, 10))
    facts: dict[str, object] = {
        "state": "waiting",
        "sponsor": "0xabc",
        "peers": ["h01", "h03"],
        "config": config,
        "profile": profile,
        "objections": [],
        "opened": 2,
    }
    return page(Asked(spec=spec, **(facts | how)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["lung", "breast_cancer"])
def test_every_analysis_and_variable_is_told(name: str) -> None:
    spec = StudySpec.load(EXAMPLES / name / "study.toml")
    text = told(spec)
    for entry in spec.analysis:
        assert f"- {entry.id}: " in text
    for variable in spec.variables:
        assert f"- {variable} (" in text
    assert spec.protocol.ethics in text


def test_the_survival_study_in_plain_words() -> None:
    text = told(StudySpec.load(EXAMPLES / "lung" / "study.toml"))
    assert "research into one disease (DUO:0000007, MONDO:0004992), not commercial" in text
    assert "survival curve of time until death by sex, in bins of 30 d" in text
    assert "log-rank test of time until death by sex, by site" in text
    assert "time (time in d since enrolment) from os_months" in text
    assert "age (number in a) from no column of yours" in text
    assert "patients: age >= 18" in text
    assert "of 100 rows here 90 are used, 7 are not asked for, 3 have gaps" in text
    assert "2 exact releases (no noise is added); 2 of your 7 a year are used" in text
    assert "no sum of fewer than 3 hospitals" in text
    assert "nothing: your rules allow it" in text


def test_what_stands_against_it_is_told_instead() -> None:
    text = told(tiny_spec(), objections=["the study is commercial [policy.commercial]"])
    assert "policy.commercial" in text
    assert "nothing: your rules" not in text


def test_sums_in_the_clear_are_not_called_encrypted() -> None:
    text = told(tiny_spec(sum_="clear"))
    assert "readable by the coordinator" in text
    assert "encrypted" not in text


def test_a_study_without_a_dataset_still_has_a_page() -> None:
    text = told(tiny_spec(), config=None, profile=None, objections=["no dataset [dataset.none]"])
    assert "dataset.none" in text
    assert "of yours" in text
