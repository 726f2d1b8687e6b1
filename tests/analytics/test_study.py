from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.study import StudySpec, tagged_sha256
from consilium_errors import Hostile, Misuse
from protos.digests import tagged
from tests.analytics.data import EXAMPLES

LUNG = (EXAMPLES / "lung" / "study.toml").read_text()
SPEC = StudySpec.load(LUNG)
CANONICAL = SPEC.canonical()


def lines(text: str) -> list[str]:
    with pytest.raises(Misuse) as caught:
        StudySpec.load(text)
    assert caught.value.code == "study.invalid"
    assert caught.value.remedy
    return str(caught.value).splitlines()


def changed(old: str, new: str) -> str:
    assert old in LUNG
    return LUNG.replace(old, new, 1)


@pytest.mark.parametrize("name", ["lung", "breast_cancer"])
def test_examples_are_valid_and_their_plans_are_the_approved_ones(name: str) -> None:
    folder = EXAMPLES / name
    spec = StudySpec.load(folder / "study.toml")
    assert spec.protocol.plan_sha256 == hashlib.sha256((folder / "plan.md").read_bytes()).hexdigest()
    assert spec.sum == "fhe"
    assert len(spec.sites) == 4


# the canonical form -------------------------------------------------------------------------------------


def test_canonical_is_rfc8785_and_comes_back() -> None:
    assert rfc8785.dumps(json.loads(CANONICAL)) == CANONICAL
    again = StudySpec.from_canonical(CANONICAL)
    assert again == SPEC
    assert again.canonical() == CANONICAL


def test_the_hash_is_the_protocols_tag_over_the_canonical_form() -> None:
    assert SPEC.spec_hash == tagged("spec", CANONICAL)
    assert tagged_sha256("a", b"", b"bc") == tagged("a", b"", b"bc") != tagged("a", b"b", b"c")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('max_missing = "0.10"', 'max_missing = "0.1"'),
        ("grid = 30", 'grid = "30.0"'),
        ("sites =", "\n\nsites   ="),
        ("window_s = 3600", ""),
        (", commercial = false", ""),
    ],
)
def test_spelling_does_not_change_the_hash(old: str, new: str) -> None:
    assert StudySpec.load(changed(old, new)).spec_hash == SPEC.spec_hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("grid = 30", "grid = 31"),
        ('"h01", "h12"', '"h12", "h01"'),
        ("commercial = false", "commercial = true"),
        ("min_cell = 5", "min_cell = 6"),
        ("age >= 18", "age >= 19"),
        ("collusion = 1", "collusion = 0"),
        ("row_cap = 1000", "row_cap = 1001"),
    ],
)
def test_every_meaning_changes_the_hash(old: str, new: str) -> None:
    assert StudySpec.load(changed(old, new)).spec_hash != SPEC.spec_hash


@given(st.integers(0, len(CANONICAL) - 1), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_a_flipped_byte_is_refused_or_another_study(at: int, flip: int) -> None:
    forged = CANONICAL[:at] + bytes([CANONICAL[at] ^ flip]) + CANONICAL[at + 1 :]
    try:
        spec = StudySpec.from_canonical(forged)
    except Hostile:
        return
    assert spec.canonical() == forged
    assert spec.spec_hash != SPEC.spec_hash


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"NaN",
        b"\xff",
        CANONICAL + b" ",
        b" " + CANONICAL,
        CANONICAL[:-1],
        CANONICAL.replace(b'"grid":"30"', b'"grid":30'),
        CANONICAL.replace(b'"grid":"30"', b'"grid":"30.0"'),
        CANONICAL.replace(b'"id":"lung-os"', b'"id":"lung-os","id":"lung-os"'),
        CANONICAL.replace(b'"row_cap":1000', b'"row_cap":1e3'),
        CANONICAL.replace(b'"mode":"exact"', b'"mode":"dp"'),
        CANONICAL.replace(b'"privacy":null,', b""),
        CANONICAL.replace(b'"privacy":null', b'"privacy":null,"extra":1'),
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b" " * (1 << 21),
    ],
)
def test_what_is_not_the_canonical_form_is_hostile(forged: bytes) -> None:
    assert forged != CANONICAL
    with pytest.raises(Hostile) as caught:
        StudySpec.from_canonical(forged)
    assert caught.value.code == "study.malformed"


@given(st.binary(max_size=100))
def test_noise_is_hostile(noise: bytes) -> None:
    with pytest.raises(Hostile):
        StudySpec.from_canonical(noise)


# errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"consilium.study/1"', '"consilium.study/2"', "schema: "),
        ('id = "lung-os"', 'id = "Lung OS"', "id: is not in the expected form"),
        ('id = "lung-os"', "", "id: is missing; add it"),
        ("min_sites = 3", "min_sites = 2", "min_sites: "),
        ("min_sites = 3", 'min_sites = "3"', "min_sites: "),
        ("min_sites = 3", "min_sites = true", "min_sites: "),
        ("min_sites = 3", "min_sites = 5", "min_sites: is 5, but only 4 sites take part"),
        ("collusion = 1", "collusion = 2", "collusion: "),
        ('"h01", "h12", "h13", "h03"', '"h01", "h12"', "sites: "),
        ('"h01", "h12"', '"h01", "h01"', "sites: something stands twice in this list"),
        ('sum = "fhe"', 'sum = "plain"', "sum: "),
        ("row_cap = 1000", "row_cap = 0", "row_cap: "),
        ("row_cap = 1000", "row_cap = 1000\nrow_limit = 1", "row_limit: unknown key; remove it"),
        ('"DUO:0000007"', '"DUO:7"', "purpose.duo: is not in the expected form"),
        ("min_cell = 5", "min_cells = 5", "release.min_cells: unknown key"),
        ('mode = "exact"', 'mode = "raw"', "release.mode: "),
        ('max_missing = "0.10"', "max_missing = 0.10", "cohort.max_missing: write the number"),
        ('max_missing = "0.10"', 'max_missing = "1.5"', "cohort.max_missing: is a share"),
        ('max_missing = "0.10"', 'max_missing = "1e-1"', "cohort.max_missing: expected a plain decimal"),
        ('max_missing = "0.10"', 'max_missing = "-0.1"', "cohort.max_missing: must not be negative"),
        ("age >= 18", "height >= 18", "cohort.include: height is not a variable"),
        ("[18, 110]", "[110, 18]", "variables.age.range: the lower end must be below"),
        ("[18, 110]", "[18.5, 110]", "variables.age.range[0]: write the number"),
        ("[18, 110]", "[18]", "variables.age.range"),
        ("scale = 10", "scale = 0", "variables.age: scale must be above 0"),
        ("centre = 60", "centre = 160", "variables.age: centre must lie in the range"),
        ("[1, 1100]", "[-1, 1100]", "variables.time: a duration cannot be negative"),
        (", grid = 30", "", "analysis[0].time: time has no grid"),
        ('reference = "male"', 'reference = "other"', "variables.sex: reference must be one of the levels"),
        ('["male", "female"]', '["male", "male"]', "variables.sex.levels: something stands twice"),
        ('kind = "event"', 'kind = "incident"', "variables.death: "),
        ('kind = "event"', 'label = "x"', "variables.death: has no kind; add it"),
        ('kind = "logrank"', 'kind = "log-rank"', "analysis[1]: "),
        ('id = "test"', 'id = "curves"', "analysis[1].id: curves is already the name"),
        ('by = "sex"', 'by = "gender"', "analysis[0].by: gender is not a variable of this study"),
        ('by = "sex"', 'by = "age"', "analysis[0].by: age is of kind number, expected category"),
        ('event = "death"', 'event = "sex"', "analysis[0].event: sex is of kind category, expected event"),
        ('strata = "site"', 'strata = "age"', "analysis[1].strata: "),
        ('strata = "site"', 'stratum = "site"', "analysis[1].stratum: unknown key"),
    ],
)
def test_errors_name_the_field(old: str, new: str, expected: str) -> None:
    found = lines(changed(old, new))
    assert any(line.startswith(expected) for line in found), found


def test_all_errors_are_listed_at_once() -> None:
    text = (
        changed("min_sites = 3", "min_sites = 1")
        .replace("row_cap = 1000", "")
        .replace("[18, 110]", "[18, 3.5]")
    )
    found = [line.split(":")[0] for line in lines(text)]
    assert found == ["min_sites", "row_cap", "variables.age.range[1]"]
    text = (
        changed("collusion = 1", "collusion = 3")
        .replace("age >= 18", "age >=")
        .replace('by = "sex"', 'by = "age"')
    )
    found = [line.split(":")[0] for line in lines(text)]
    assert found == ["collusion", "cohort.include", "analysis[0].by", "analysis[1].by"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ('kind = "moments"\ncolumns = ["sex"]', "columns: sex is of kind category"),
        ('kind = "moments"\ncolumns = []', "columns: "),
        (
            'kind = "logistic"\noutcome = "age"\nterms = ["sex"]',
            "outcome: age is of kind number, expected event",
        ),
        ('kind = "logistic"\noutcome = "death"\nterms = ["death"]', "terms: death is the outcome"),
        (
            'kind = "logistic"\noutcome = "death"\nterms = ["age"]\nridge = "-1"',
            "ridge: must not be negative",
        ),
        (
            'kind = "logistic"\noutcome = "death"\nterms = ["age"]\nstandardise = "curves"',
            "standardise: curves is not",
        ),
        (
            'kind = "logistic"\noutcome = "death"\nterms = ["age"]\nstandardise = "later"',
            "standardise: later is not",
        ),
        ('kind = "network"\noutcome = "death"\nterms = ["age"]', "rounds: is missing"),
        (
            'kind = "network"\noutcome = "death"\nterms = ["age"]\nrounds = 1\nrate = 0.1',
            "rate: write the number",
        ),
    ],
)
def test_models_must_fit_the_vocabulary(entry: str, expected: str) -> None:
    found = lines(f'{LUNG}\n[[analysis]]\nid = "model"\n{entry}\n')
    assert any(line.startswith(f"analysis[2].{expected}") for line in found), found


def test_standardising_needs_every_number_measured() -> None:
    more = '\n[[analysis]]\nid = "m"\nkind = "moments"\ncolumns = ["time"]\n'
    more += '[[analysis]]\nid = "r"\nkind = "logistic"\noutcome = "death"\n'
    more += 'terms = ["age", "sex"]\nstandardise = "m"\n'
    assert lines(LUNG + more) == ["analysis[3].standardise: m does not measure age; add it to its columns"]
    StudySpec.load(LUNG + more.replace('["time"]', '["age"]'))


def test_what_cannot_be_read_is_a_misuse(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    for source in (tmp_path / "absent.toml", tmp_path / "latin", tmp_path, "not toml", "a = " + "[" * 5000):
        with pytest.raises(Misuse) as caught:
            StudySpec.load(source)
        assert caught.value.code == "study.invalid"


def test_a_study_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        SPEC.row_cap = 5  # type: ignore[misc]


def test_the_rule_is_that_of_the_file() -> None:
    rule = SPEC.inclusion
    assert rule is not None
    assert rule.text == "age >= 18"
