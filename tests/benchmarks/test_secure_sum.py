from __future__ import annotations

import json

import pytest

from benchmarks import secure_sum


@pytest.mark.slow
def test_numbers_of_a_small_sum(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output is nothing but the list, whatever the peers' libraries print."""
    small = ["--sizes", "10k", "--repeat", "1", "--hospitals", "3", "--crowds", "4"]
    secure_sum.main(["--json", "--parts", "upload,round", *small])
    found = {row["name"]: row for row in json.loads(capfd.readouterr().out)}
    assert {
        "hospital_wall_s@10k",
        "secaggplus_wall_s@10k",
        "nvflare_ckks_wall_s@10k",
        "bytes_up_over_f32@10k",
        "bytes_down_over_f32@10k",
        "fhe_round_s@4x100k",
        "round_bytes_up_over_f32@4x100k",
    } <= set(found)
    assert all(row["value"] > 0 and row["unit"] for row in found.values())
    parts = [
        row["value"] for name, row in found.items() if name.startswith("hospital_") and "wall" not in name
    ]
    assert sum(parts) == pytest.approx(found["hospital_wall_s@10k"]["value"])


def test_the_most_memory_of_one_upload_is_a_processes_own(capsys: pytest.CaptureFixture[str]) -> None:
    secure_sum.main(["--process", "10k", "--hospitals", "3"])
    found = {row["name"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert found["peak_mb@10k"] > 20
    assert found["bytes_up_over_f32@10k"] < 1
