"""The real coordinator's machine over the fake chain, for hospitals that attack it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from consent_contracts.signed import sign
from consilium_errors import Error, Refused
from consilium_records import RecordStore
from coordinator.round import AttestCall, Call, CoordinatorRound, LockCall, RecoverCall, Rules
from coordinator.round import Step as CoordinatorStep
from coordinator.round import StudyFacts as CoordinatorFacts
from coordinator.round import View as CoordinatorView
from coordinator.round.desk import Desk as CoordinatorDesk
from crypto.secure_sum import schemes
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks.sim import CHAIN_ID, CODE, LEDGER, LIVE, REGISTRY, STUDY, World, memory_store

#: (organisation, kind, body) → what the coordinator hears instead; nothing: the message is lost
Tamper = Callable[[bytes, str, bytes], bytes | None]


@dataclass
class Desk:
    """The real coordinator's machine over the same fake chain."""

    world: World
    machine: CoordinatorRound
    store: RecordStore
    sent: list[tuple[bytes, str, bytes]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[tuple[str, str, str]] = field(default_factory=list)
    _carried: int = 0
    _obeyed: list[Call] = field(default_factory=list)

    def view(self) -> CoordinatorView:
        chain = self.world.chain
        bare = CoordinatorView(chain.study, LIVE, chain.head, (), chain.agents, chain.now)
        _, datasets = self.machine.outlook(self.store, bare)
        return replace(bare, gates=tuple(chain.gates[d] for d in datasets if d in chain.gates))

    def receive(self, kind: str, body: bytes) -> None:
        self._apply(self.machine.receive(kind, body, self.store, self.view()))

    def advance(self) -> bool:
        """One step; True if it did anything."""
        step = self.machine.advance(self.store, self.view())
        self._apply(step)
        if step.call is not None:
            self.calls.append(step.call)
        return bool(step.records or step.send or step.call)

    def _apply(self, step: CoordinatorStep) -> None:
        self.store.commit(step.records, (), step.forget)
        self.sent += list(step.send)
        if step.progress:
            self.progress.append(step.progress)

    def play(self, tamper: Tamper | None = None, until: str = "attest", most: int = 200) -> None:
        """Carry messages between this coordinator and the hospitals until ``until`` has happened.

        Args:
            tamper: may change what a hospital says, or silence it by returning nothing.
        """
        for _ in range(most):
            if until in self.progress:
                self.progress.clear()
                return
            if not self._turn(tamper):
                break
        assert until in self.progress, f"stopped after {self.progress[-5:]}"
        self.progress.clear()

    def drain(self, tamper: Tamper | None = None) -> None:
        """Carry on until there is nothing left to do."""
        while self._turn(tamper):
            pass

    def hold(self, until: Callable[[], bool]) -> None:
        """Carry on until something holds."""
        while not until():
            assert self._turn(None), "there is nothing left to do"

    def records(self, kind: str) -> dict[bytes, bytes]:
        """Organisation → its recorded message of the latest attempt."""
        return self._desk().got(kind)

    def _turn(self, tamper: Tamper | None) -> bool:
        if self._carried < len(self.sent):
            org, kind, body = self.sent[self._carried]
            self._carried += 1
            for answer, said in self._ask(org, kind, body):
                heard = said if tamper is None else tamper(org, answer, said)
                if heard:
                    self._hear(answer, heard)
            return True
        done = self.advance()
        if done and self.calls and self.calls[-1] not in self._obeyed:
            self._obey(self.calls[-1])
        return done

    def _ask(self, org: bytes, kind: str, body: bytes) -> list[tuple[str, bytes]]:
        member = self.world.members[org]
        try:
            member.settle()
            return member.handle(kind, body)
        except Error as error:
            self.refusals.append((member.name, kind, error.code))
            if not isinstance(error, Refused) or kind not in ("task", "hellos", "plan"):
                return []
            refusal = pb.Refusal(study=STUDY, org=org, code=error.code, about=self.ctx().digest())
            return [("refusal", wire.encode(sign("refusal", refusal, org=org, key=member.agent)))]

    def _hear(self, kind: str, body: bytes) -> None:
        try:
            self.receive(kind, body)
        except Error as error:
            self.dropped.append((kind, error.code))

    def _obey(self, call: Call) -> None:
        self._obeyed.append(call)
        if isinstance(call, LockCall):
            self.world.chain.lock(call)
        elif isinstance(call, RecoverCall):
            self.world.chain.recover(call.org)
        elif isinstance(call, AttestCall):
            self.world.chain.attest(call.seal)
            for member in self.world:
                member.settle()

    def ctx(self) -> digests.Ctx:
        return self._desk().ctx()

    def slot(self, name: str) -> bytes:
        """A record of the latest attempt, empty if there is none."""
        return self._desk().slot(name) or b""

    def _desk(self) -> CoordinatorDesk:
        return CoordinatorDesk(
            self.machine.facts, self.machine.scheme, self.machine.rules, self.store, self.view()
        )

    def last(self, kind: str) -> dict[bytes, bytes]:
        """Organisation → the latest message of that kind sent to it."""
        return {org: body for org, k, body in self.sent if k == kind}


def coordinator(world: World, rules: Rules | None = None) -> Desk:
    held = world.genesis
    facts = CoordinatorFacts(
        study=STUDY,
        chain_id=CHAIN_ID,
        registry=REGISTRY,
        ledger=LEDGER,
        spec_hash=world.spec.spec_hash,
        code_hash=CODE,
        genesis_commit=digests.state_commit(held.salt, held.state),
        first_analysis=world.spec.analysis[0].id,
    )
    return Desk(world, CoordinatorRound(facts, schemes.fhe(), rules or Rules()), memory_store())
