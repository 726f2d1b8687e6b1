"""`consilium data`: a hospital's own tables against a study."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, help="A hospital's own data, before anything leaves.")


@app.command("check")
def check(hospital: Path, study: Path) -> None:
    """The local mapping against a study: rows kept, dropped, unmapped."""
    from participants import data_cli

    data_cli.check(hospital, study)


@app.command("profile")
def profile(hospital: Path, study: Path) -> None:
    """The mapped variables, shown at home only."""
    from participants import data_cli

    data_cli.show_profile(hospital, study)
