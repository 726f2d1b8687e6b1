from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transport.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two hospitals at work; tests leave it in working order."""
    made = World(tmp_path_factory.mktemp("w"), 2)
    try:
        made.start()
        made.settle()
        yield made
    finally:
        made.close()
