"""`consilium study`: a sponsor's studies, as a client of the coordinator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.options import KitFolder, StudyName, connected, find

app = typer.Typer(no_args_is_help=True, help="Studies: write, check, submit, watch, result.")


@app.command()
def new(path: Annotated[Path, typer.Argument()] = Path("study.toml")) -> None:
    """Write a study file to begin from; nothing is overwritten."""
    from consilium_errors import Misuse
    from deploy.commands.template import STUDY

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STUDY)
    except FileExistsError:
        raise Misuse("study.exists", f"{path} exists already", "name another file") from None
    typer.echo(f"{path}: edit it, then consilium study check {path}")


@app.command()
def check(
    path: Path,
    rows: Annotated[
        int, typer.Option(min=2, help="Patients a hospital in the simulation of a study with noise.")
    ] = 200,
) -> None:
    """Read a study file; name every mistake with its field and remedy. With noise: what it promises and costs."""
    from analytics.privacy import plan_of, words
    from analytics.study import StudySpec

    spec = StudySpec.load(path)
    typer.echo(
        f"{spec.id}: {len(spec.analysis)} analyses over {len(spec.sites)} sites, spec {spec.spec_hash.hex()}"
    )
    if (plan := plan_of(spec)) is not None:
        from analytics.privacy.simulation import losses

        rows = min(rows, spec.row_cap)
        for line in (*words.promise(plan), *words.prices(plan), *words.accuracy(losses(spec, rows), rows)):
            typer.echo(f"  {line}")


@app.command()
def submit(
    path: Path,
    kit: KitFolder = None,
    start: Annotated[bool, typer.Option(help="Begin as soon as enough hospitals have consented.")] = True,
    at_least: Annotated[int, typer.Option(help="Hospitals that must consent first; 0: all.")] = 0,
) -> None:
    """Register the study on the chain and offer it to its hospitals."""
    from analytics.study import StudySpec

    spec = StudySpec.load(path)
    _, consilium = connected(kit)
    with consilium:
        study = consilium.submit(spec)
        typer.echo(f"{spec.id}: 0x{study.id.hex()}")
        if start:
            study.start(at_least)
            typer.echo("begins when its hospitals have consented; consilium study watch shows it")


@app.command()
def start(study: StudyName, kit: KitFolder = None, at_least: int = 0) -> None:
    """Let rounds begin as soon as enough hospitals have consented; 0: all."""
    _, consilium = connected(kit)
    with consilium:
        state = consilium.start(find(consilium, study), at_least)
        typer.echo(f"{state.name}: {state.phase.name.lower()}")


@app.command("list")
def list_(kit: KitFolder = None) -> None:
    """The studies that concern this organisation."""
    from rich.console import Console

    from deploy.commands.screens import studies

    _, consilium = connected(kit)
    with consilium:
        Console().print(studies(consilium.list()))


@app.command()
def watch(study: StudyName, kit: KitFolder = None) -> None:
    """Follow a study to its end."""
    from deploy.commands.screens import follow

    its, consilium = connected(kit)
    with consilium:
        follow(consilium.watch(find(consilium, study)), its.name_of)


@app.command()
def result(
    study: StudyName,
    kit: KitFolder = None,
    out: Annotated[Path | None, typer.Option(help="Write the JSON here instead.")] = None,
) -> None:
    """Open what the hospitals have released alike; signatures are checked against the chain."""
    import json

    its, consilium = connected(kit)
    with consilium:
        opened = consilium.result(find(consilium, study))
    text = json.dumps(opened.content, indent=2, ensure_ascii=False)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
    who = ", ".join(its.name_of(org) for org in opened.approvals)
    typer.echo(f"released alike by {who}; {len(opened.seal_ids)} seals", err=True)


@app.command()
def cancel(
    study: StudyName,
    kit: KitFolder = None,
    close: Annotated[
        bool, typer.Option(help="Also close it on the chain, which binds the hospitals.")
    ] = True,
) -> None:
    """No more rounds, for good. What is sealed stays sealed."""
    _, consilium = connected(kit)
    with consilium:
        found = find(consilium, study)
        state = consilium.cancel(found)
        if close:
            consilium.close_study(found)
        typer.echo(f"{state.name}: cancelled{' and closed on the chain' if close else ''}")
