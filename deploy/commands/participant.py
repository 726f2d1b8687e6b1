"""`consilium participant`: one hospital, from its kit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands.options import KitFolder

if TYPE_CHECKING:
    from deploy.hospital import Home

app = typer.Typer(no_args_is_help=True, help="A hospital: its process, and what its people decide.")

Study = Annotated[str, typer.Argument(metavar="STUDY", help="Its name, or its id or the beginning of it.")]
Account = Annotated[
    Path | None,
    typer.Option(help="The steward's key file (32 bytes, 0600); default: account.key of the kit."),
]


@app.command()
def init(kit: KitFolder = None, account: Account = None) -> None:
    """Make keys and database, and let the agent's key sign for the hospital on the chain."""
    from deploy import agents

    with _home(kit, account) as home:
        chain = home.chain()
        new = agents.delegate(home, chain)
        home.hospital(chain)
        typer.echo(f"agent 0x{home.agent().address.hex()}: {'delegated' if new else 'known to the chain'}")
        typer.echo(
            f"{len(home.datasets.listed)} datasets; consilium participant serve --kit {home.kit.folder}"
        )


@app.command()
def serve(kit: KitFolder = None) -> None:
    """Take part in studies, until SIGTERM. Log: JSON lines on standard error."""
    from deploy.hospital_process import serve as run
    from deploy.kit import HospitalKit

    run(HospitalKit.load(kit))


@app.command()
def review(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="All that were offered, by default.")
    ] = None,
    kit: KitFolder = None,
) -> None:
    """What is asked, on which columns, what leaves, what it costs. Decides nothing."""
    from deploy.reviewing import listing, page_of

    with _home(kit, None) as home:
        approvals = home.approvals()
        typer.echo(listing(approvals) if study is None else page_of(home, approvals, approvals.find(study)))


@app.command()
def approve(
    study: Study,
    kit: KitFolder = None,
    account: Account = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long consent lasts.")] = 365,
) -> None:
    """Take part, and give consent on the chain; the serving process goes on by itself."""
    with _home(kit, account) as home:
        approvals = home.approvals()
        offered = approvals.find(study)
        dataset = approvals.approve(offered.study, home.steward(), days=days)
        typer.echo(f"{offered.spec.id}: taking part with dataset 0x{dataset.hex()}")


@app.command()
def refuse(study: Study, kit: KitFolder = None, account: Account = None) -> None:
    """Take no part, or no more: a consent that was given is revoked on the chain."""
    with _home(kit, account) as home:
        approvals = home.approvals()
        offered = approvals.find(study)
        revoked = approvals.refuse(offered.study, home.desk())
        typer.echo(f"{offered.spec.id}: refused{', consent revoked' if revoked else ''}")


@app.command()
def ledger(kit: KitFolder = None) -> None:
    """What this hospital has taken part in, and what is left of its year."""
    from deploy.reviewing import booked

    with _home(kit, None) as home:
        typer.echo(booked(home, home.approvals()))


@app.command()
def score(study: Study, kit: KitFolder = None) -> None:
    """How well a study's models predict this hospital's own rows, as they stand now. Nothing leaves."""
    from deploy.reviewing import scores

    with _home(kit, None) as home:
        typer.echo(scores(home, home.approvals().find(study)))


@app.command()
def bundle(
    study: Study,
    out: Path,
    kit: KitFolder = None,
    regulator: Annotated[
        Path | None, typer.Option(help="The regulator's public key; default: the one in regulators/.")
    ] = None,
) -> None:
    """Write what an auditor needs of a study; its sums open to the regulator's key only."""
    from deploy.reviewing import regulator_key
    from participants import bundles

    with _home(kit, None) as home:
        approvals = home.approvals()
        offered = approvals.find(study)
        key = regulator_key(home.kit, regulator)
        out.write_bytes(bundles.bundle(approvals.store, offered.study, offered.spec.canonical(), key))
    typer.echo(str(out))


@app.command()
def health(kit: KitFolder = None) -> None:
    """Does it serve, and is it well? Exit status 1 if not."""
    from deploy import ops
    from deploy.hospital import READY
    from deploy.kit import HospitalKit

    told = ops.health(HospitalKit.load(kit).state / READY)
    typer.echo(told)
    raise typer.Exit(0 if told == "ok" else 1)


@app.command("rotate-agent")
def rotate_agent(kit: KitFolder = None, account: Account = None) -> None:
    """A new agent key, known to the chain first. Stop serving before, start again after."""
    from deploy import agents

    with _home(kit, account) as home:
        typer.echo(f"agent 0x{agents.rotate(home, home.chain()).hex()}")


def _home(kit: Path | None, account: Path | None) -> Home:
    from deploy.hospital import Home
    from deploy.kit import HospitalKit

    _alone()
    return Home(HospitalKit.load(kit), account)


def _alone() -> None:
    """Files are this user's only. The log belongs to the serving process; a person gets the answer."""
    import logging
    import os

    import structlog

    os.umask(0o077)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
