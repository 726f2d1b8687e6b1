"""`consilium coordinator`: the blind carrier, from its kit."""

from __future__ import annotations

import typer

from deploy.commands.options import KitFolder

app = typer.Typer(no_args_is_help=True, help="The coordinator's process.")


@app.command()
def init(kit: KitFolder = None) -> None:
    """Make the database and check that everything is there; serve does it too."""
    from deploy import hub, mailboxes
    from deploy.kit import CoordinatorKit

    its = CoordinatorKit.load(kit)
    its.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    hub.sender(its)
    if its.config.transport.kind == "flower":
        mailboxes.node_keys(its)
    with hub.opened(its):
        typer.echo(f"{its.config.name}: ready; consilium coordinator serve --kit {its.folder}")


@app.command()
def serve(kit: KitFolder = None) -> None:
    """Carry letters, lock and attest, answer clients; until SIGTERM. Log: JSON lines on standard error."""
    from deploy import hub
    from deploy.kit import CoordinatorKit

    hub.serve(CoordinatorKit.load(kit))


@app.command()
def status(kit: KitFolder = None) -> None:
    """Its studies, read from its own database and the chain; whether it serves."""
    from rich.console import Console
    from rich.table import Table as Grid

    from deploy import hub, ops
    from deploy.kit import CoordinatorKit

    its = CoordinatorKit.load(kit)
    console = Console()
    console.print(f"serving: {ops.health(its.state / hub.READY)}")
    names = {org: name for name, org in its.config.sites.items()}
    grid = Grid("study", "round", "analysis", "waits for", "of", "last")
    accused = []
    with hub.opened(its) as coordinator:
        for study in coordinator.studies():
            at = coordinator.status(study)
            missing = ", ".join(names.get(org, org.hex()[:8]) for org in at.missing)
            state = "finished" if at.finished else at.halted or at.waiting_for
            grid.add_row(study.hex()[:10], str(at.round), at.analysis, state, missing, at.last)
            accused += [(study, found) for found in at.accused]
    console.print(grid)
    for study, found in accused:
        who = " or ".join(names.get(org, org.hex()[:8]) for org in found.orgs) or "nobody named"
        console.print(f"{study.hex()[:10]} round {found.round}: {found.code}, {who}, by {len(found.by)}")


@app.command()
def health(kit: KitFolder = None) -> None:
    """Does it serve, and is it well? Exit status 1 if not."""
    from deploy import hub, ops
    from deploy.kit import CoordinatorKit

    told = ops.health(CoordinatorKit.load(kit).state / hub.READY)
    typer.echo(told)
    raise typer.Exit(0 if told == "ok" else 1)
