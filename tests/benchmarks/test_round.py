"""The smallest round that the benchmark can measure."""

from __future__ import annotations

import json

import pytest

from benchmarks import round as benchmark

STEPS = ("quantise", "commit", "encrypt", "mask", "decrypt", "verify", "persist", "hash", "move")


@pytest.mark.slow
def test_one_tiny_round(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--json", "--sizes", "1k", "--rounds", "1"])
    found = {m["name"]: m["value"] for m in json.loads(capsys.readouterr().out)}
    assert found["fhe_over_clear_wall@1k"] > 0
    # A packed coefficient is 7 bytes for two parameters; the total opens to a whole block of 4096.
    d, coefficients = 995, 498
    assert found["bytes_up_over_f32@1k"] * 4 * d > 7 * coefficients + 65
    assert found["bytes_down_over_f32@1k"] * 4 * d > 7 * (coefficients + 4096)
    assert found["clear_bytes_up_over_f32@1k"] < found["bytes_up_over_f32@1k"]
    parts = [found[f"hospital_{step}_s@1k"] for step in STEPS]
    assert all(p > 0 for p in parts)
    assert sum(parts) < found["hospital_wall_s@1k"] < found["fhe_round_wall_s@1k"]
    assert "clear_hospital_mask_s@1k" not in found
    assert found["clear_hospital_commit_s@1k"] < found["hospital_commit_s@1k"]
