"""What a study claims to be for, as the chain records it."""

from __future__ import annotations

from collections.abc import Iterable

from consent_contracts import duo

NON_COMMERCIAL = "DUO:0000046"


def claims(
    code: str, modifiers: Iterable[str] = (), *, disease: str | None = None, commercial: bool = False
) -> tuple[int, int, bytes]:
    """``(purposes, satisfies, scope)`` of a study: its DUO permission, the modifiers that it undertakes to keep.

    A study that is not commercial satisfies "non-commercial use only" whether it lists it or not.
    """
    kept = set(modifiers) | (set() if commercial else {NON_COMMERCIAL})
    values = {code: disease} if disease else {}
    return duo.purposes([code]), duo.conditions(sorted(kept)), duo.scope(values)
