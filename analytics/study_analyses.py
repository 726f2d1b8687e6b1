"""The kinds of analysis a study file can ask for, and what each needs to know."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from analytics.study_fields import Exact, Model, Name, unique

Names = Annotated[tuple[Name, ...], AfterValidator(unique), Field(min_length=1, max_length=512)]


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError("must be above 0")
    return value


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("must not be negative")
    return value


def _small(value: Decimal) -> Decimal:
    if value > 64:
        raise ValueError("must be at most 64, or the integers of a round cannot carry it")
    return value


Positive = Annotated[Exact, AfterValidator(_positive)]
NotNegative = Annotated[Exact, AfterValidator(_not_negative)]


class MomentsEntry(Model):
    """Count, mean and variance of numeric ``columns``."""

    id: Name
    kind: Literal["moments"]
    columns: Names


class LogisticEntry(Model):
    """Ridge logistic regression of an event on ``terms``, standardised with a moments analysis."""

    id: Name
    kind: Literal["logistic"]
    outcome: Name
    terms: Names
    standardise: Name | None = None
    ridge: NotNegative = Decimal(0)
    max_rounds: Annotated[int, Field(ge=1, le=100)] = 25


class NetworkEntry(Model):
    """A small multilayer perceptron for an event, trained by federated averaging.

    ``clip`` bounds the L2 norm of a hospital's update, ``clip_each`` every coordinate, ``weight_cap`` the
    number of patients above which a hospital weighs no more. In mode ``dp`` a round is one step of gradient
    descent over all rows: ``epochs`` must be 1, ``batch`` and ``weight_cap`` are not used, and the clips bound
    the common step.
    """

    id: Name
    kind: Literal["network"]
    outcome: Name
    terms: Names
    standardise: Name | None = None
    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=4)] = (
        16,
    )
    activation: Literal["relu", "tanh"] = "relu"
    rounds: Annotated[int, Field(ge=1, le=1000)]
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    batch: Annotated[int, Field(ge=1, le=65536)] = 32
    rate: Positive = Decimal("0.1")
    clip: Positive = Decimal(4)
    clip_each: Annotated[Positive, AfterValidator(_small)] = Decimal(1)
    weight_cap: Annotated[int, Field(ge=1, le=2**31)] = 1000


class KaplanMeierEntry(Model):
    """Survival by group on the declared grid of ``time``."""

    id: Name
    kind: Literal["kaplan_meier"]
    time: Name
    event: Name
    by: Name | None = None


class LogRankEntry(Model):
    """Log-rank test between the levels of ``by``, stratified by site."""

    id: Name
    kind: Literal["logrank"]
    time: Name
    event: Name
    by: Name
    strata: Literal["site"] = "site"


AnalysisEntry = Annotated[
    MomentsEntry | LogisticEntry | NetworkEntry | KaplanMeierEntry | LogRankEntry, Field(discriminator="kind")
]
