"""The second study: survival with lung cancer by sex, all four hospitals again."""

from __future__ import annotations

from typing import Any

from analytics.study import StudySpec
from coordinator.sponsor import Result
from deploy.council import Council
from deploy.demo import truth
from deploy.demo.screen import Screen
from deploy.demo.training import own_table, sealed_rounds


def run(council: Council, spec: StudySpec, returned: str, screen: Screen) -> tuple[bytes, Result]:
    """The whole study; ``returned`` left the first one and consents to this."""
    with screen.waiting("registering the study, freezing cohorts, giving consent"):
        study = council.register(spec)
    screen.line("plan", f"{spec.id} registered, spec {spec.spec_hash.hex()[:4]}…{spec.spec_hash.hex()[-4:]}")
    screen.line(
        "consent", f"{len(spec.sites)}/{len(spec.sites)}, {returned} consents again, to this study", "live"
    )
    council.on_sealed = sealed_rounds(screen)
    with screen.waiting("curves"):
        result = council.run(study, len(spec.sites))
    council.on_sealed = None
    _curves(result.content, screen)
    _truth(council, spec, result.content, screen)
    return study, result


def _curves(content: dict[str, Any], screen: Screen) -> None:
    for name, found in content.items():
        if found["kind"] == "kaplan_meier":
            screen.line(
                name, f"Kaplan-Meier by {found['by']}, {found['grid']} {found['unit']} grid", "sealed"
            )
            rows = [
                (c["group"], c["n"], c["deaths"], _span(c["median"]), _span(c["median_ci"]))
                for c in found["curves"]
            ]
            screen.table((found["by"], "n", "deaths", "median in", "95% CI within"), rows)
        elif found["kind"] == "logrank":
            screen.line(
                name,
                f"log-rank, stratified by hospital: chi2 {found['chi2']:.2f}, p {found['p']:.3f}",
                "sealed",
            )


def _span(interval: dict[str, Any]) -> str:
    end = interval["to"]
    return f"{interval['from']:g}-{end:g} d" if end is not None else f"over {interval['from']:g} d"


def _truth(council: Council, spec: StudySpec, content: dict[str, Any], screen: Screen) -> None:
    tables = [own_table(council.seats[name], spec) for name in spec.sites]
    for found in content.values():
        if found["kind"] == "kaplan_meier":
            worst = truth.kaplan_meier(found, tables)
            screen.line(
                "truth",
                f"pooled lifelines on that grid, largest difference {worst:.0e}",
                _agrees(worst, 1e-12),
            )
        elif found["kind"] == "logrank":
            chi2, p = truth.logrank(tables, found["time"], found["event"], found["by"])
            worst = max(abs(chi2 - found["chi2"]), abs(p - found["p"]))
            screen.line("truth", f"pooled statsmodels, largest difference {worst:.0e}", _agrees(worst, 1e-9))


def _agrees(worst: float, tolerance: float) -> str:
    return "agrees" if worst <= tolerance else "DIFFERS"
