"""One server for the whole folder; tests use studies of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.stand import Stand


@pytest.fixture(scope="package")
def stand(chain_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder: Path = tmp_path_factory.mktemp("api")
    folder.chmod(0o700)
    made = Stand(folder, chain_url)
    yield made
    made.close()
