"""What a study pays for on the chain stays within the goals."""

from __future__ import annotations

import pytest

from benchmarks import gas


@pytest.mark.chain
def test_goals() -> None:
    found = gas.measure()
    assert {name: found[name] for name, goal in gas.GOALS.items() if found[name] > goal} == {}
    for prefix in ("", "dp_"):
        assert found[f"{prefix}lock_attest@3"] < found[f"first_{prefix}lock_attest@3"]
