"""`consilium audit`: repeat every decision. Only the chain is believed; the coordinator saves a walk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.options import KitFolder, StudyName, address, connected, find

app = typer.Typer(no_args_is_help=True, help="Repeat every decision from the chain.")


@app.command()
def verify(
    rpc: Annotated[
        list[str] | None, typer.Option(help="RPC URL; name two that do not depend on each other.")
    ] = None,
    registry: Annotated[str | None, typer.Option(help="Address of ConsentRegistry.")] = None,
    ledger: Annotated[str | None, typer.Option(help="Address of AttestationLedger.")] = None,
    chain_id: Annotated[int | None, typer.Option(help="The chain's id.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle file of a hospital.")] = None,
    key: Annotated[Path | None, typer.Option(help="The regulator's HPKE secret, 32 bytes.")] = None,
    kit: KitFolder = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write every check here, too.")] = None,
) -> None:
    """Replay both contracts and, with a bundle, a study's content; fails if anything does.

    What is not named is taken from the kit.
    """
    import json
    from dataclasses import asdict

    from rich.console import Console

    from consent_contracts.auditor import audit, explain
    from consent_contracts.chain import Addresses

    if rpc and registry and ledger and chain_id is not None:
        urls, where = rpc, Addresses(chain_id, address(registry), address(ledger))
    else:
        from coordinator.client import Kit

        chain = Kit.load(kit).config.chain
        urls, where = rpc or list(chain.rpc), chain.addresses()
    verdict = audit(
        urls,
        where,
        bundle=bundle.read_bytes() if bundle else None,
        regulator_key=key.read_bytes() if key else None,
    )
    if out is not None:
        out.write_text(json.dumps(asdict(verdict), indent=2) + "\n", encoding="utf-8")
    Console().print(explain(verdict))
    verdict.verify()


@app.command("list")
def list_(kit: KitFolder = None) -> None:
    """The studies that this organisation may audit."""
    from rich.console import Console

    from deploy.commands.screens import studies

    _, consilium = connected(kit)
    with consilium:
        Console().print(studies(consilium.list()))


@app.command()
def seals(study: StudyName, kit: KitFolder = None) -> None:
    """The seals of a study, as the coordinator lists them."""
    from rich.console import Console

    from deploy.commands.screens import line

    its, consilium = connected(kit)
    with consilium:
        for seal in consilium.seals(find(consilium, study)):
            Console().print(line(seal, its.name_of).append(f"  0x{seal.seal_id.hex()}"), soft_wrap=True)


@app.command()
def fetch(study: StudyName, out: Path, kit: KitFolder = None) -> None:
    """Write the public part of a study's bundle, for `consilium audit verify --bundle`."""
    _, consilium = connected(kit)
    with consilium:
        out.write_bytes(consilium.bundle(find(consilium, study)))
    typer.echo(str(out))


@app.command()
def verdict(study: StudyName, kit: KitFolder = None) -> None:
    """The coordinator's own replay of a study; `verify` needs no trust in it."""
    from consilium_errors import Hostile

    _, consilium = connected(kit)
    with consilium:
        found = consilium.verdict(find(consilium, study))
    typer.echo(
        f"block {found.block}: {found.events} events, {found.locks} locks, {found.seals} seals, "
        f"{found.signatures} signatures, {len(found.failed)} checks failed"
    )
    for check in found.failed:
        typer.echo(f"  {check.name} {check.subject}: {check.code}")
    if found.failed:
        raise Hostile("audit.failed", "the coordinator's replay found faults", "consilium audit verify")
