"""The page on performance is made of numbers alone, and can be made anew."""

from __future__ import annotations

from pathlib import Path

from benchmarks import performance, plots


def test_a_page_shows_what_was_measured_and_marks_a_missed_goal() -> None:
    numbers = {"fhe_over_clear_wall@1M": (5.0, "ratio"), "bytes_up_over_f32@1M": (0.878, "ratio")}
    page = performance.page({"round": numbers}, "2 cores")
    assert "| `fhe_over_clear_wall` | – | – | **5** | ratio |" in page
    assert "| `bytes_up_over_f32` | – | – | 0.878 | ratio | 0.9 at 1M |" in page
    assert "benchmarks.gas" not in page


def test_the_readme_keeps_all_but_its_table() -> None:
    text = (performance.ROOT / "README.md").read_text()
    made = performance.readme(text, {"exchange_s": (0.25, "s"), "trivial_round_s": (9.0, "s")})
    assert "| 0.25 s | ≤ 0.5 |" in made
    assert "| **9** s | ≤ 4 |" in made
    assert made.split(performance.MARKS[0])[0] == text.split(performance.MARKS[0])[0]
    assert made.split(performance.MARKS[1])[1] == text.split(performance.MARKS[1])[1]
    assert performance.readme(made, {}).count(performance.MARKS[0]) == 1


def test_plots_of_the_same_numbers_are_the_same_file(tmp_path: Path) -> None:
    numbers = {f"{name}@{size}": (value, "s") for size in ("10k", "1M") for name, value in _MEASURED.items()}
    numbers |= {f"fhe_round_s@{n}x100k": (float(n), "s") for n in (3, 100)}
    numbers |= {
        f"round_bytes_{w}_over_f32@{n}x100k": (1.0, "ratio") for n in (3, 100) for w in ("up", "down")
    }
    for draw in (plots.parameters, plots.hospitals):
        files = [tmp_path / "a.svg", tmp_path / "b.svg"]
        for file in files:
            draw(numbers, file)
        assert files[0].read_bytes() == files[1].read_bytes()
        assert b"<svg" in files[0].read_bytes()


_MEASURED = {
    "hospital_wall_s": 0.5,
    "secaggplus_wall_s": 2.0,
    "nvflare_ckks_wall_s": 1.0,
    "bytes_up_over_f32": 0.9,
    "secaggplus_bytes_up_over_f32": 2.0,
    "nvflare_ckks_bytes_up_over_f32": 16.0,
}
