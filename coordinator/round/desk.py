"""The desk at which the coordinator works one study: what is recorded, what the chain says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from consent_contracts.plan import Plan, check_plan
from consilium_errors import Hostile
from coordinator.round.words import Records, Rules, StudyFacts, View
from crypto.secure_sum.packing import Packing
from crypto.secure_sum.schemes import Scheme
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb


@dataclass(frozen=True)
class Desk:
    facts: StudyFacts
    scheme: Scheme
    rules: Rules
    records: Records
    view: View

    @property
    def round(self) -> int:
        return self.view.head.attested + 1

    @property
    def study_scope(self) -> str:
        return self.facts.study.hex()

    @property
    def round_scope(self) -> str:
        return f"{self.study_scope}/{self.round}"

    def attempt_scope(self, attempt: int) -> str:
        return f"{self.round_scope}/{attempt}"

    # the attempt at hand ------------------------------------------------------------------------------

    def attempt(self) -> custody.AttemptRecord | None:
        """The latest attempt of the round that the chain awaits."""
        return self._attempt

    @cached_property  # a desk lives for one step, in which nothing is recorded
    def _attempt(self) -> custody.AttemptRecord | None:
        found = self.records.names(self.round_scope, "attempt-")
        last = max(found, key=lambda slot: int(slot.removeprefix("attempt-")), default="")
        body = self.records.get(self.round_scope, last) if last else None
        return None if body is None else custody.AttemptRecord.FromString(body)

    def scope(self) -> str:
        attempt = self.attempt()
        return self.attempt_scope(attempt.ctx.attempt if attempt is not None else 0)

    def members(self) -> Mapping[bytes, bytes]:
        """Organisation → agent of those whom this attempt was offered to."""
        attempt = self.attempt()
        members = set(attempt.members) if attempt is not None else set()
        return {org: agent for org, agent in self.view.agents.items() if org in members}

    def got(self, kind: str) -> dict[bytes, bytes]:
        """Organisation → its recorded message of this attempt, ascending."""
        found = self.records.slots(self.scope(), f"{kind}-")
        return {bytes.fromhex(s.removeprefix(f"{kind}-")): b for s, b in sorted(found.items())}

    def who(self, kind: str) -> set[bytes]:
        """Organisations whose message of this attempt is recorded; `got` reads megabytes."""
        found = self.records.names(self.scope(), f"{kind}-")
        return {bytes.fromhex(s.removeprefix(f"{kind}-")) for s in found}

    def slot(self, name: str) -> bytes | None:
        return self.records.get(self.scope(), name)

    def ctx(self) -> digests.Ctx:
        attempt = self.attempt()
        if attempt is None:
            raise AssertionError("there is an attempt at hand")
        return wire.ctx_from(attempt.ctx)

    def greeted(self) -> tuple[bytes, ...]:
        """The hospitals that this attempt goes on with after the hellos."""
        body = self.slot("hellos")
        return () if body is None else tuple(body[i : i + 20] for i in range(0, len(body), 20))

    def plan(self) -> Plan | None:
        body = self.slot("plan")
        if body is None:
            return None
        return _checked(self.ctx(), body, frozenset(self.view.agents.items()))

    def about_the_lock(self, lock_id: bytes) -> None:
        """Raises Hostile ``message.lock`` unless this attempt is locked under this id."""
        locked = self.slot("locked")
        if locked is None or wire.parse(pb.Locked, locked).lock_id != lock_id:
            raise Hostile("message.lock", "the message belongs to another lock")

    def planned_datasets(self) -> tuple[bytes, ...]:
        """Those of the plan or, before there is one, of the readies once all are here."""
        if (body := self.slot("plan")) is not None:
            return _datasets_of(body)
        if not set(self.greeted()) <= self.who("ready"):
            return ()
        return _datasets([pb.Ready.FromString(ready).header for ready in self.got("ready").values()])

    def packing(self, plan: Plan) -> Packing:
        return Packing(plan.length, len(self.view.study.roster), _one_or_two(plan.fields))

    def next_analysis(self) -> str:
        """What the last seal's signers asked for next; empty when the study is finished."""
        body = self.records.get(self.study_scope, f"next-{self.view.head.attested}")
        return self.facts.first_analysis if body is None else body.decode()

    def fixed_set(self, analysis: str) -> tuple[bytes, ...]:
        """Organisations with which a sum of this exact analysis was locked."""
        body = self.records.get(self.study_scope, f"set-{analysis}") or b""
        return tuple(body[i : i + 20] for i in range(0, len(body), 20))


@lru_cache(maxsize=8)
def _datasets_of(plan: bytes) -> tuple[bytes, ...]:
    return _datasets(custody.PlanRecord.FromString(plan).headers)


def _datasets(headers: Iterable[pb.Signed]) -> tuple[bytes, ...]:
    uses = (use for signed in headers for use in pb.ReadyHeader.FromString(signed.payload).uses)
    return tuple(sorted({use.dataset for use in uses}))


@lru_cache(maxsize=8)
def _checked(ctx: digests.Ctx, body: bytes, agents: frozenset[tuple[bytes, bytes]]) -> Plan:
    """Asked for with every letter of an attempt, and a signature of each hospital to check."""
    record = custody.PlanRecord.FromString(body)
    return check_plan(ctx, record.headers, record.lock_by, dict(agents))


def _one_or_two(fields: int) -> Literal[1, 2]:
    return 2 if fields == 2 else 1
