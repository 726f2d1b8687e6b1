from pathlib import Path

import pytest

from tests.api.pki import Authority
from tests.crypto.mpc.stand import Committee


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def committee(tmp_path: Path, authority: Authority) -> Committee:
    return Committee(tmp_path, authority)
