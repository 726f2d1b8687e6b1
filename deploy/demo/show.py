"""Released results in a few lines on the screen, whatever their kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.demo.screen import Screen

MOST_ROWS = 12


def findings(screen: Screen, content: Mapping[str, Mapping[str, Any]]) -> None:
    """One line for each analysis, and a small table where there is one."""
    for name, found in content.items():
        match found["kind"]:
            case "kaplan_meier":
                _curves(screen, name, found)
            case "logrank":
                how = f", stratified by {found['strata']}" if found.get("strata") else ""
                text = f"log-rank{how}: chi2 {found['chi2']:.2f}, p {found['p']:.3g}"
                screen.line(name, text, "sealed")
            case "logistic":
                screen.line(
                    name, f"ridge logistic regression of {found['outcome']}, n {found['n']}", "sealed"
                )
                terms = [
                    (t["term"], f"{t['estimate']:.3f}", f"{t['se']:.3f}") for t in found["terms"][:MOST_ROWS]
                ]
                screen.table(("term", "estimate", "SE"), terms)
                _more(screen, len(found["terms"]))
            case "moments":
                screen.line(name, f"n {found['n']}", "sealed")
                columns = list(found["columns"].items())
                rows = [(c, f"{v['mean']:.4g}", f"{v['sd']:.4g}") for c, v in columns[:MOST_ROWS]]
                screen.table(("column", "mean", "sd"), rows)
                _more(screen, len(columns))
            case kind:
                screen.line(name, str(kind).replace("_", " "), "sealed")


def _curves(screen: Screen, name: str, found: Mapping[str, Any]) -> None:
    screen.line(name, f"Kaplan-Meier by {found['by']}, {found['grid']} {found['unit']} grid", "sealed")
    unit = found["unit"]
    rows = [
        (c["group"], c["n"], c["deaths"], _span(c["median"], unit), _span(c["median_ci"], unit))
        for c in found["curves"]
    ]
    screen.table((str(found["by"]), "n", "deaths", "median in", "95% CI within"), rows)


def _span(interval: Mapping[str, Any], unit: str) -> str:
    end = interval["to"]
    return f"{interval['from']:g}-{end:g} {unit}" if end is not None else f"over {interval['from']:g} {unit}"


def _more(screen: Screen, rows: int) -> None:
    if rows > MOST_ROWS:
        screen.note(f"and {rows - MOST_ROWS} more in the report")
