"""One chain and small tables, shared by the whole session."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import structlog

from analytics.study import StudySpec
from analytics.table import Table
from tests.postgres import NoServer, Postgres


def pytest_sessionstart() -> None:
    from crypto.secure_sum import bfv

    bfv.load()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("CONSILIUM_NIGHTLY"):
        for item in items:
            if item.get_closest_marker("nightly"):
                item.add_marker(pytest.mark.skip(reason="nightly: set CONSILIUM_NIGHTLY=1"))


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@pytest.fixture(scope="session")
def chain_url() -> Iterator[str]:
    """A laptop chain that everybody may deploy to; accounts are anvil's own."""
    from consent_contracts.laptop import Anvil

    with Anvil() as anvil:
        yield anvil.url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; skips with the reason where there is none."""
    server = ExitStack()
    try:
        found = server.enter_context(Postgres())
    except NoServer as error:
        pytest.skip(str(error))
    with server:
        yield found


TINY = """
schema = "consilium.study/1"
id = "{id}"
protocol = {{ ethics = "TEST-1", plan_sha256 = "{plan}" }}
purpose = {{ duo = "DUO:0000042", commercial = false }}
sites = [{sites}]
min_sites = 3
sum = "{sum}"
window_s = {window}
row_cap = 1000
[release]
mode = "exact"
recipient = "sponsor-key-1"
[cohort]
max_missing = "0.10"
[variables]
age = {{ kind = "number", unit = "a", range = [0, 120], centre = 60, scale = 10 }}
bmi = {{ kind = "number", unit = "kg/m2", range = [0, 80], centre = 25, scale = 5 }}
{more}
{analyses}
"""

MOMENTS = '[[analysis]]\nid = "{id}"\nkind = "moments"\ncolumns = ["age", "bmi"]\n'


def tiny_spec(
    name: str = "tiny",
    sites: tuple[str, ...] = ("a", "b", "c", "d"),
    rounds: int = 1,
    sum_: str = "fhe",
    window: int = 60,
    more: str = "",
) -> StudySpec:
    """A study of means, each analysis one round. ``more``: further tables of the file."""
    return StudySpec.load(
        TINY.format(
            id=name,
            plan="0" * 64,
            sites=", ".join(f'"{s}"' for s in sites),
            sum=sum_,
            window=window,
            more=more,
            analyses="".join(MOMENTS.format(id=f"m{i}") for i in range(rounds)),
        )
    )


def tiny_table(seed: int, n: int = 40) -> Callable[[StudySpec], Table]:
    """Seeded patients of one hospital."""

    def read(spec: StudySpec) -> Table:
        rng = np.random.default_rng(seed)
        return Table({"age": rng.uniform(20, 90, n), "bmi": rng.uniform(18, 40, n)}, {}, n)

    return read


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path
