"""The lung table by hospital, straight from lifelines: a path apart from the hospitals' files."""

from __future__ import annotations

import numpy as np
import pandas as pd
from lifelines.datasets import load_lung

from analytics.study import StudySpec
from analytics.table import Table
from tests.analytics.data import EXAMPLES

INSTITUTIONS = (1, 12, 13, 3)


def lung_spec(**replaced: str) -> StudySpec:
    """The demo's study; ``replaced`` texts are swapped in first."""
    text = (EXAMPLES / "lung" / "study.toml").read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return StudySpec.load(text)


def lung_frame() -> pd.DataFrame:
    frame = load_lung()
    return frame[frame["inst"].isin(INSTITUTIONS)]


def table(frame: pd.DataFrame) -> Table:
    return Table(
        {"time": frame["time"].to_numpy(float), "age": frame["age"].to_numpy(float)},
        {"death": frame["status"].to_numpy(np.int64), "sex": frame["sex"].to_numpy(np.int64) - 1},
        len(frame),
    )


def lung_tables() -> list[Table]:
    frame = lung_frame()
    return [table(frame[frame["inst"] == inst]) for inst in INSTITUTIONS]


def made_up(seed: int, sites: int = 4, rows: int = 80, groups: int = 2) -> list[Table]:
    """Tables with many ties, censoring that depends on the group, and sites that differ."""
    rng = np.random.default_rng(seed)
    tables = []
    for site in range(sites):
        sex = rng.integers(0, groups, rows)
        life = np.ceil(rng.exponential(200 + 80 * sex + 40 * site, rows))
        watch = np.ceil(rng.uniform(30, 900, rows))
        time = np.minimum(life, watch)
        tables.append(
            Table(
                {"time": np.clip(time, 1, 1100), "age": rng.uniform(30, 80, rows)},
                {"death": (life <= watch).astype(np.int64), "sex": sex},
                rows,
            )
        )
    return tables
