from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.crowd import Crowd


@pytest.mark.slow
@pytest.mark.chain
def test_a_round_whose_hospitals_are_shared_out(chain_url: str, tmp_path: Path) -> None:
    with Crowd(tmp_path / "crowd", chain_url, 995, 4, processes=2) as crowd:
        first, second = crowd.round(), crowd.round()
        assert crowd.done == 2
        assert crowd._coordinator.sealed_analysis(crowd.study, 2) == "net"
    for took in (first, second):
        assert took.wall_s > 0
        assert took.up > 995 * 3
        assert took.down > took.up
