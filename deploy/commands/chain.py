"""`consilium chain`: a chain on a laptop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The laptop chain.")


@app.callback()
def root() -> None:
    """One command is still a group."""


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="0: any free port.")] = 0,
    state: Annotated[Path | None, typer.Option(help="Go on with this file; kept there at the end.")] = None,
) -> None:
    """Run a laptop chain until interrupted."""
    import signal

    from consent_contracts.laptop import Anvil

    with Anvil(port=port, state=state, save_s=None) as anvil:
        typer.echo(anvil.url)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
