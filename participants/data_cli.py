"""``consilium data check|profile``: what the mapping makes of the hospital's rows, before anything leaves.

Values are shown, because this runs at home for the hospital's own people; nothing is sent or recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from analytics.disclosure import check_rows
from analytics.study import StudySpec
from analytics.study_variables import Category
from analytics.table import Table
from consilium_errors import Error
from participants.config import HospitalConfig
from participants.mapping import Mapped, Profile, map_rows, profile
from participants.sources import Rows, read

app = typer.Typer(help="The local mapping, before anything leaves.", no_args_is_help=True)

Hospital = Annotated[Path, typer.Argument(metavar="hospital.toml", exists=True, dir_okay=False)]
Study = Annotated[Path, typer.Argument(metavar="study.toml", exists=True, dir_okay=False)]
_SHOWN = 5


@app.command()
def check(hospital: Hospital, study: Study) -> None:
    """Rows kept and dropped and why, unmapped values; exit status 1 if the study could not use them."""
    console = Console()
    try:
        config, spec, rows = _load(hospital, study)
        made = profile(rows, config, spec)
        _show_rows(console, made, spec)
        _show_variables(console, made)
        made.check()
        check_rows(made.kept, config.disclosure.floor)
    except Error as error:
        _fail(console, error)
    console.print("[green]usable[/]: this mapping gives the study its table")


@app.command(name="profile")
def show_profile(hospital: Hospital, study: Study) -> None:
    """The study's variables at this hospital after mapping: for its own people only."""
    console = Console()
    try:
        config, spec, rows = _load(hospital, study)
        mapped = map_rows(rows, config, spec)
    except Error as error:
        _fail(console, error)
    _show_rows(console, mapped.profile, spec)
    _show_values(console, mapped, spec)


def _load(hospital: Path, study: Path) -> tuple[HospitalConfig, StudySpec, Rows]:
    config, spec = HospitalConfig.load(hospital), StudySpec.load(study)
    return config, spec, read(config)


def _fail(console: Console, error: Error) -> NoReturn:
    console.print(f"[red]{error.kind}[/]: {escape(error.diagnostics())}")
    raise typer.Exit(1)


def _show_rows(console: Console, made: Profile, spec: StudySpec) -> None:
    grid = Grid(title=f"{made.site} in {spec.id}", title_justify="left", show_header=False)
    grid.add_column()
    grid.add_column(justify="right")
    for label, count in (
        ("rows read", made.rows),
        ("left out by the inclusion rule", made.excluded),
        ("dropped (missing, out of range)", made.dropped),
        ("kept", made.kept),
    ):
        grid.add_row(label, str(count))
    console.print(grid)


def _show_variables(console: Console, made: Profile) -> None:
    grid = Grid("variable")
    for title in ("missing", "out of range", "unmapped"):
        grid.add_column(title, justify="right")
    grid.add_column("unmapped values (stay here)")
    for name in made.missing:
        faults = made.unmapped.get(name, {})
        most = sorted(faults.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{value!r} ×{count}" for value, count in most[:_SHOWN])
        more = f" and {len(most) - _SHOWN} more" if len(most) > _SHOWN else ""
        counts = (made.missing[name], made.outside[name], sum(faults.values()))
        grid.add_row(name, *(str(c or "") for c in counts), escape(shown + more))
    console.print(grid)


def _show_values(console: Console, mapped: Mapped, spec: StudySpec) -> None:
    grid = Grid("variable", "unit", "values")
    for name, variable in spec.variables.items():
        unit = getattr(variable, "unit", "")
        if name in mapped.table.numbers:
            text = _spread(mapped.table, name)
        else:
            levels = variable.levels if isinstance(variable, Category) else ("no", "yes")
            counts = np.bincount(mapped.table.codes[name], minlength=len(levels))
            text = ", ".join(f"{level} {count}" for level, count in zip(levels, counts, strict=True))
        grid.add_row(name, escape(unit), escape(text))
    console.print(grid)


def _spread(table: Table, name: str) -> str:
    if not table.n:
        return "no rows"
    low, q1, median, q3, high = np.percentile(table.numbers[name], [0, 25, 50, 75, 100])
    return f"{low:g} to {high:g}, median {median:g} ({q1:g}, {q3:g})"
