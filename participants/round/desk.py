"""The desk at which every step of a round is worked: who we are, what is recorded, what the chain says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from consent_contracts.plan import Plan, check_plan
from consilium_errors import Hostile, Refused, Unavailable
from crypto.secure_sum.packing import Packing
from participants.round.words import Fields, Ports, Records, Site, StudyFacts, View
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb

R = TypeVar(
    "R",
    custody.HelloRecord,
    custody.InputRecord,
    custody.ReadyRecord,
    custody.UploadRecord,
    custody.UnlockRecord,
    custody.SealRecord,
)


class Plans:
    """The plan that was checked last: an attempt asks for its own at three steps, with n signatures to check."""

    def __init__(self) -> None:
        self._last: tuple[tuple[object, ...], Plan] | None = None

    def check(
        self, ctx: pb.Ctx, headers: Sequence[pb.Signed], lock_by: int, agents: Mapping[bytes, bytes]
    ) -> Plan:
        """Raises as `check_plan`."""
        key = (wire.encode(ctx), tuple(map(wire.encode, headers)), lock_by, tuple(agents.items()))
        if self._last is None or self._last[0] != key:
            self._last = key, check_plan(wire.ctx_from(ctx), headers, lock_by, agents)
        return self._last[1]


@dataclass(frozen=True)
class Desk:
    facts: StudyFacts
    site: Site
    ports: Ports
    records: Records
    view: View
    plans: Plans = field(default_factory=Plans)
    at: int = 0  # a round in the past, when it is settled

    # scopes -------------------------------------------------------------------------------------------

    @property
    def round(self) -> int:
        """The round that the chain awaits, unless another is looked at."""
        return self.at or self.view.head.attested + 1

    @property
    def study_scope(self) -> str:
        return self.facts.study.hex()

    @property
    def round_scope(self) -> str:
        return f"{self.study_scope}/{self.round}"

    def attempt_scope(self, ctx_hash: bytes) -> str:
        return f"{self.round_scope}/{ctx_hash.hex()}"

    def packing(self, length: int, fields: int) -> Packing:
        """How the fields of this study's sums lie in coefficients: room for its whole roster."""
        if fields not in (1, 2):
            raise Hostile("plan.layout", "a coefficient holds one field or two")
        return Packing(length, len(self.view.study.roster), 2 if fields == 2 else 1)

    # what is recorded ---------------------------------------------------------------------------------

    def held(self, after: int) -> pb.StateHandover | None:
        """State and salt after round ``after``; the genesis is public."""
        if (body := self.records.get(self.study_scope, f"state-{after}")) is None:
            return None
        return pb.StateHandover.FromString(body)

    def state(self) -> pb.StateHandover:
        """The state that this round starts from, as the chain's last seal commits to it.

        Raises:
            Unavailable: ``round.behind`` until a peer has handed the state over.
            Refused: ``round.forked`` when ours is not the attested one.
        """
        held = self.held(self.view.head.attested)
        if held is None:
            raise Unavailable("round.behind", "the state of the last seal is not here yet")
        attested = self.view.head.state_commit
        if self.view.head.attested and digests.state_commit(held.salt, held.state) != attested:
            raise Refused("round.forked", "our state differs from the attested one")
        return held

    def hello(self, ctx_hash: bytes) -> custody.HelloRecord:
        return self._need(custody.HelloRecord, self.attempt_scope(ctx_hash), "hello")

    def ready(self, ctx_hash: bytes) -> custody.ReadyRecord:
        return self._need(custody.ReadyRecord, self.attempt_scope(ctx_hash), "ready")

    def upload(self, ctx_hash: bytes) -> custody.UploadRecord:
        return self._need(custody.UploadRecord, self.attempt_scope(ctx_hash), "upload")

    def planned(self, ctx_hash: bytes) -> tuple[Plan, custody.UploadRecord]:
        """The plan that I uploaded under, checked anew against the agents in force."""
        upload, hello = self.upload(ctx_hash), self.hello(ctx_hash)
        return self.check(hello.ctx, upload.headers, upload.lock_by), upload

    def check(self, ctx: pb.Ctx, headers: Sequence[pb.Signed], lock_by: int) -> Plan:
        """Raises as `check_plan`."""
        return self.plans.check(ctx, headers, lock_by, self.view.agents)

    def unlock(self, ctx_hash: bytes) -> custody.UnlockRecord:
        return self._need(custody.UnlockRecord, self.attempt_scope(ctx_hash), "unlock")

    def input(self, release: int) -> custody.InputRecord | None:
        body = self.records.get(self.round_scope, f"input-{release}")
        return None if body is None else _parse(custody.InputRecord, body)

    def await_seal(self, seal_id: bytes) -> None:
        """The sender's node may be ahead of ours.

        Raises:
            Unavailable: ``seal.not_final`` when the chain does not show this seal of ours as final yet.
        """
        if self.records.get(self.round_scope, f"index-{seal_id.hex()}") is not None:
            raise Unavailable("seal.not_final", "the chain does not show our seal as final yet")

    def find(self, digest: bytes) -> bytes:
        """The context to which a plan hash or lock id of this round belongs."""
        found = self.records.get(self.round_scope, f"index-{digest.hex()}")
        if found is None:
            raise Hostile("round.unknown", "nothing of ours belongs to this message")
        return found

    def _need(self, kind: type[R], scope: str, slot: str) -> R:
        body = self.records.get(scope, slot)
        if body is None:
            raise Hostile("round.out_of_order", f"no {slot} of ours precedes this message")
        return _parse(kind, body)

    # the chain ----------------------------------------------------------------------------------------

    def check_consent(self) -> None:
        """Every listed dataset may be used, by the chain's own word, and has budget left.

        Raises:
            Refused: ``consent.*`` or ``budget.*``.
        """
        if self.view.study.closed:
            raise Refused("consent.study_closed", "the study is closed")
        gates = {g.dataset: g for g in self.view.gates}
        for dataset in self.site.datasets:
            gate = gates.get(dataset)
            if gate is None or gate.status != 0:
                why = "unknown" if gate is None else gate.reason
                raise Refused("consent.not_live", f"consent is not live: {why}")
            if gate.steward != self.site.org:
                raise Refused("consent.not_ours", "a listed dataset is not ours")
            self._check_budget(gate.rho_left, gate.delta_left, gate.exact_left)

    def _check_budget(self, rho_left: int, delta_left: int, exact_left: int) -> None:
        lock = self.view.head.lock
        if lock is not None and lock.round == self.round and not lock.abandoned:
            return  # a retry of what is already charged
        if self.view.study.mode == digests.EXACT:
            if exact_left < 1 and not self.opened_before():
                raise Refused("budget.exact_spent", "no exact release is left")
        elif rho_left < self.view.analysis.rho or delta_left < self.view.analysis.delta:
            raise Refused("budget.privacy_spent", "the privacy budget is spent")

    def opened_before(self) -> bool:
        """Whether this hospital has opened a sum of the current analysis: its set is fixed then."""
        name = self.ports.analyst.current(self.state().state)
        return self.records.get(self.study_scope, f"set-{name}") is not None


def _parse(kind: type[R], body: bytes) -> R:
    message = kind()
    message.ParseFromString(body)
    return message


def as_bytes(values: Fields) -> bytes:
    return np.ascontiguousarray(values, dtype="<u8").tobytes()


def as_fields(data: bytes) -> Fields:
    return np.frombuffer(data, dtype="<u8").astype(np.uint64, copy=False)
