"""From a source's rows to the table of one study: units, categories, missing codes, cohort, ranges.

Order of the rules:

1. Every variable of the study needs a column. A value that no rule of ``map`` or no number reads is
   *unmapped*, and one unmapped value stops the mapping: it is a fault of hospital.toml, not of the
   patient.
2. Rows that the inclusion rule leaves out are *excluded*. Only rows with every variable of the rule can
   be judged; the others stay and count as missing.
3. Of the rest, rows with a gap (empty, or a missing code) or with a value outside the declared range are
   dropped, never filled or clipped. Together they may be at most ``max_missing`` of the cohort.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.study import StudySpec
from analytics.study_variables import Category, Duration, Event, Number, Variable
from analytics.table import Table
from consilium_errors import Misuse, Refused
from participants import units
from participants.config import Column, HospitalConfig
from participants.sources import Coded, Rows, text_of

Mask = NDArray[np.bool_]
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_EVENTS = {"0": 0, "1": 1, "false": 0, "true": 1}
_GRAIN = 1e-9  # relative: a conversion's rounding does not throw a value out of its range


@dataclass(frozen=True, eq=False)
class Field:
    """One study variable over all rows; where neither ``gap`` nor ``unmapped`` holds, ``values`` holds.

    Args:
        values: float64[n] or, for categories and events, int64[n].
        gap, unmapped, outside: bool[n].
        faults: unmapped text -> how many rows; stays at home.
    """

    values: NDArray[Any]
    gap: Mask
    unmapped: Mask
    outside: Mask
    faults: Mapping[str, int]


@dataclass(frozen=True)
class Profile:
    """What became of the rows, for people at this hospital only.

    ``missing`` and ``outside`` count rows of the cohort by variable, ``unmapped`` all rows by variable
    and value; a row can count in several.
    """

    site: str
    rows: int
    excluded: int
    missing: Mapping[str, int]
    outside: Mapping[str, int]
    unmapped: Mapping[str, Mapping[str, int]]
    dropped: int
    kept: int
    max_missing: Fraction

    @property
    def cohort(self) -> int:
        """Rows that the inclusion rule leaves."""
        return self.rows - self.excluded

    def check(self) -> None:
        """Nothing if the mapping may be used.

        Raises:
            Misuse: ``mapping.unmapped``.
            Refused: ``mapping.max_missing``.
        """
        for name, faults in self.unmapped.items():
            raise Misuse(
                "mapping.unmapped",
                f"columns.{name}: {sum(faults.values())} rows hold a value that no rule reads",
                f"extend columns.{name}.map or .missing; `consilium data check` shows the values at home",
            )
        if self.dropped > self.max_missing * self.cohort:
            raise Refused(
                "mapping.max_missing",
                f"{self.dropped} of {self.cohort} rows have gaps or values out of range, "
                f"the study allows {float(self.max_missing):g}",
            )


@dataclass(frozen=True, eq=False)
class Mapped:
    """The study's table and where its rows came from.

    Args:
        table: complete cases of the cohort, in the order of the rows.
        kept: int64[table.n], ascending indices into the rows.
    """

    table: Table
    kept: NDArray[np.int64]
    profile: Profile


def map_rows(rows: Rows, config: HospitalConfig, spec: StudySpec) -> Mapped:
    """The cohort of ``spec`` among ``rows``.

    Raises:
        Misuse: ``mapping.column``, ``mapping.map``, ``mapping.unmapped``, ``units.dimension``.
        Refused: ``mapping.max_missing``.
    """
    fields = _fields(rows, config, spec)
    included = _included(fields, spec, rows.n)
    profile, kept = _profile(fields, included, config, spec)
    profile.check()
    return Mapped(_table(fields, spec, kept), kept, profile)


def profile(rows: Rows, config: HospitalConfig, spec: StudySpec) -> Profile:
    """As `map_rows`, but faults of the data are counted and not raised."""
    fields = _fields(rows, config, spec)
    return _profile(fields, _included(fields, spec, rows.n), config, spec)[0]


# variables -------------------------------------------------------------------------------------------


def _fields(rows: Rows, config: HospitalConfig, spec: StudySpec) -> dict[str, Field]:
    fields = {}
    for name, variable in spec.variables.items():
        if name not in config.columns:
            raise Misuse(
                "mapping.column", f"the study's variable {name} has no column", f"add [columns.{name}]"
            )
        column = config.columns[name]
        fields[name] = _field(name, variable, column, rows.columns[column.from_])
    return fields


def _field(name: str, variable: Variable, column: Column, source: Coded) -> Field:
    values: Sequence[float | int | None]
    if isinstance(variable, Number | Duration):
        values, outside = _read_number(name, variable, column, source.values)
    else:
        values, outside = _read_code(name, variable, column, source.values)
    missing = _is_missing(variable, column, source.values)
    known = np.array([v is not None for v in values], dtype=np.bool_)
    used = np.bincount(source.codes, minlength=len(source.values))
    bad = ~missing & ~known & (used > 0)
    faults = {str(source.values[i]): int(used[i]) for i in np.flatnonzero(bad)}
    dtype = np.float64 if isinstance(variable, Number | Duration) else np.int64
    filled = np.array([0 if v is None else v for v in values], dtype=dtype)
    codes = source.codes
    return Field(filled[codes], missing[codes], bad[codes], (outside & known & ~missing)[codes], faults)


def _is_missing(variable: Variable, column: Column, texts: tuple[str | None, ...]) -> Mask:
    marks = {text_of(mark) for mark in column.missing} | {None}
    numbers = set()
    if isinstance(variable, Number | Duration):
        numbers = {number for mark in marks if (number := _number(mark)) is not None}
    return np.array([t in marks or _number(t) in numbers for t in texts], dtype=np.bool_)


def _number(text: str | None) -> float | None:
    if text is None or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if np.isfinite(value) else None


def _read_number(
    name: str, variable: Number | Duration, column: Column, texts: tuple[str | None, ...]
) -> tuple[list[float | None], Mask]:
    if column.map is not None:
        raise Misuse(
            "mapping.map", f"columns.{name}.map: {name} is a {variable.kind} and is not mapped", "remove it"
        )
    if column.unit is None and variable.unit != "1":
        raise Misuse("mapping.unit", f"columns.{name}.unit is missing", f"the study wants {variable.unit}")
    read = [_number(text) for text in texts]
    given = np.array([np.nan if v is None else v for v in read], dtype=np.float64)
    values = units.convert(given, column.unit or "1", variable.unit)
    low, high = (float(end) for end in variable.range)
    slack = _GRAIN * max(abs(low), abs(high))
    outside = (values < low - slack) | (values > high + slack)
    # Within the slack it is the edge itself, off by the rounding of the conversion.
    snapped = np.where(outside, values, np.clip(values, low, high))
    return [None if v is None else float(x) for v, x in zip(read, snapped, strict=True)], outside


def _read_code(
    name: str, variable: Category | Event, column: Column, texts: tuple[str | None, ...]
) -> tuple[list[int | None], Mask]:
    targets = _EVENTS if isinstance(variable, Event) else {v: i for i, v in enumerate(variable.levels)}
    if column.unit is not None:
        raise Misuse(
            "mapping.map", f"columns.{name}.unit: {name} is a {variable.kind} without a unit", "remove it"
        )
    rules = column.map if column.map is not None else {text: text for text in targets}
    codes = {}
    for text, target in rules.items():
        if str(target) not in targets:
            raise Misuse(
                "mapping.map",
                f"columns.{name}.map: {target} is no value of {name}",
                f"the study knows {', '.join(targets)}",
            )
        codes[text] = targets[str(target)]
    return [codes.get(text) if text is not None else None for text in texts], np.zeros(len(texts), np.bool_)


# rows ------------------------------------------------------------------------------------------------


def _included(fields: Mapping[str, Field], spec: StudySpec, n: int) -> Mask:
    rule = spec.inclusion
    if rule is None:
        return np.ones(n, np.bool_)
    judged = np.ones(n, np.bool_)
    for name in spec.variables:
        if re.search(rf"\b{name}\b", _unquoted(rule.text)):
            judged &= ~(fields[name].gap | fields[name].unmapped)
    return ~judged | rule.evaluate(_table(fields, spec, np.arange(n)))


def _unquoted(text: str) -> str:
    return re.sub(r"\"[^\"]*\"|'[^']*'", "", text)


def _profile(
    fields: Mapping[str, Field], included: Mask, config: HospitalConfig, spec: StudySpec
) -> tuple[Profile, NDArray[np.int64]]:
    bad = np.zeros(len(included), np.bool_)
    for field in fields.values():
        bad |= field.gap | field.outside | field.unmapped
    kept = np.flatnonzero(included & ~bad).astype(np.int64)
    made = Profile(
        site=config.site,
        rows=len(included),
        excluded=int(np.count_nonzero(~included)),
        missing={name: int(np.count_nonzero(field.gap & included)) for name, field in fields.items()},
        outside={name: int(np.count_nonzero(field.outside & included)) for name, field in fields.items()},
        unmapped={name: dict(field.faults) for name, field in fields.items() if field.faults},
        dropped=int(np.count_nonzero(included & bad)),
        kept=len(kept),
        max_missing=Fraction(spec.cohort.max_missing),
    )
    return made, kept


def _table(fields: Mapping[str, Field], spec: StudySpec, rows: NDArray[np.int64]) -> Table:
    numbers = {k: f.values[rows] for k, f in fields.items() if f.values.dtype == np.float64}
    codes = {k: f.values[rows] for k, f in fields.items() if f.values.dtype == np.int64}
    return Table(numbers, codes, len(rows))
