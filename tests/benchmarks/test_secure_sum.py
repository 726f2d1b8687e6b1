from __future__ import annotations

import json

import pytest

from benchmarks import secure_sum


@pytest.mark.slow
def test_numbers_of_a_small_sum(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output is nothing but the list, whatever the peers' libraries print."""
    secure_sum.main(["--json", "--sizes", "10k", "--repeat", "1", "--hospitals", "3"])
    found = {row["name"]: row for row in json.loads(capfd.readouterr().out)}
    assert {
        "hospital_wall_s@10k",
        "secaggplus_wall_s@10k",
        "nvflare_ckks_wall_s@10k",
        "bytes_up_over_f32@10k",
        "bytes_down_over_f32@10k",
    } <= set(found)
    assert all(row["value"] > 0 and row["unit"] for row in found.values())
    parts = [
        row["value"] for name, row in found.items() if name.startswith("hospital_") and "wall" not in name
    ]
    assert sum(parts) == pytest.approx(found["hospital_wall_s@10k"]["value"])


def test_the_most_memory_of_one_upload_is_a_processes_own(capsys: pytest.CaptureFixture[str]) -> None:
    secure_sum.main(["--peak", "10k", "--hospitals", "3"])
    assert float(capsys.readouterr().out) > 20
