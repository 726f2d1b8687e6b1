"""The `consilium` command: thin, and lazy, so that help is quick. Each role's work lives in its room."""

from __future__ import annotations

import typer

from deploy.commands import audit, chain, committee, coordinator, data, participant, provision, study
from deploy.commands.demo import demo
from deploy.commands.doctor import doctor

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(study.app, name="study")
app.add_typer(audit.app, name="audit")
app.add_typer(data.app, name="data")
app.add_typer(chain.app, name="chain")
app.add_typer(provision.app, name="provision")
app.add_typer(participant.app, name="participant")
app.add_typer(coordinator.app, name="coordinator")
app.add_typer(committee.app, name="committee")
app.command()(doctor)
app.command()(demo)


@app.callback()
def root() -> None:
    """Privacy-preserving federated analytics for hospitals."""


def main() -> None:
    """Entry point: our own errors are shown with their remedy, not as a traceback."""
    from consilium_errors import Error

    try:
        app()
    except Error as error:
        typer.echo(error.diagnostics(), err=True)
        raise SystemExit(1) from None
