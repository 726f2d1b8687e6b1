"""The agreed vocabulary of a study: its variables, their units and their ranges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from analytics.study_fields import Exact, Label, Model, unique

Range = tuple[Exact, Exact]


def _ordered(value: Range) -> Range:
    if not value[0] < value[1]:
        raise ValueError("the lower end must be below the upper end")
    return value


Interval = Annotated[Range, AfterValidator(_ordered)]


class Number(Model):
    """A measured number; ``centre`` and ``scale`` are public guesses that keep sums precise."""

    kind: Literal["number"]
    unit: Label = "1"
    range: Interval
    centre: Exact | None = None
    scale: Exact | None = None
    loinc: Label | None = None

    @model_validator(mode="after")
    def _scaled(self) -> Number:
        if self.scale is not None and self.scale <= 0:
            raise ValueError("scale must be above 0")
        if self.centre is not None and not self.range[0] <= self.centre <= self.range[1]:
            raise ValueError("centre must lie in the range")
        return self

    @property
    def middle(self) -> float:
        """``centre``, or the middle of the range."""
        low, high = self.range
        return float(self.centre if self.centre is not None else (low + high) / 2)

    @property
    def spread(self) -> float:
        """``scale``, or half the range."""
        low, high = self.range
        return float(self.scale if self.scale is not None else (high - low) / 2)


class Duration(Model):
    """A time from ``origin``; ``grid`` is the width of the released bins, in the same unit."""

    kind: Literal["duration"]
    unit: Label
    origin: Label = "enrolment"
    range: Interval
    grid: Exact | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Duration:
        if self.range[0] < 0:
            raise ValueError("a duration cannot be negative")
        if self.grid is not None and not 0 < self.grid <= self.range[1]:
            raise ValueError("grid must be above 0 and within the range")
        return self

    @property
    def middle(self) -> float:
        return float(sum(self.range) / 2)

    @property
    def spread(self) -> float:
        return float((self.range[1] - self.range[0]) / 2)


class Event(Model):
    """Whether it happened: code 1, or 0."""

    kind: Literal["event"]


class Category(Model):
    """One of ``levels``; its code is the index of the level."""

    kind: Literal["category"]
    levels: Annotated[tuple[Label, ...], AfterValidator(unique), Field(min_length=2, max_length=64)]
    reference: Label | None = None
    loinc: Label | None = None

    @model_validator(mode="after")
    def _reference_is_a_level(self) -> Category:
        if self.reference is not None and self.reference not in self.levels:
            raise ValueError("reference must be one of the levels")
        return self

    @property
    def baseline(self) -> int:
        """Code of the reference level; the first one if none is named."""
        return self.levels.index(self.reference) if self.reference is not None else 0


Variable = Annotated[Number | Duration | Event | Category, Field(discriminator="kind")]
