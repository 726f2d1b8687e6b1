"""The demo's hospitals: real tables cut into files as different hospitals would keep them.

    python -m examples.make_tables OUT

writes OUT/<study>/<site>/ with a data file and its hospital.toml. Deterministic: the same files each time.

* breast_cancer: scikit-learn's Wisconsin diagnostic table, 569 rows, spread over four hospitals of uneven
size
  whose tumours differ in size.
* lung: the NCCTG lung cancer table of lifelines, its four largest institutions as hospitals.

Each hospital has its own column names, units, codes and file format, all exactly convertible.
"""

from __future__ import annotations

import csv
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BREAST_SHARES = {"h01": 0.12, "h03": 0.20, "h12": 0.28, "h13": 0.40}
LUNG_INSTITUTIONS = {"h01": 1, "h12": 12, "h13": 13, "h03": 3}
_SEED = 20
_RULES = """
[policy]
purposes = ["DUO:0000007"]
diseases = ["{disease}"]
commercial = false
sums = ["fhe"]
approve = "auto"

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

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One study variable as a hospital keeps it: its column, how a value is written, and how that is read."""

    variable: str
    name: str
    write: Callable[[Any], object]
    reading: str = ""  # lines of hospital.toml


def breast_hospitals() -> dict[str, tuple[list[Column], list[Row]]]:
    """Site -> its columns and its rows of the breast-cancer table."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    features = [str(name).replace(" ", "_") for name in data.feature_names]
    size = data.data[:, features.index("mean_radius")]
    # Sorted by size with much noise, then cut: each hospital sees other tumours, none sees only one kind.
    order = np.argsort(size + np.random.default_rng(_SEED).normal(0, 1.5 * size.std(), len(size)))
    ends = [round(float(share) * len(size)) for share in np.cumsum(list(BREAST_SHARES.values()))[:-1]]
    hospitals = {}
    for site, part in zip(BREAST_SHARES, np.split(order, ends), strict=True):
        rows: list[Row] = [
            {"malignant": int(data.target[i] == 0)}
            | dict(zip(features, map(float, data.data[i]), strict=True))
            for i in sorted(part)
        ]
        hospitals[site] = (_breast_columns(site, features), rows)
    return hospitals


def _breast_columns(site: str, features: Sequence[str]) -> list[Column]:
    codes = {"h01": ("B", "M"), "h03": ("benign", "malignant"), "h12": ("0", "1"), "h13": ("no", "yes")}[site]
    titles = {"h01": "diagnosis", "h03": "DIAGNOSIS", "h12": "target", "h13": "isMalignant"}
    reading = f'map = {{ "{codes[0]}" = 0, "{codes[1]}" = 1 }}'
    columns = [Column("malignant", titles[site], lambda value: codes[value], reading)]
    for k, feature in enumerate(features):
        name = {
            "h01": feature.replace("_", " "),
            "h03": feature.upper(),
            "h12": f"f{k + 1:02d}",
            "h13": feature.title().replace("_", ""),
        }[site]
        # 17 digits: the file gives back the very same floats.
        columns.append(Column(feature, name, repr))
    return columns


def lung_hospitals() -> dict[str, tuple[list[Column], list[Row]]]:
    """Site -> its columns and its rows of the lung table; what no study asks for stays out."""
    from lifelines.datasets import load_lung

    table = load_lung()
    hospitals = {}
    for site, institution in LUNG_INSTITUTIONS.items():
        part = table[table["inst"] == institution]
        rows: list[Row] = [
            {"time": int(r.time), "death": int(r.status), "age": int(r.age), "sex": int(r.sex) - 1}
            for r in part.itertuples()
        ]
        hospitals[site] = (_lung_columns(site), rows)
    return hospitals


def _lung_columns(site: str) -> list[Column]:
    match site:
        case "h01":
            return [
                Column("time", "os_days", int, 'unit = "d"'),
                Column("death", "vital", ("alive", "dead").__getitem__, "map = { dead = 1, alive = 0 }"),
                Column("age", "age", int, 'unit = "a"\nmissing = [-9, 999]'),
                Column("sex", "sex", ("M", "F").__getitem__, 'map = { M = "male", F = "female" }'),
            ]
        case "h12":
            return [
                Column("time", "survival_hours", lambda days: days * 24, 'unit = "h"'),
                Column("death", "died", int),
                Column("age", "age_months", lambda years: years * 12, 'unit = "mo"'),
                Column("sex", "gender", lambda s: s + 1, 'map = { 1 = "male", 2 = "female" }'),
            ]
        case "h13":
            return [
                Column("time", "follow up", int, 'unit = "d"'),
                Column("death", "status", lambda d: d + 1, "map = { 1 = 0, 2 = 1 }"),
                Column("age", "alter", int, 'unit = "a"'),
                Column("sex", "geschlecht", ("m", "w").__getitem__, 'map = { m = "male", w = "female" }'),
            ]
        case _:
            return [
                Column("time", "t_min", lambda days: days * 1440, 'unit = "min"'),
                Column("death", "event", ("false", "true").__getitem__),
                Column("age", "age_y", int, 'unit = "a"'),
                Column("sex", "sex", ("male", "female").__getitem__),
            ]


def write_hospital(
    folder: Path, site: str, columns: Sequence[Column], rows: Sequence[Row], disease: str, kind: str = "csv"
) -> Path:
    """The data file and hospital.toml of one hospital; returns the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    titles = ["mrn", *(c.name for c in columns)]
    numbers = (
        np.random.default_rng([_SEED, len(rows), *site.encode()]).permutation(900_000)[: len(rows)] + 100_000
    )
    body = [
        [f"{site}-{number}", *(c.write(row[c.variable]) for c in columns)]
        for number, row in zip(numbers, rows, strict=True)
    ]
    if kind == "csv":
        with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([titles, *body])
        source = 'kind = "csv"\npath = "table.csv"'
    else:
        _write_sqlite(folder / "table.sqlite", titles, body)
        source = 'kind = "sqlite"\npath = "table.sqlite"\nrelation = "patients"'
    text = f'schema = "consilium.hospital/1"\nsite = "{site}"\n\n[source]\n{source}\npatient_id = "mrn"\n'
    for column in columns:
        text += f'\n[columns.{column.variable}]\nfrom = "{column.name}"\n'
        text += f"{column.reading}\n" if column.reading else ""
    path = folder / "hospital.toml"
    path.write_text(text + _RULES.format(disease=disease), encoding="utf-8")
    return path


def _write_sqlite(path: Path, titles: Sequence[str], body: Sequence[Sequence[object]]) -> None:
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        names = ", ".join(f'"{title}"' for title in titles)
        connection.execute(f"CREATE TABLE patients ({names})")
        holes = ", ".join("?" * len(titles))
        connection.executemany(f"INSERT INTO patients VALUES ({holes})", body)  # noqa: S608 - our own names
    connection.close()


def make(out: Path) -> dict[str, dict[str, Path]]:
    """All hospitals of both studies under ``out``; study -> site -> its hospital.toml."""
    studies = {
        "breast_cancer": (breast_hospitals(), "MONDO:0007254"),
        "lung": (lung_hospitals(), "MONDO:0004992"),
    }
    made: dict[str, dict[str, Path]] = {}
    for study, (hospitals, disease) in studies.items():
        made[study] = {}
        for site, (columns, rows) in hospitals.items():
            kind = "sqlite" if site == "h03" else "csv"
            made[study][site] = write_hospital(out / study / site, site, columns, rows, disease, kind)
    return made


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.make_tables OUT")
    for study, sites in make(Path(sys.argv[1])).items():
        for site, path in sites.items():
            print(f"{study} {site}: {path}")


if __name__ == "__main__":
    main()
