from __future__ import annotations

import re
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pytest

from analytics.plots import at_risk, forest_plot, survival_plot
from analytics.registry import results
from consilium_errors import Misuse
from tests.analytics.data import run_study
from tests.analytics.survival import lung_spec, lung_tables


@pytest.fixture(scope="module")
def curves() -> dict[str, Any]:
    spec = lung_spec()
    found: dict[str, Any] = results(spec, run_study(spec, lung_tables()))["curves"]
    return found


def texts(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(e.itertext()).strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_says_what_was_released(curves: dict[str, Any]) -> None:
    shown = texts(survival_plot(curves, "svg", title="Survival by sex", note="log-rank p 0.02"))
    for expected in ("Survival by sex", "Number at risk", "male", "female", "Time (days)", "63", "35"):
        assert expected in shown
    small = next(t for t in shown if "exact release" in t)
    assert "n = 98" in small
    assert "30-day grid" in small
    assert "log-rank p 0.02" in small
    assert any("median 360–540 d" in t for t in shown)


def test_the_numbers_at_risk_are_the_released_ones(curves: dict[str, Any]) -> None:
    shown = texts(survival_plot(curves, "svg"))
    ticks = [int(t) for t in shown[: shown.index("0", 1)] if t.isdigit()]
    assert ticks[:3] == [0, 90, 180]
    start = shown.index("Number at risk")
    numbers = [int(t) for t in shown[start:] if re.fullmatch(r"\d+", t)]
    expected = [at_risk(c, t) for c in curves["curves"] for t in ticks]
    assert numbers == [n for n in expected if n is not None]
    assert min(numbers) >= 5


def test_no_number_beyond_the_end_of_a_curve(curves: dict[str, Any]) -> None:
    male = curves["curves"][0]
    end = male["cells"][-1]["from"]
    assert at_risk(male, end) == male["cells"][-1]["at_risk"]
    assert at_risk(male, end + 1) is None
    assert at_risk(male, 29) == male["n"]


def test_it_is_a_png_and_the_same_each_time(curves: dict[str, Any]) -> None:
    one, two = survival_plot(curves), survival_plot(curves)
    assert one == two
    assert one.startswith(b"\x89PNG")
    assert len(one) > 10_000
    assert survival_plot(curves, "svg") == survival_plot(curves, "svg")


LOGISTIC = {
    "kind": "logistic",
    "mode": "exact",
    "n": 569,
    "terms": [
        {"term": "(intercept)", "per": "1", "estimate": 0.1, "se": 0.2},
        {"term": "mean_radius", "per": "sd", "estimate": 1.0, "se": 0.2},
        {"term": "mean_texture", "per": "sd", "estimate": -0.2, "se": 0.3},
    ],
}


def test_the_forest_has_a_row_per_term() -> None:
    shown = texts(forest_plot(LOGISTIC, "svg", title="Risk"))
    assert "mean radius" in shown
    assert "mean texture" in shown
    assert "(intercept)" not in shown
    assert "log odds ratio per sd, with 95 % interval" in shown
    assert any("exact release" in t for t in shown)
    assert forest_plot(LOGISTIC).startswith(b"\x89PNG")


def test_wrong_results_are_refused(curves: dict[str, Any]) -> None:
    for draw, result, code in (
        (survival_plot, LOGISTIC, "plots.kind"),
        (forest_plot, curves, "plots.kind"),
        (forest_plot, {**LOGISTIC, "terms": []}, "plots.empty"),
    ):
        with pytest.raises(Misuse) as wrong:
            draw(result)
        assert wrong.value.code == code


def test_importing_it_does_not_import_matplotlib() -> None:
    code = "import sys, analytics.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
