"""`consilium provision`: one kit for each organisation; renewal and revocation of certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup


class _KitsByDefault(TyperGroup):
    """`consilium provision consortium.toml` is `consilium provision kits consortium.toml`."""

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]  # click is not typed here
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["kits", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_KitsByDefault,
    no_args_is_help=True,
    help="Kits and certificates of a consortium: consilium provision consortium.toml --out kits.",
)

Authority = Annotated[
    Path | None, typer.Option(help="The authority's folder; default: authority/ beside the kit.")
]


@app.command()
def kits(
    consortium: Annotated[Path, typer.Argument(metavar="consortium.toml")],
    out: Annotated[Path, typer.Option(help="Folder of the kits; made, or completed.")] = Path("kits"),
) -> None:
    """Write one kit for each organisation that consortium.toml names."""
    from deploy.provision import Consortium, provision
    from deploy.provision.kits import fingerprints

    made = provision(Consortium.load(consortium), out, base=consortium.parent)
    names = {org: name for name, org in made.organisations.items()}
    for name, digest in fingerprints(out):
        typer.echo(f"{out / name}  0x{made.organisations[name].hex()}  certificate sha256 {digest[:16]}…")
    typer.echo(f"chain: registry 0x{made.addresses.registry.hex()}, ledger 0x{made.addresses.ledger.hex()}")
    for left in made.left:
        typer.echo(f"left for the contracts' administrator: {left}")
    typer.echo(
        f"{out / 'authority'} signs certificates: take it offline. Hand each of {len(names)} its own kit only."
    )


@app.command()
def renew(
    kit: Annotated[Path, typer.Argument(help="Folder of the kit.")],
    authority: Authority = None,
    days: Annotated[int, typer.Option(help="How long it will be valid.")] = 397,
) -> None:
    """A new certificate and key for the same organisation. Restart what serves from the kit."""
    from deploy.provision import renew as renewed
    from deploy.provision.authority import Authority as Opened

    member = renewed(kit, Opened.open(authority or kit.parent / "authority"), days)
    typer.echo(f"{kit}: {member.role} 0x{member.org.hex()}, valid until {member.not_after:%Y-%m-%d}")


@app.command()
def revoke(
    kit: Annotated[Path, typer.Argument(help="Folder of the kit whose certificates are not to be believed.")],
    authority: Authority = None,
    coordinator: Annotated[
        Path | None, typer.Option(help="The coordinator's kit, to put the list there.")
    ] = None,
    keep_current: Annotated[
        bool, typer.Option(help="Revoke what was issued before the kit's present certificate only.")
    ] = False,
) -> None:
    """Put every certificate of an organisation on the revocation list; serving processes notice by themselves."""
    from deploy.provision import files
    from deploy.provision import revoke as revoked
    from deploy.provision.authority import Authority as Opened

    home = Opened.open(authority or kit.parent / "authority")
    listed = revoked(kit.name, home, keep=kit / "tls.pem" if keep_current else None)
    if coordinator is not None:
        files.write(coordinator / "revoked.pem", listed)
    typer.echo(
        f"{home.folder / 'revoked.pem'}: copy it to the coordinator's kit"
        if coordinator is None
        else "revoked"
    )
