"""A small hospital whose file a test writes itself."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from analytics.study import StudySpec
from participants.config import HospitalConfig

EXAMPLES = Path(__file__).parents[2] / "examples"

HOSPITAL = """
schema = "consilium.hospital/1"
site = "h01"

[source]
kind = "csv"
path = "table.csv"
patient_id = "mrn"

[columns.time]
from = "weeks"
unit = "wk"

[columns.death]
from = "vital"
map = { dead = 1, alive = 0 }

[columns.age]
from = "age"
unit = "a"
missing = [-9, 999]

[columns.sex]
from = "sex"
map = { M = "male", F = "female" }

[policy]
purposes = ["DUO:0000007"]
diseases = ["MONDO:0004992"]
trusted = ["0x00000000000000000000000000000000000000b0", "0x00000000000000000000000000000000000000c0"]
"""

TITLES = ("mrn", "weeks", "vital", "age", "sex")
Line = Sequence[object]


def lines(count: int, start: int = 0) -> list[list[object]]:
    """Clean patients, each different."""
    return [
        [f"p{i:03d}", 1 + i % 50, "dead" if i % 3 else "alive", 30 + i % 50, "MF"[i % 2]]
        for i in range(start, start + count)
    ]


def hospital(folder: Path, rows: Iterable[Line], text: str = HOSPITAL) -> HospitalConfig:
    """The hospital in ``folder`` with these rows in its file."""
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([TITLES, *rows])
    (folder / "hospital.toml").write_text(text)
    return HospitalConfig.load(folder / "hospital.toml")


def lung(**replaced: str) -> StudySpec:
    text = (EXAMPLES / "lung" / "study.toml").read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return StudySpec.load(text)
