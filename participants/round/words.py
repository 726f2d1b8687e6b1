"""What the hospital's machine is told, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from consent_contracts.chain import AnalysisView, GateView, HeadView, StudyView
from crypto.commitments import Pedersen
from crypto.identity import AgentKey
from crypto.secure_sum.schemes import Scheme
from participants.committee.terms import CommitteeRule

Fields = NDArray[np.uint64]


class Record(NamedTuple):
    """One write-once record: ``scope`` is ``study``, ``round`` or ``attempt`` with its numbers."""

    scope: str
    slot: str
    body: bytes


class Records(Protocol):
    """What is already recorded; read only."""

    def get(self, scope: str, slot: str) -> bytes | None: ...


@dataclass(frozen=True)
class Step:
    """Record first (all or nothing), then forget, then send."""

    records: tuple[Record, ...] = ()
    send: tuple[tuple[str, bytes], ...] = ()  # (kind, body), to the coordinator
    forget: tuple[str, ...] = ()  # scopes whose records are to be deleted
    again: bool = False  # hand the same message in once more when the records are written
    progress: str = ""


@dataclass(frozen=True)
class Site:
    """This hospital as it takes part in one study."""

    org: bytes
    agent: AgentKey
    datasets: tuple[bytes, ...]  # ascending
    trusted: frozenset[bytes]
    code_hash: bytes
    leave_site_out: bool = False
    min_trusted: int = 2


@dataclass(frozen=True)
class StudyFacts:
    """What identifies a study on its chain."""

    study: bytes
    chain_id: int
    registry: bytes
    ledger: bytes
    spec_hash: bytes


@dataclass(frozen=True)
class View:
    """One consistent, final view of the chain, agreed by two RPCs."""

    study: StudyView
    analysis: AnalysisView
    head: HeadView
    gates: tuple[GateView, ...]
    agents: Mapping[bytes, bytes]
    now: int


@dataclass(frozen=True)
class Contribution:
    """One hospital's bounded integers for one round.

    Attributes:
        values: uint64[length], each below 2^value_bits.
        fields: fields per coefficient, 1 or 2.
    """

    values: Fields
    fields: int


@dataclass(frozen=True)
class Moved:
    """The study's state after a round: canonical bytes, and what comes next."""

    state: bytes
    next_analysis: str


@dataclass(frozen=True)
class Shared:
    """How this round's vector is shared among the committee, and what it makes of it.

    Attributes:
        rule: what the committee does besides adding.
        offsets: uint64[length], taken from the fields before they are shared, so that norms mean something.
    """

    rule: CommitteeRule
    offsets: Fields


class Analyst(Protocol):
    """The analytics as the machine sees it: the state is opaque bytes."""

    def current(self, state: bytes) -> str:
        """Name of the analysis that the state asks for next; empty when finished."""

    def layout(self, state: bytes) -> tuple[int, int, bytes]:
        """``(length, fields, params)`` of the next sum."""

    def contribute(self, state: bytes) -> Contribution:
        """Read the hospital's own data. The only call that does."""

    def move(self, state: bytes, total: Fields, parties: int) -> Moved:
        """The next state; the same at every hospital."""

    def beyond(self, state: bytes, total: Fields, parties: int) -> tuple[tuple[int, ...], int] | None:
        """The first value of a total that `move` refuses because no honest hospitals give it: its fields,
        lowest first, and what one hospital's may make at most. None if there is none."""

    def shared(self, state: bytes) -> Shared:
        """Of the next sum, in a study whose sums a committee computes."""


@dataclass(frozen=True)
class Ports:
    """The machine's effects that are not messages; each is deterministic given its random source."""

    scheme: Scheme
    analyst: Analyst
    commit: Callable[[Fields, int, int], bytes]  # values, fields per coefficient, randomness
    verify_sum: Callable[
        [Fields, int, int, tuple[bytes, ...]], None
    ]  # total, field bits, randomness, commitments
    check_commitments: Callable[[tuple[bytes, ...]], None]  # before the lock, which cannot be refunded
    open_total: Callable[[bytes, bytes, int], Fields]  # seed, total, coefficients
    random: Callable[[int], bytes]
    generate_hpke: Callable[[], tuple[bytes, bytes]]
    committee: tuple[
        tuple[bytes, bytes], ...
    ] = ()  # (address, HPKE public key) of the three, if there is one
    pedersen: Callable[[int, int], Pedersen] | None = None  # length, fields per coefficient; None: no secrecy
