"""The contracts' own tests (unit, fuzz, invariant), run by forge against the checked-in artifacts."""

from __future__ import annotations

import pytest

from consent_contracts.compile import HERE
from tests.contracts.forge import forge_test
from tests.contracts.mutants import MUTANTS

AT_LEAST = 111


@pytest.mark.slow
def test_forge() -> None:
    code, (passed, failed, skipped), said = forge_test()
    assert code == 0, said
    assert (failed, skipped) == (0, 0), said
    assert passed >= AT_LEAST, said  # a run that finds no tests also exits with 0


def test_every_mutant_has_its_one_place() -> None:
    lost = [(file, old) for file, old, _ in MUTANTS if (HERE / file).read_text().count(old) != 1]
    assert lost == []
