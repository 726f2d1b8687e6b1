"""`consilium committee`: a member that computes on shares, from its kit."""

from __future__ import annotations

import typer

from deploy.commands.options import KitFolder

app = typer.Typer(no_args_is_help=True, help="A member of the committee that computes on shares.")


@app.command()
def init(kit: KitFolder = None) -> None:
    """Make the database, check the papers, and print what a study file says of this member."""
    from deploy.committee import section
    from deploy.committee_process import bench, opened
    from deploy.kit import CommitteeKit

    its = CommitteeKit.load(kit)
    bench(its).credentials.read()
    with opened(its) as member:
        typer.echo(section(its.config.name, member.org, member.key), nl=False)


@app.command()
def serve(kit: KitFolder = None) -> None:
    """Compute what the chain has locked, until SIGTERM. Log: JSON lines on standard error."""
    from deploy.committee_process import serve as run
    from deploy.kit import CommitteeKit

    run(CommitteeKit.load(kit))


@app.command()
def health(kit: KitFolder = None) -> None:
    """Does it serve, and is it well? Exit status 1 if not."""
    from deploy import ops
    from deploy.committee_process import READY
    from deploy.kit import CommitteeKit

    told = ops.health(CommitteeKit.load(kit).state / READY)
    typer.echo(told)
    raise typer.Exit(0 if told == "ok" else 1)
