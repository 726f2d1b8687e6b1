"""hospital.toml: one hospital's own mapping and rules.

Unknown keys are refused, every fault is named with its field path at once, and no secret stands in the file:
a database's address comes from the environment (``env:NAME``).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from analytics.disclosure import LEAST_SITES, Floor
from consilium_errors import Misuse
from participants.units import UNITS

_REMEDY = "mend the named fields of hospital.toml; `consilium data check` lists them again"
_TELLING = {
    "extra_forbidden": "unknown key; remove it or mend its spelling",
    "missing": "is missing; add it",
    "union_tag_not_found": "has no kind; set it to csv, parquet, postgresql or sqlite",
    "union_tag_invalid": "is of unknown kind; use csv, parquet, postgresql or sqlite",
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=4000)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError('write the number as an integer or in quotes, such as "1e-6"')
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError('expected a number, such as "0.33" or "1e-6"') from None
    if not number.is_finite() or number < 0:
        raise ValueError("must be finite and not negative")
    return number


def _known_unit(unit: str) -> str:
    if unit not in UNITS:
        raise ValueError(f"is no unit we convert; use one of {', '.join(sorted(UNITS))} (UCUM)")
    return unit


Amount = Annotated[Decimal, BeforeValidator(_decimal)]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Relation = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$")]
FromEnvironment = Annotated[str, StringConstraints(pattern=r"^env:[A-Za-z_][A-Za-z0-9_]*$")]
Address = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
Duo = Annotated[str, StringConstraints(pattern=r"^DUO:[0-9]{7}$")]
Mondo = Annotated[str, StringConstraints(pattern=r"^MONDO:[0-9]{7}$")]
Sum = Literal["fhe", "mpc", "clear"]


class FileSource(_Model):
    """A CSV (with a header line) or Parquet file; a relative path starts at hospital.toml's folder."""

    kind: Literal["csv", "parquet"]
    path: str
    patient_id: ColumnName


class SqliteSource(_Model):
    """A table or view of an SQLite file, opened read-only."""

    kind: Literal["sqlite"]
    path: str
    relation: Relation
    patient_id: ColumnName


class PostgresqlSource(_Model):
    """A table or view of a PostgreSQL server, for a read-only role over verified TLS."""

    kind: Literal["postgresql"]
    url: FromEnvironment
    relation: Relation
    patient_id: ColumnName

    def address(self) -> str:
        """The URL out of the environment; it may hold a password and is never logged.

        Raises:
            Misuse: ``config.environment``.
        """
        name = self.url.removeprefix("env:")
        if not (value := os.environ.get(name)):
            raise Misuse(
                "config.environment", f"source.url: {name} is not set", f"export {name}=postgresql://…"
            )
        return value


Source = Annotated[FileSource | SqliteSource | PostgresqlSource, Field(discriminator="kind")]


class Column(_Model):
    """How one study variable is read: source column, its unit, its values, and its codes for "not known"."""

    from_: Annotated[ColumnName, Field(alias="from")]
    unit: Annotated[str, AfterValidator(_known_unit)] | None = None
    map: dict[str, StrictInt | StrictStr] | None = None
    missing: tuple[StrictInt | StrictFloat | StrictStr, ...] = ()

    @model_validator(mode="after")
    def _one_reading(self) -> Column:
        if self.unit is not None and self.map is not None:
            raise ValueError("has both unit and map; a number has a unit, a category or event a map")
        return self


class Policy(_Model):
    """What this hospital takes part in; ``trusted`` are organisations that it believes not to collude.

    ``committee``: members of whom it believes that no two collude; only they may compute on its shares.
    """

    purposes: Annotated[tuple[Duo, ...], Field(min_length=1)]
    diseases: tuple[Mondo, ...] = ()
    commercial: bool = False
    sums: Annotated[tuple[Sum, ...], Field(min_length=1)] = ("fhe",)
    approve: Literal["manual", "auto"] = "manual"
    trusted: tuple[Address, ...] = ()
    min_trusted: Annotated[int, Field(ge=2)] = 2
    committee: tuple[Address, ...] = ()

    @property
    def committee_addresses(self) -> frozenset[bytes]:
        return frozenset(bytes.fromhex(a[2:]) for a in self.committee)

    @property
    def trusted_addresses(self) -> frozenset[bytes]:
        return frozenset(bytes.fromhex(a[2:]) for a in self.trusted)


class Disclosure(_Model):
    """The hospital's disclosure floor, see `analytics.disclosure`."""

    min_sites: Annotated[int, Field(ge=LEAST_SITES)] = LEAST_SITES
    min_rows: Annotated[int, Field(ge=1)] = 15
    min_cell: Annotated[int, Field(ge=1)] = 5
    max_params_per_row: Annotated[Amount, Field(gt=0, le=1)] = Decimal("0.33")
    min_difference: Annotated[int, Field(ge=1)] = 5
    leave_site_out: bool = False

    @property
    def floor(self) -> Floor:
        return Floor(**self.model_dump() | {"max_params_per_row": Fraction(self.max_params_per_row)})


class Budget(_Model):
    """Caps over all studies: analyses opened without noise in a year, and (epsilon, delta) for good, because
    what was shown of a patient stays shown."""

    exact_releases_per_year: Annotated[int, Field(ge=0)] = 20
    epsilon: Amount = Decimal(8)
    delta: Annotated[Amount, Field(lt=1)] = Decimal("1e-6")


class HospitalConfig(_Model):
    """The whole file."""

    schema_: Annotated[Literal["consilium.hospital/1"], Field(alias="schema")]
    site: Identifier
    source: Source
    columns: Annotated[dict[Name, Column], Field(min_length=1)]
    policy: Policy
    disclosure: Disclosure = Disclosure()
    budget: Budget = Budget()
    _folder: Path = PrivateAttr(default=Path())

    @classmethod
    def load(cls, source: Path | str, folder: Path | None = None) -> HospitalConfig:
        """Read a file (``Path``) or TOML text (``str``, whose relative paths start at ``folder``).

        Raises:
            Misuse: ``config.invalid``, naming every faulty field and what to do.
        """
        try:
            text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
            config = cls.model_validate(tomllib.loads(text))
        except (OSError, UnicodeDecodeError) as error:
            raise Misuse(
                "config.invalid", f"cannot read hospital.toml: {type(error).__name__}", _REMEDY
            ) from error
        except ValidationError as error:
            raise Misuse("config.invalid", "\n".join(_lines(error)), _REMEDY) from None
        except (ValueError, RecursionError) as error:
            raise Misuse("config.invalid", f"not TOML: {error}", _REMEDY) from error
        config._folder = folder or (source.parent if isinstance(source, Path) else Path())
        return config

    @property
    def path(self) -> Path:
        """The data file of a csv, parquet or sqlite source."""
        if isinstance(self.source, PostgresqlSource):
            raise Misuse("config.source", "a server has no path")
        return self._folder / self.source.path


def _lines(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False, include_input=False):
        steps = list(item["loc"])
        if steps[:1] == ["source"]:
            del steps[1:2]  # pydantic puts the tag of the union there
        path = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps if s != "[key]")
        text = _TELLING.get(item["type"], item["msg"].removeprefix("Value error, "))
        yield f"{path.lstrip('.') or '(file)'}: {text}"
