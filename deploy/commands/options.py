"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from coordinator.client import Consilium, Kit

KitFolder = Annotated[
    Path | None,
    typer.Option(
        "--kit", help="Folder of this organisation's kit; default $CONSILIUM_KIT or ~/.config/consilium."
    ),
]
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="Its file, its name, or its id or the beginning of it.")
]


def connected(folder: Path | None) -> tuple[Kit, Consilium]:
    from coordinator.client import Consilium, Kit

    kit = Kit.load(folder)
    return kit, Consilium.from_kit(kit)


def find(consilium: Consilium, name: str) -> bytes:
    """The id of the one study that is meant.

    Raises:
        Misuse: ``study.unknown``, ``study.ambiguous``.
    """
    from consilium_errors import Misuse

    prefix = name.removeprefix("0x").lower()
    if len(prefix) == 64 and not set(prefix) - set("0123456789abcdef"):
        return bytes.fromhex(prefix)
    spec_hash = _spec_hash(name)
    found = [
        s.id
        for s in consilium.list()
        if (s.spec_hash == spec_hash if spec_hash else name == s.name or _begins(s.id, prefix))
    ]
    if not found:
        raise Misuse("study.unknown", f"no study {name} concerns this organisation", "consilium study list")
    if len(found) > 1:
        raise Misuse("study.ambiguous", f"{name} may be {len(found)} studies", "give more of the id")
    return found[0]


def _begins(study: bytes, prefix: str) -> bool:
    return len(prefix) >= 4 and study.hex().startswith(prefix)


def _spec_hash(name: str) -> bytes | None:
    if not name.endswith(".toml"):
        return None
    from analytics.study import StudySpec

    return StudySpec.load(Path(name)).spec_hash


def address(text: str) -> bytes:
    """Raises Misuse ``cli.address``."""
    from consilium_errors import Misuse

    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 20:
        raise Misuse("cli.address", f"not an address: {text}", "give 0x and 40 hexadecimal digits")
    return value
