from __future__ import annotations

import pytest

from analytics.registry import genesis
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from tests.analytics import data


@pytest.fixture(scope="session")
def breast() -> StudySpec:
    return data.breast_spec()


@pytest.fixture(scope="session")
def pooled() -> Table:
    return data.breast_table()


@pytest.fixture(scope="session")
def hospitals() -> list[Table]:
    return data.four_hospitals()


@pytest.fixture(scope="session")
def scaled(breast: StudySpec, hospitals: list[Table]) -> StudyState:
    """After `scale`."""
    return data.run_analysis(breast, genesis(breast), hospitals)


@pytest.fixture(scope="session")
def fitted(breast: StudySpec, scaled: StudyState, hospitals: list[Table]) -> StudyState:
    """After `scale` and `risk`."""
    return data.run_analysis(breast, scaled, hospitals)


@pytest.fixture(scope="session")
def finished(breast: StudySpec, fitted: StudyState, hospitals: list[Table]) -> StudyState:
    """After `scale`, `risk` and `net`."""
    return data.run_analysis(breast, fitted, hospitals)
