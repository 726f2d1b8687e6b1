"""The results as pictures, drawn from what was released and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analytics.plots import forest_plot, survival_plot


def draw(folder: Path, contents: dict[str, dict[str, Any]]) -> list[Path]:
    """One PNG and SVG for each survival curve and each regression; returns the PNG paths."""
    made = []
    for study, content in contents.items():
        test = next((f for f in content.values() if f["kind"] == "logrank"), None)
        for name, found in content.items():
            path = folder / f"{study}-{name}.png"
            if found["kind"] == "kaplan_meier":
                note = f"log-rank, stratified by hospital: p = {test['p']:.3f}" if test else ""
                path.write_bytes(
                    survival_plot(found, "png", title="Survival by " + str(found["by"]), note=note)
                )
                path.with_suffix(".svg").write_bytes(survival_plot(found, "svg", note=note))
            elif found["kind"] == "logistic":
                path.write_bytes(
                    forest_plot(found, "png", title=f"Ridge logistic regression of {found['outcome']}")
                )
                path.with_suffix(".svg").write_bytes(forest_plot(found, "svg"))
            else:
                continue
            made.append(path)
    return made
