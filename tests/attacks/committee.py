"""A committee of three played in one process, over a consortium in memory.

The members' machine is the real one. What they compute on shares is done here by hand, without links: enough to
make honest outputs, and any other.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from consent_contracts.signed import sign
from crypto import envelopes
from crypto.commitments import Q
from crypto.identity import AgentKey
from crypto.mpc import sharing
from crypto.mpc.words import Output, output_digest, payload_aad, tagged
from crypto.secure_sum import schemes as schemes
from deploy.committee import section
from participants.committee import machine
from participants.committee.machine import Seat, View
from participants.committee.terms import rule_of, terms_of
from participants.round.by_committee import to_wire
from participants.round.words import Step
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.rogue import Attempt


@cache
def member_keys() -> tuple[tuple[AgentKey, bytes], ...]:
    """Agent key and HPKE secret of each member."""
    agents = (AgentKey.from_bytes(bytes([0x70 + i]) * 32) for i in range(3))
    return tuple((agent, envelopes.generate()[0]) for agent in agents)


def toml() -> str:
    return "\n".join(
        section(f"m{i}", agent.address, envelopes.public_of(secret))
        for i, (agent, secret) in enumerate(member_keys(), 1)
    )


@dataclass
class Member:
    """One member: the real machine over a real store, with a view that a test may change."""

    rank: int
    world: sim.World
    store: object = field(default_factory=sim.memory_store)

    @property
    def seat(self) -> Seat:
        return Seat(member_keys()[self.rank][0], sim.CODE)

    def view(self) -> View:
        chain = self.world.chain
        return View(chain.study, chain.head, chain.agents)

    def inputs(self, message: pb.Inputs) -> Step:
        return self.keep(
            machine.on_inputs(self.world.spec, wire.encode(message), self.seat, self.store, self.view())
        )

    def share(self, upload: pb.Upload) -> Step:
        return self.keep(machine.on_share(sim.STUDY, wire.encode(upload), self.store, self.view()))

    def compute(self, lock_id: bytes, number: int = 1) -> Step:
        body = wire.encode(pb.Compute(lock_id=lock_id, number=number))
        return self.keep(machine.on_compute(sim.STUDY, body, self.store, self.view()))

    def due(self) -> machine.Due | None:
        lock = self.world.chain.head.lock
        scope = machine.lock_scope(sim.STUDY, lock.round, lock.lock_id) if lock else "none"
        return machine.due(sim.STUDY, self.store.slots(scope, "compute-"), self.store, self.view())

    def keep(self, step: Step) -> Step:
        self.store.commit(step.records, (), step.forget)
        return step


def locked_round(names: str = "abcd") -> tuple[sim.World, Attempt]:
    """A round of which every hospital has uploaded shares, and which the chain has locked."""
    world = sim.build(names, committee=toml())
    return world, Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()


def inputs(attempt: Attempt) -> pb.Inputs:
    return pb.Inputs(
        ctx=wire.ctx_to(attempt.ctx),
        hellos=[attempt.hello[org] for org in sorted(attempt.hello)],
        headers=[attempt.ready[org].header for org in sorted(attempt.ready)],
        lock_by=attempt.lock_by,
        lock_id=attempt.locked().lock_id,
        receipts=attempt.receipts(),
    )


Change = Callable[[np.ndarray, int], tuple[np.ndarray, int]]


def outputs(
    world: sim.World,
    attempt: Attempt,
    change: Change = lambda share, r: (share, r),
    *,
    liar: int = 1,
    run: bytes = bytes(32),
    accepted: bytes | None = None,
) -> pb.Outputs:
    """What the three send when each adds its shares; ``change`` is what the ``liar`` does to its own."""
    plan, lock_id = attempt.plan(), attempt.locked().lock_id
    members = [agent.address for agent, _ in member_keys()]
    terms = terms_of(
        rule_of(world.spec, "m0"),
        members,
        plan,
        lock_id,
        attempt.receipts(),
        world.chain.study.min_sites,
        None,
    )
    readers = {org: bytes(pb.Hello.FromString(s.payload).hpke_key) for org, s in attempt.hello.items()}
    flags = accepted or bytes([1]) * len(plan.orgs)
    name, made = tagged("test run", run), []
    for rank, (agent, secret) in enumerate(member_keys()):
        share, r = _added(attempt, terms.length, rank, secret, plan, flags)
        if rank == liar:
            share, r = change(share, r)
        aad = payload_aad(terms, agent.address, name)
        key = secrets.token_bytes(envelopes.ONCE_KEY_BYTES)
        payload = envelopes.seal_once(key, aad, share.tobytes() + (r % Q).to_bytes(32, "big"))
        sealed = {org: envelopes.seal(pk, tagged("key", aad, org), key) for org, pk in readers.items()}
        common = (name, bytes(len(flags)), flags, ())
        signature = agent.sign(output_digest(terms, agent.address, common, payload, sealed))
        output = Output(agent.address, *common[:3], (), payload, sealed, signature)
        made.append(sign("output", to_wire(output, lock_id), org=agent.address, key=agent))
    return pb.Outputs(lock_id=lock_id, outputs=made)


def _added(attempt, length, rank, secret, plan, flags):
    held = [
        sharing.open_upload(
            sharing.Upload.from_bytes(attempt.upload[org].ciphertext),
            rank,
            secret,
            plan_hash=plan.plan_hash,
            org=org,
            member=member_keys()[rank][0].address,
            length=length,
        )
        for org, yes in zip(plan.orgs, flags, strict=True)
        if yes
    ]
    return sharing.add_own(held, length), sum(h.blinding for h in held)


def without(outputs_: pb.Outputs, rank: int, other: pb.Signed) -> pb.Outputs:
    changed = list(outputs_.outputs)
    changed[rank] = other
    return pb.Outputs(lock_id=outputs_.lock_id, outputs=changed)
