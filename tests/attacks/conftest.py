"""A quick chain of this room's own: blocks every 30 ms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consent_contracts.laptop import Anvil
from tests.attacks.table import Ring


@pytest.fixture(scope="package")
def quick_chain() -> Iterator[str]:
    with Anvil(block_time=0.03) as node:
        yield node.url


@pytest.fixture(scope="package")
def ring(quick_chain: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """One council for all; each test has its own study."""
    found = Ring(tmp_path_factory.mktemp("ring"), quick_chain)
    yield found
    found.council.close()
