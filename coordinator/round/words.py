"""What the coordinator's machine is told, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from consent_contracts.chain import AnalysisView, GateView, HeadView, StudyView
from protos import digests


class Record(NamedTuple):
    scope: str
    slot: str
    body: bytes


class Records(Protocol):
    def get(self, scope: str, slot: str) -> bytes | None: ...

    def slots(self, scope: str, prefix: str) -> Mapping[str, bytes]:
        """Slot → body of every record of the scope whose slot begins with ``prefix``."""

    def names(self, scope: str, prefix: str) -> list[str]:
        """The slots alone."""


@dataclass(frozen=True)
class LockCall:
    """Arguments of the contract's ``lock``; the lists ascend as the contract wants them."""

    ctx: digests.Ctx
    uses: tuple[digests.Use, ...]
    orgs: tuple[bytes, ...]
    ready_root: bytes
    inputs_root: bytes
    lock_by: int
    upload_hashes: tuple[bytes, ...]
    signatures: tuple[bytes, ...]
    plan_hash: bytes

    @property
    def name(self) -> bytes:
        """Two calls of one name ask for the same, as for every `Call`."""
        return self.plan_hash


@dataclass(frozen=True)
class AttestCall:
    """Arguments of the contract's ``attest``; an empty signature names an absentee."""

    study: bytes
    seal: digests.Seal
    orgs: tuple[bytes, ...]
    signatures: tuple[bytes, ...]
    seal_id: bytes

    @property
    def name(self) -> bytes:
        return self.seal_id


@dataclass(frozen=True)
class RecoverCall:
    """Arguments of the contract's ``recover``: a hospital of the lock that does not unlock."""

    study: bytes
    lock_id: bytes
    org: bytes

    @property
    def name(self) -> bytes:
        return self.lock_id + self.org


Call = LockCall | AttestCall | RecoverCall


@dataclass(frozen=True)
class Step:
    """Record first (all or nothing), then send, then call the chain."""

    records: tuple[Record, ...] = ()
    send: tuple[tuple[bytes, str, bytes], ...] = ()  # (organisation, kind, body)
    call: Call | None = None
    forget: tuple[str, ...] = ()
    progress: str = ""


@dataclass(frozen=True)
class StudyFacts:
    study: bytes
    chain_id: int
    registry: bytes
    ledger: bytes
    spec_hash: bytes
    code_hash: bytes
    genesis_commit: bytes  # public: the first state derives from the spec
    first_analysis: str
    committee: tuple[bytes, ...] = ()  # addresses of the three members, in the study's order


@dataclass(frozen=True)
class Rules:
    """How long to wait, in seconds."""

    answer_s: int = 120
    lock_s: int = 600
    retry_s: int = 2  # before an attempt that leaves nobody out


@dataclass(frozen=True)
class View:
    """One final view of the chain. ``analysis`` is that of the round at hand, ``gates`` those of its plan."""

    study: StudyView
    analysis: AnalysisView
    head: HeadView
    gates: tuple[GateView, ...]
    agents: Mapping[bytes, bytes]
    now: int
