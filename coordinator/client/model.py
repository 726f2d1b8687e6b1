"""What the server tells, as values. It comes from another organisation, so it is checked before it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from consilium_errors import Hostile
from protos import digests
from protos.consilium.v1 import services_pb2 as api


class Phase(Enum):
    """Where a study stands; see services.proto."""

    OFFERED = api.OFFERED
    AWAITING = api.AWAITING
    RUNNING = api.RUNNING
    HALTED = api.HALTED
    SEALED = api.SEALED
    FINISHED = api.FINISHED
    CANCELLED = api.CANCELLED
    CLOSED = api.CLOSED

    @property
    def final(self) -> bool:
        return self in (Phase.FINISHED, Phase.CANCELLED, Phase.CLOSED)


@dataclass(frozen=True)
class StudyState:
    """Organisations are 20 bytes, ids and hashes 32. ``needed``: releases with which it is finished."""

    id: bytes
    name: str
    phase: Phase
    spec_hash: bytes
    sponsor: bytes
    roster: tuple[bytes, ...]
    consents: tuple[bytes, ...]
    round: int
    attempt: int
    analysis: str
    waiting_for: str
    missing: tuple[bytes, ...]
    last: str
    halted: str
    seals: int
    releases: int
    needed: int
    spec: bytes = b""
    accused: tuple[Accusation, ...] = ()


@dataclass(frozen=True)
class Accusation:
    """What the hospitals ``by`` found in a check after a dispute: one accused, two of which one lied, or none."""

    round: int
    code: str
    orgs: tuple[bytes, ...]
    by: tuple[bytes, ...]


@dataclass(frozen=True)
class Seal:
    number: int
    seal_id: bytes
    analysis: str
    members: tuple[bytes, ...]
    signers: tuple[bytes, ...]


StudyEvent = StudyState | Seal


@dataclass(frozen=True)
class Check:
    """``outcome``: passed, failed or skipped; ``code`` of a failure."""

    name: str
    subject: str
    outcome: str
    code: str


@dataclass(frozen=True)
class Verdict:
    """The coordinator's own replay, up to ``block``; ``made_at`` in Unix seconds."""

    checks: tuple[Check, ...]
    block: int
    events: int
    locks: int
    seals: int
    signatures: int
    made_at: int

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.outcome == "failed")


def state(message: api.Study) -> StudyState:
    """Raises Hostile ``answer.malformed``, or ``answer.spec`` for a spec that is not the one hashed."""
    if message.spec and digests.tagged("spec", message.spec) != message.spec_hash:
        raise Hostile("answer.spec", "the spec is not the one whose hash is told")
    try:
        phase = Phase(message.phase)
    except ValueError:
        raise _malformed() from None
    return StudyState(
        id=_sized(message.id, 32),
        name=_text(message.name),
        phase=phase,
        spec_hash=_sized(message.spec_hash, 32),
        sponsor=_sized(message.sponsor, 20),
        roster=_orgs(message.roster),
        consents=_orgs(message.consents),
        round=message.round,
        attempt=message.attempt,
        analysis=_text(message.analysis),
        waiting_for=_text(message.waiting_for),
        missing=_orgs(message.missing),
        last=_text(message.last),
        halted=_text(message.halted),
        seals=message.seals,
        releases=message.releases,
        needed=message.needed,
        spec=message.spec,
        accused=tuple(
            Accusation(a.round, _text(a.code), _orgs(a.orgs), _orgs(a.by)) for a in message.accused
        ),
    )


def seal(message: api.SealInfo) -> Seal:
    """Raises Hostile ``answer.malformed``."""
    return Seal(
        number=message.number,
        seal_id=_sized(message.seal_id, 32),
        analysis=_text(message.analysis),
        members=_orgs(message.members),
        signers=_orgs(message.signers),
    )


def event(message: api.StudyEvent) -> StudyEvent:
    """Raises Hostile ``answer.malformed``."""
    if message.WhichOneof("event") == "seal":
        return seal(message.seal)
    return state(message.state)


def verdict(message: api.VerdictResponse) -> Verdict:
    """Raises Hostile ``answer.malformed``."""
    return Verdict(
        checks=tuple(
            Check(_text(c.name), _text(c.subject), _text(c.outcome), _text(c.code)) for c in message.checks
        ),
        block=message.block,
        events=message.events,
        locks=message.locks,
        seals=message.seals,
        signatures=message.signatures,
        made_at=message.made_at,
    )


def _text(value: str) -> str:
    """Names and codes only: nothing that could drive a terminal."""
    if len(value) > 200 or not (value.isascii() and value.isprintable()):
        raise _malformed()
    return value


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise _malformed()
    return value


def _orgs(values: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(_sized(v, 20) for v in values)


def _malformed() -> Hostile:
    return Hostile("answer.malformed", "the server's answer is not one that a coordinator gives")
