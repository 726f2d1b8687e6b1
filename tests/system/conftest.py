"""One chain and one set of contracts for all studies of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from consent_contracts.laptop import Anvil
from tests.system.world import World


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("system")
    folder.chmod(0o700)
    with Anvil(block_time=0.25) as anvil:
        yield World(folder, anvil.url)
