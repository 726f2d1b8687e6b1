from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilium_errors import Misuse
from participants.config import FileSource, HospitalConfig, PostgresqlSource
from tests.participants.hospitals import HOSPITAL

PRODUCT = """
schema = "consilium.hospital/1"
site = "h12"
[source]
kind = "postgresql"
url = "env:CONSILIUM_DB"
relation = "research.lung_v3"
patient_id = "mrn"
[columns.time]
from = "os_months"
unit = "mo"
[columns.death]
from = "vital"
map = { dead = 1, alive = 0 }
[columns.age]
from = "age"
unit = "a"
missing = [-9, 999]
[columns.ecog]
from = "ecog"
map = { 0 = "0", 1 = "1", 2 = "2+", 3 = "2+", 4 = "2+" }
[policy]
purposes = ["DUO:0000007"]
diseases = ["MONDO:0004992"]
commercial = false
sums = ["fhe", "mpc"]
approve = "manual"
[disclosure]
min_sites = 3
min_rows = 15
min_cell = 5
max_params_per_row = "0.33"
min_difference = 5
leave_site_out = false
[budget]
exact_releases_per_year = 20
epsilon = "8"
delta = "1e-6"
"""


def faults(text: str) -> str:
    with pytest.raises(Misuse) as wrong:
        HospitalConfig.load(text)
    assert wrong.value.code == "config.invalid"
    assert wrong.value.remedy
    return str(wrong.value)


def test_the_documented_file_is_read() -> None:
    config = HospitalConfig.load(PRODUCT)
    assert isinstance(config.source, PostgresqlSource)
    assert config.columns["ecog"].map == {"0": "0", "1": "1", "2": "2+", "3": "2+", "4": "2+"}
    assert config.disclosure.floor.max_params_per_row == Fraction("0.33")
    assert config.budget.delta * 10**6 == 1
    assert config.policy.min_trusted == 2


def test_silence_means_the_careful_choice() -> None:
    config = HospitalConfig.load(HOSPITAL)
    assert config.policy.sums == ("fhe",)
    assert config.policy.approve == "manual"
    assert not config.policy.commercial
    assert not config.disclosure.leave_site_out
    assert config.disclosure.min_sites == 3


@pytest.mark.parametrize(
    ("old", "new", "path", "remedy"),
    [
        ('site = "h01"', 'site = "h01"\ncolour = "red"', "colour:", "unknown key"),
        ('unit = "wk"', 'unit = "wk"\nscale = 2', "columns.time.scale:", "unknown key"),
        ('path = "table.csv"', 'pth = "table.csv"', "source.path:", "add it"),
        ('kind = "csv"', 'kind = "oracle"', "source:", "csv, parquet, postgresql or sqlite"),
        ('kind = "csv"\n', "", "source:", "has no kind"),
        ('unit = "wk"', 'unit = "fortnight"', "columns.time.unit:", "use one of"),
        ('unit = "wk"', 'unit = "wk"\nmap = { a = 1 }', "columns.time:", "both unit and map"),
        ('from = "vital"', 'from = ""', "columns.death.from:", "at least 1 character"),
        ("DUO:0000007", "cancer", "policy.purposes[0]:", "match pattern"),
        ("[policy]", '[disclosure]\nmin_sites = 2\n[policy]', "disclosure.min_sites:", "equal to 3"),
        ("[policy]", '[disclosure]\nmax_params_per_row = 0.3\n[policy]', "disclosure.max_params_per", "quotes"),
        ("[policy]", '[budget]\nepsilon = "nan"\n[policy]', "budget.epsilon:", "finite"),
        ("[policy]", '[policy]\nmin_trusted = 1', "policy.min_trusted:", "equal to 2"),
        ("[policy]", '[policy]\nsums = ["plain"]', "policy.sums[0]:", "'fhe', 'mpc' or 'clear'"),
        ("0x00000000000000000000000000000000000000b0", "b0", "policy.trusted[0]:", "match pattern"),
        ('schema = "consilium.hospital/1"', 'schema = "consilium.hospital/2"', "schema:", "hospital/1"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_path(old: str, new: str, path: str, remedy: str) -> None:
    text = HOSPITAL.replace(old, new)
    assert text != HOSPITAL
    found = faults(text)
    assert path in found.splitlines()[0] or any(line.startswith(path) for line in found.splitlines())
    assert remedy in found


def test_all_faults_are_named_at_once() -> None:
    found = faults(HOSPITAL.replace('unit = "wk"', 'unit = "x"').replace('site = "h01"', 'site = "H 01"'))
    assert {line.split(":")[0] for line in found.splitlines()} == {"site", "columns.time.unit"}


def test_a_password_in_the_file_is_refused_and_not_repeated() -> None:
    found = faults(PRODUCT.replace("env:CONSILIUM_DB", "postgresql://u:hunter2@db/x"))
    assert found.startswith("source.url:")
    assert "hunter2" not in found


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    source = HospitalConfig.load(PRODUCT).source
    assert isinstance(source, PostgresqlSource)
    monkeypatch.delenv("CONSILIUM_DB", raising=False)
    with pytest.raises(Misuse) as wrong:
        source.address()
    assert wrong.value.code == "config.environment"
    monkeypatch.setenv("CONSILIUM_DB", "postgresql://reader@db/x")
    assert source.address() == "postgresql://reader@db/x"


def test_a_relation_is_a_name_and_not_sql() -> None:
    for relation in ("a; drop table b", "a.b.c", '\\"a\\"', "a b", ""):
        assert "source.relation" in faults(PRODUCT.replace("research.lung_v3", relation))


def test_a_relative_path_starts_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "hospital.toml").write_text(HOSPITAL)
    config = HospitalConfig.load(tmp_path / "hospital.toml")
    assert isinstance(config.source, FileSource)
    assert config.path == tmp_path / "table.csv"
    trusted = config.policy.model_copy(update={"trusted": ()})
    assert config.model_copy(update={"policy": trusted}).path == tmp_path / "table.csv"


def test_an_unreadable_file_is_the_callers_mistake(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"a = ", b"[" * 5000):
        (tmp_path / "hospital.toml").write_bytes(content)
        with pytest.raises(Misuse):
            HospitalConfig.load(tmp_path / "hospital.toml")
    with pytest.raises(Misuse):
        HospitalConfig.load(tmp_path / "none.toml")


@given(st.integers(0, len(PRODUCT) - 1), st.characters(codec="utf-8"))
def test_any_change_of_a_character_is_read_or_named(at: int, character: str) -> None:
    with contextlib.suppress(Misuse):
        HospitalConfig.load(PRODUCT[:at] + character + PRODUCT[at + 1 :])
