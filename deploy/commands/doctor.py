"""`consilium doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    kit: Annotated[
        Path | None, typer.Option(help="Look at this kit too; default: this machine only.")
    ] = None,
) -> None:
    """What is wrong, and how to mend it: versions, keys, certificates, chain, clock, disk. Exit status 1 if anything
    fails."""
    import logging

    import structlog

    from deploy.doctor import examine, failed, report

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    findings = examine(kit)
    typer.echo(report(findings))
    if failed(findings):
        raise typer.Exit(1)
