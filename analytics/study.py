"""study.toml: the pre-registered plan. Its canonical hash is the study's name on the chain."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import rfc8785
from pydantic import AfterValidator, Field, ValidationError, model_validator

from analytics.study_analyses import AnalysisEntry, NotNegative, Positive
from analytics.study_checks import DisagreementError, disagreements
from analytics.study_committee import CommitteeMember, Robust
from analytics.study_errors import findings
from analytics.study_fields import Exact, Hex32, Identifier, Label, Model, Name, unique
from analytics.study_rule import Rule, parse
from analytics.study_variables import Variable
from consilium_errors import Hostile, Misuse

_MAX_BYTES = 1 << 20
_REMEDY = "mend the named fields of the study file; `consilium study check` lists them again"


class Protocol(Model):
    """The approval of the ethics board and the hash of the plan it approved."""

    ethics: Label
    plan_sha256: Hex32


class Purpose(Model):
    """GA4GH Data Use Ontology permission, its modifiers, and the disease (MONDO)."""

    duo: Annotated[str, Field(pattern=r"^DUO:[0-9]{7}$")]
    modifiers: Annotated[
        tuple[Annotated[str, Field(pattern=r"^DUO:[0-9]{7}$")], ...],
        AfterValidator(unique),
        Field(max_length=32),
    ] = ()
    disease: Annotated[str, Field(pattern=r"^MONDO:[0-9]{7}$")] | None = None
    commercial: bool = False


class Release(Model):
    """How results leave: ``exact`` is booked as exact, never as epsilon 0; ``dp`` as `Privacy` promises."""

    mode: Literal["exact", "dp"]
    recipient: Identifier
    min_cell: Annotated[int, Field(ge=1, le=1000)] = 5


class Privacy(Model):
    """What a study in mode ``dp`` promises every patient, for all its results together.

    ``clip`` is the L2 norm to which a patient's gradient is clipped; the declared ranges bound moments. ``shares``
    divides the budget between the analyses, which have one part each by default. See `analytics.privacy`.
    """

    epsilon: Positive
    delta: Positive
    clip: Positive
    unit: Literal["patient"] = "patient"
    shares: Annotated[dict[Name, Positive], Field(default_factory=dict)]


def _share(value: Exact) -> Exact:
    if value > 1:
        raise ValueError("is a share between 0 and 1")
    return value


class Cohort(Model):
    """Who is included, and what happens to rows with gaps."""

    include: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    missing: Literal["complete-case"] = "complete-case"
    max_missing: Annotated[NotNegative, AfterValidator(_share)]


class StudySpec(Model):
    """The whole plan. ``row_cap`` bounds the rows of a site, ``collusion`` is how many sites may conspire,
    ``window_s`` how long after a lock everybody's seal is awaited."""

    schema_: Annotated[Literal["consilium.study/1"], Field(alias="schema")]
    id: Identifier
    protocol: Protocol
    purpose: Purpose
    sites: Annotated[tuple[Identifier, ...], AfterValidator(unique), Field(min_length=3, max_length=1024)]
    min_sites: Annotated[int, Field(ge=3)] = 3
    sum: Literal["fhe", "mpc", "clear"] = "fhe"
    committee: Annotated[tuple[CommitteeMember, ...], Field(max_length=3)] = ()
    robust: Robust | None = None
    collusion: Annotated[int, Field(ge=0)] = 1
    window_s: Annotated[int, Field(ge=1, le=30 * 86400)] = 3600
    row_cap: Annotated[int, Field(ge=1, le=2**31)]
    release: Release
    privacy: Privacy | None = None
    cohort: Cohort
    variables: Annotated[dict[Name, Variable], Field(min_length=1, max_length=1024)]
    analysis: Annotated[tuple[AnalysisEntry, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _agrees(self) -> StudySpec:
        found = disagreements(self)
        if found:
            raise DisagreementError(found)
        return self

    @classmethod
    def load(cls, source: Path | str) -> StudySpec:
        """Read a study from a file (``Path``) or from TOML text (``str``).

        Raises:
            Misuse: ``study.invalid`` naming every faulty field.
        """
        try:
            text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
            document = tomllib.loads(text)
        except (OSError, UnicodeDecodeError) as error:
            raise Misuse(
                "study.invalid", f"cannot read the study file: {type(error).__name__}", _REMEDY
            ) from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise Misuse("study.invalid", f"not TOML: {error}", _REMEDY) from error
        try:
            return cls.model_validate_json(json.dumps(document, default=str))
        except ValidationError as error:
            lines = [f"{path}: {text}" for path, text in findings(error)]
            raise Misuse("study.invalid", "\n".join(lines), _REMEDY) from error

    def canonical(self) -> bytes:
        """RFC 8785 JSON with every default written out and decimals as strings."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def from_canonical(cls, data: bytes) -> StudySpec:
        """Parse exactly what `canonical` writes.

        Raises:
            Hostile: ``study.malformed``.
        """
        try:
            if len(data) > _MAX_BYTES:
                raise ValueError("too long")
            spec = cls.model_validate_json(data)
            same = spec.canonical() == data
        except (ValueError, TypeError, RecursionError, rfc8785.CanonicalizationError):
            raise Hostile("study.malformed", "these bytes are not a study") from None
        if not same:
            raise Hostile("study.malformed", "the study is not in its canonical form")
        return spec

    @property
    def spec_hash(self) -> bytes:
        """32 bytes: sha256 of the canonical form under the protocol's tag "spec"."""
        return tagged_sha256("spec", self.canonical())

    @property
    def inclusion(self) -> Rule | None:
        """The cohort's rule, or None when everybody is included."""
        return None if self.cohort.include is None else parse(self.cohort.include, self.variables)


def tagged_sha256(tag: str, *parts: bytes) -> bytes:
    """The protocol's tag rule; written here too because this room knows no protocol (a test compares)."""
    h = hashlib.sha256(b"consilium/1\0" + tag.encode() + b"\0")
    for part in parts:
        h.update(len(part).to_bytes(8, "big") + part)
    return h.digest()
