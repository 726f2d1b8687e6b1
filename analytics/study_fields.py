"""Small types shared by the parts of a study file."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def _decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        value = f"{value:f}"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError('write the number as an integer or in quotes, such as "0.10"')
    if not _DECIMAL.fullmatch(str(value)):
        raise ValueError('expected a plain decimal with at most 15 digits on each side, such as "0.10"')
    return Decimal(str(value))


def plain(value: Decimal) -> str:
    """The one text of a decimal: no exponent, no trailing zeros."""
    text = f"{value.normalize():f}"
    return "0" if text == "-0" else text


Exact = Annotated[
    Decimal, BeforeValidator(_decimal), PlainSerializer(plain, return_type=str), Field(allow_inf_nan=False)
]
"""A decimal, never a binary float: the canonical text must not depend on a float printer."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A name of ours: lower-case letters, digits and underscores."""

Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/ +(),%\[\]<>=-]{0,79}$")]
"""A short printable label from elsewhere: a code, a category level, a unit."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""A name that is shown to people and hashed: a study, a site, a key."""

Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

T = TypeVar("T")


def unique(items: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse a list in which something stands twice."""
    if len(set(items)) != len(items):
        raise ValueError("something stands twice in this list")
    return items


class Model(BaseModel):
    """Frozen, and without room for keys that nobody declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_max_length=4000)
