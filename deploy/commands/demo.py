"""`consilium demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    study: Annotated[
        Path | None, typer.Option(help="Your own study.toml, instead of the two of the demo.")
    ] = None,
    hospital: Annotated[
        list[Path] | None, typer.Option(help="A hospital.toml for each site of your study: at least three.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Results, pictures, report, bundles, logs and kits.")] = Path(
        "demo"
    ),
    rpc: Annotated[str | None, typer.Option(help="A node to use; default: an anvil of our own.")] = None,
    admin: Annotated[
        str | None,
        typer.Option(
            help="With --rpc: who deploys and pays, env:NAME or file:PATH; default: anvil's accounts."
        ),
    ] = None,
) -> None:
    """The whole council on one laptop, a process for each role: two real studies, a refusal, an audit.

    With --study and --hospital the same council works on your own tables.
    """
    import signal

    from consilium_errors import Misuse
    from deploy.demo.run import run, run_own

    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # an end is an end: processes are closed in order
    if study is None and hospital:
        raise Misuse("demo.study", "--hospital goes with a study of your own", "name it with --study")
    if study is None:
        run(out, rpc=rpc, admin=admin)
    else:
        run_own(out, study, hospital or [], rpc=rpc, admin=admin)
