"""A visitor of the demo: a study of one's own, and three hospitals' files, each in a folder of its own."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

SITES = ("a", "b", "c")

STUDY = """
schema = "consilium.study/1"
id = "own"
protocol = {{ ethics = "TEST-1", plan_sha256 = "{plan}" }}
purpose = {{ duo = "DUO:0000042", commercial = false }}
sites = ["a", "b", "c"]
min_sites = 3
sum = "{sum}"
row_cap = 1000
[release]
mode = "exact"
recipient = "sponsor-key-1"
[cohort]
max_missing = "0.10"
[variables]
age = {{ kind = "number", unit = "a", range = [0, 120], centre = 60, scale = 10 }}
bmi = {{ kind = "number", range = [0, 80], centre = 25, scale = 5 }}
[[analysis]]
id = "means"
kind = "moments"
columns = ["age", "bmi"]
"""

HOSPITAL = """
schema = "consilium.hospital/1"
site = "{site}"
[source]
kind = "csv"
path = "data/table.csv"
patient_id = "mrn"
[columns.age]
from = "AGE"
unit = "a"
[columns.bmi]
from = "BMI"
[policy]
purposes = ["DUO:0000042"]
"""


class Visitor:
    """A study and three hospitals' files, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.study = folder / "study.toml"
        self.study.write_text(STUDY.format(plan="0" * 64, sum="fhe"))
        self.hospitals = [folder / site / "hospital.toml" for site in SITES]
        for seed, path in enumerate(self.hospitals):
            (path.parent / "data").mkdir(parents=True)
            path.write_text(HOSPITAL.format(site=path.parent.name))
            values = np.random.default_rng(seed).uniform((20, 18), (90, 40), (30, 2))
            with (path.parent / "data" / "table.csv").open("w", newline="") as file:
                csv.writer(file).writerows(
                    [("mrn", "AGE", "BMI"), *((i, *row) for i, row in enumerate(values.tolist()))]
                )

    def edit(self, path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def pooled(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        paths = [path.parent / "data" / "table.csv" for path in self.hospitals]
        return np.concatenate([np.loadtxt(p, delimiter=",", skiprows=1, usecols=(1, 2)) for p in paths])

    @property
    def options(self) -> list[str]:
        files = [("--hospital", str(path)) for path in self.hospitals]
        return ["--study", str(self.study), *(word for pair in files for word in pair)]
