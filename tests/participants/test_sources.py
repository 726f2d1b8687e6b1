from __future__ import annotations

import importlib.util
import sqlite3
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pytest

from consilium_errors import Misuse, Unavailable
from participants.config import HospitalConfig
from participants.sources import Rows, hardened, read, text_of
from tests.participants.hospitals import HOSPITAL, TITLES, hospital, lines


def values(rows: Rows, column: str) -> list[str | None]:
    return [rows.columns[column].at(i) for i in range(rows.n)]


def as_sqlite(folder: Path, rows: list[list[object]], relation: str = "patients") -> HospitalConfig:
    with sqlite3.connect(folder / "table.sqlite") as connection:
        connection.execute(f"CREATE TABLE patients ({', '.join(TITLES)}, secret)")
        connection.executemany("INSERT INTO patients VALUES (?, ?, ?, ?, ?, 'x')", rows)
    connection.close()
    source = f'kind = "sqlite"\npath = "table.sqlite"\nrelation = "{relation}"'
    text = HOSPITAL.replace('kind = "csv"\npath = "table.csv"', source)
    (folder / "hospital.toml").write_text(text)
    return HospitalConfig.load(folder / "hospital.toml")


def as_parquet(folder: Path, rows: list[list[object]]) -> HospitalConfig:
    config = hospital(folder, rows, HOSPITAL.replace("csv", "parquet"))
    with duckdb.connect() as connection:
        # Whole numbers as floats: what pandas leaves of an integer column with gaps.
        query = "SELECT * REPLACE (weeks::DOUBLE AS weeks) FROM read_csv(?)"
        connection.execute(f"COPY ({query}) TO '{folder}/table.parquet'", [str(folder / "table.csv")])
    return config


def test_csv_parquet_and_database_give_the_same_rows(tmp_path: Path) -> None:
    rows = lines(30)
    rows[3][3] = None
    found = []
    for kind in (hospital, as_parquet, as_sqlite):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        found.append(read(kind(folder, rows)))
    for other in found[1:]:
        assert other.ids == found[0].ids
        for name in found[0].columns:
            assert values(other, name) == values(found[0], name)
    assert values(found[0], "age")[3] is None
    assert values(found[0], "weeks")[:3] == ["1", "2", "3"]


def test_only_mapped_columns_are_read_and_rows_are_in_the_patients_order(tmp_path: Path) -> None:
    rows = lines(12)
    read_back = read(as_sqlite(tmp_path, rows[::-1]))
    assert set(read_back.columns) == {"weeks", "vital", "age", "sex"}
    assert list(read_back.ids) == [row[0] for row in rows]
    assert values(read_back, "weeks") == [str(row[1]) for row in rows]


def test_more_rows_than_a_chunk(tmp_path: Path) -> None:
    rows = read(hospital(tmp_path, ([f"{i:06d}", i, "dead", 50, "M"] for i in range(45_000))))
    assert rows.n == 45_000
    assert values(rows, "weeks")[44_999] == "44999"
    assert len(rows.columns["sex"].values) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", None),
        ("  M ", "M"),
        (float("nan"), None),
        (True, "true"),
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (1e300, "1e+300"),
        (Decimal("7.50"), "7.5"),
        (Decimal("7.00"), "7"),
        (date(2024, 2, 29), "2024-02-29"),
        (np.float64(3), "3"),
    ],
)
def test_the_canonical_text(value: object, text: str | None) -> None:
    assert text_of(value) == text


def test_a_type_without_a_text_is_named() -> None:
    with pytest.raises(Misuse) as wrong:
        text_of(b"\x00")
    assert wrong.value.code == "source.type"


@pytest.mark.parametrize(
    ("mistake", "code"),
    [
        (lambda rows: [*rows, rows[0]], "source.duplicate_patient"),
        (lambda rows: [*rows, ["", 1, "dead", 50, "M"]], "source.patient_id"),
    ],
)
def test_one_row_per_patient(tmp_path: Path, mistake, code: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Misuse) as wrong:
        read(hospital(tmp_path, mistake(lines(20))))
    assert wrong.value.code == code
    assert "p000" not in str(wrong.value)


def test_a_lost_column_is_named(tmp_path: Path) -> None:
    for make in (hospital, as_sqlite):
        folder = tmp_path / make.__name__
        folder.mkdir()
        config = make(folder, lines(20))
        columns = {**config.columns, "age": config.columns["age"].model_copy(update={"from_": 'a"ge'})}
        with pytest.raises(Misuse) as wrong:
            read(config.model_copy(update={"columns": columns}))
        assert wrong.value.code == "source.column"
        assert 'a"ge' in str(wrong.value)


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    config = hospital(tmp_path, lines(20), HOSPITAL.replace("csv", "parquet"))
    with pytest.raises(Misuse) as wrong:
        read(config)
    assert wrong.value.code == "source.not_found"
    (tmp_path / "table.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(Misuse) as wrong:
        read(config)
    assert wrong.value.code == "source.unreadable"


def test_a_database_is_opened_read_only(tmp_path: Path) -> None:
    config = as_sqlite(tmp_path, lines(20))
    before = (tmp_path / "table.sqlite").read_bytes()
    read(config)
    assert (tmp_path / "table.sqlite").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hospital.toml", "table.sqlite"]
    from participants.sources import _sqlite

    engine = _sqlite(tmp_path / "table.sqlite")
    with pytest.raises(Exception, match="readonly"), engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM patients")
    engine.dispose()


def test_a_relation_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Misuse) as wrong:
        read(as_sqlite(tmp_path, lines(20), relation="nobody"))
    assert wrong.value.code == "source.relation"


# PostgreSQL ------------------------------------------------------------------------------------------


def test_a_server_elsewhere_is_reached_over_verified_tls_only() -> None:
    url, arguments = hardened("postgresql://reader:pw@db.hospital/x")
    assert url.drivername == "postgresql+psycopg"
    assert arguments["sslmode"] == "verify-full"
    assert "default_transaction_read_only=on" in arguments["options"]
    for weak in ("disable", "prefer", "require", "verify-ca"):
        with pytest.raises(Misuse) as wrong:
            hardened(f"postgresql://reader:pw@db.hospital/x?sslmode={weak}")
        assert wrong.value.code == "source.tls"
        assert "pw" not in str(wrong.value)


def test_the_address_cannot_switch_writing_back_on() -> None:
    url, arguments = hardened("postgresql://r@localhost/x?options=-c%20default_transaction_read_only%3Doff")
    assert "options" not in url.query
    assert arguments["options"] == "-c default_transaction_read_only=on"


def test_another_kind_of_server_is_refused() -> None:
    with pytest.raises(Misuse) as wrong:
        hardened("mysql://r@localhost/x")
    assert wrong.value.code == "source.url"


def test_a_server_that_is_away_is_unavailable_and_its_password_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = 'kind = "postgresql"\nurl = "env:A2_DB"\nrelation = "patients"'
    text = HOSPITAL.replace('kind = "csv"\npath = "table.csv"', source)
    monkeypatch.setenv("A2_DB", "postgresql://reader:hunter2@127.0.0.1:1/x")
    with pytest.raises((Unavailable, Misuse)) as away:
        read(HospitalConfig.load(text))
    # The driver is an extra that a checkout may lack.
    driver = importlib.util.find_spec("psycopg") is not None
    assert away.value.code == ("source.unavailable" if driver else "source.driver")
    assert "hunter2" not in str(away.value)
    assert "hunter2" not in away.value.diagnostics()
