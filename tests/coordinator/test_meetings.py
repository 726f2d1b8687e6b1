"""The coordinator calls a committee together, and again; what it carries it cannot read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from consent_contracts.signed import sign
from consilium_errors import Error
from coordinator.round import Rules
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import committee, sim
from tests.attacks.coordination import Desk, coordinator
from tests.attacks.rogue import Attempt


@dataclass
class CommitteeDesk(Desk):
    """Letters to members are kept."""

    letters: dict[bytes, list[tuple[str, bytes]]] = field(default_factory=dict)

    def _ask(self, org: bytes, kind: str, body: bytes) -> list[tuple[str, bytes]]:
        if org in self.world.members:
            return super()._ask(org, kind, body)
        self.letters.setdefault(org, []).append((kind, body))
        return []

    def fail(self, rank: int, code: str, number: int = 1) -> None:
        agent = committee.member_keys()[rank][0]
        lock_id = pb.Compute.FromString(self.of(rank, "compute")[-1]).lock_id
        failed = pb.JobFailed(lock_id=lock_id, org=agent.address, number=number, code=code)
        self.receive("job-failed", wire.encode(sign("job-failed", failed, org=agent.address, key=agent)))

    def of(self, rank: int, kind: str) -> list[bytes]:
        return [
            body for k, body in self.letters.get(committee.member_keys()[rank][0].address, []) if k == kind
        ]

    def numbers(self, rank: int) -> list[int]:
        return [pb.Compute.FromString(body).number for body in self.of(rank, "compute")]


@pytest.fixture
def desk() -> CommitteeDesk:
    world = sim.build("abcd", committee=committee.toml())
    plain = coordinator(world)
    members = tuple(agent.address for agent, _ in committee.member_keys())
    machine = replace(
        plain.machine,
        facts=replace(plain.machine.facts, committee=members),
        scheme=committee.schemes.mpc(),
        rules=Rules(answer_s=100, retry_s=2),
    )
    made = CommitteeDesk(world, machine, plain.store)
    made.drain()
    return made


def attempt_of(desk: CommitteeDesk) -> Attempt:
    """The attempt as the coordinator recorded it."""
    ctx = desk.ctx()
    found = Attempt(desk.world, ctx, "m0", desk.world.orgs)
    found.hello = {o: pb.Signed.FromString(b) for o, b in desk.records("hello").items()}
    found.ready = {o: pb.Ready.FromString(b) for o, b in desk.records("ready").items()}
    found.upload = {o: pb.Upload.FromString(b) for o, b in desk.records("upload").items()}
    found.lock_by = pb.Inputs.FromString(desk.of(0, "inputs")[0]).lock_by
    return found


def test_each_member_gets_the_plan_every_share_and_a_number(desk: CommitteeDesk) -> None:
    for rank in range(3):
        assert len(desk.of(rank, "inputs")) == 1
        assert len(desk.of(rank, "share")) == 4
        assert desk.numbers(rank) == [1]
    member = committee.Member(1, desk.world)
    member.inputs(pb.Inputs.FromString(desk.of(1, "inputs")[0]))
    for body in desk.of(1, "share"):
        member.share(pb.Upload.FromString(body))
    member.compute(pb.Compute.FromString(desk.of(1, "compute")[0]).lock_id)
    assert member.due() is not None


def test_a_run_that_is_whole_goes_to_the_hospitals_and_ends_in_a_seal(desk: CommitteeDesk) -> None:
    made = committee.outputs(desk.world, attempt_of(desk))
    other = committee.outputs(desk.world, attempt_of(desk), run=b"\1" * 32)
    for signed in (made.outputs[0], other.outputs[1], made.outputs[2], made.outputs[0]):
        desk.receive("output", wire.encode(signed))
    desk.drain()
    assert desk.records("seal") == {}
    desk.receive("output", wire.encode(made.outputs[1]))
    desk.drain()
    assert len(desk.calls) == 2  # lock, attest
    assert desk.world.chain.head.attested == 1


def test_who_could_not_finish_is_met_again_soon_or_after_a_person_has_looked(desk: CommitteeDesk) -> None:
    desk.fail(0, "mpc.silent_peer")
    desk.drain()
    assert desk.numbers(1) == [1]
    desk.world.chain.now += 2
    desk.drain()
    assert desk.numbers(0) == desk.numbers(1) == desk.numbers(2) == [1, 2]
    desk.fail(0, "mpc.peer_lost")  # of the first number: known
    desk.fail(2, "mpc.stock_part", 2)
    desk.fail(0, "mpc.peer_lost", 2)
    desk.drain()
    desk.world.chain.now += 50
    desk.drain()
    assert desk.numbers(0) == [1, 2]
    assert desk._desk().slot("halted") == b"mpc.stock_part"
    desk.world.chain.now += 50
    desk.drain()
    assert desk.numbers(0) == [1, 2, 3]


def test_strangers_and_floods_are_dropped(desk: CommitteeDesk) -> None:
    made = committee.outputs(desk.world, attempt_of(desk))
    org = desk.world.orgs[0]
    hospital = desk.world.members[org].agent
    output = pb.Output.FromString(made.outputs[0].payload)
    output.org = org
    with pytest.raises(Error) as e:
        desk.receive("output", wire.encode(sign("output", output, org=org, key=hospital)))
    assert e.value.code == "signed.unknown_sender"
    agent = committee.member_keys()[0][0]
    output = pb.Output.FromString(made.outputs[0].payload)
    for i in range(16):
        output.run = bytes([i]) * 32
        desk.receive("output", wire.encode(sign("output", output, org=agent.address, key=agent)))
    output.run = bytes([99]) * 32
    with pytest.raises(Error) as e:
        desk.receive("output", wire.encode(sign("output", output, org=agent.address, key=agent)))
    assert e.value.code == "output.runs"


def test_an_upload_of_another_length_or_commitment_is_not_taken() -> None:
    world, attempt = committee.locked_round()
    first = attempt.upload[world.orgs[0]]
    assert len(first.ciphertext) == committee.schemes.mpc().upload_size(attempt.plan().length)
    assert first.rho_box == attempt.plan().headers[0].commitment
    with pytest.raises(Error):
        committee.schemes.mpc().check(first.ciphertext[:-1], attempt.plan().length)
