"""The contracts' own tests (unit, fuzz, invariant), run by forge against the checked-in artifacts."""

from __future__ import annotations

import pytest

from tests.contracts.forge import forge_test

AT_LEAST = 111


@pytest.mark.slow
def test_forge() -> None:
    code, (passed, failed, skipped), said = forge_test()
    assert code == 0, said
    assert (failed, skipped) == (0, 0), said
    assert passed >= AT_LEAST, said  # a run that finds no tests also exits with 0
