"""What a benchmark found, as a table for people or as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Measure:
    """One number and what it counts."""

    name: str
    value: float
    unit: str


def publish(
    found: Sequence[Measure],
    *,
    as_json: bool,
    title: str = "",
    caption: str = "",
    goals: Mapping[str, float] | None = None,
) -> None:
    """Print ``found``: a Rich table, or a list of ``{name, value, unit}``.

    Args:
        goals: name → the largest value that is good.
    """
    if as_json:
        print(json.dumps([asdict(m) for m in found]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, caption=caption)
    table.add_column("name")
    for column in ("value", "unit", "goal"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    for m in found:
        goal = (goals or {}).get(m.name)
        colour = None if goal is None else "green" if m.value <= goal else "red"
        table.add_row(
            m.name, number(m.value), m.unit, "" if goal is None else f"≤ {number(goal)}", style=colour
        )
    Console().print(table)


def number(value: float) -> str:
    """Three digits, or all of a whole one."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if value >= 100 else f"{value:.3g}"
