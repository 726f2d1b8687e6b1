"""Whatever bytes arrive at whatever step, both machines answer with a typed error or go on. Nothing crashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_contracts.signed import sign
from consilium_errors import Error
from coordinator.round.receiving import RECEIVERS
from participants.round.machine import STEPS
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim
from tests.attacks.liars import garbling
from tests.attacks.rogue import Attempt
from tests.attacks.test_check_privacy import everybody, request

some = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SIGNED: dict[str, type[Message]] = {
    "hello": pb.Hello,
    "ready": pb.ReadyHeader,
    "box": pb.Box,
    "unlock": pb.Unlock,
    "seal": pb.SealShare,
    "dispute": pb.Dispute,
    "checked": pb.Checked,
}


@dataclass
class Stage:
    """A hospital that waits for a message, and the honest one."""

    world: sim.World
    kind: str
    body: bytes


def _stage(kind: str) -> Stage:
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs)
    me = world["a"].org
    steps: list[tuple[str, Callable[[], object], Callable[[], bytes]]] = [
        ("task", lambda: None, a.task),
        ("hellos", a.greet, a.hellos),
        ("plan", a.gather, lambda: wire.encode(a.plan_for(me))),
        ("locked", lambda: a.load().lock(), lambda: wire.encode(a.locked())),
        ("sum", a.open, lambda: wire.encode(a.sum())),
        ("check", lambda: None, lambda: request(world, a.locked().lock_id)),
        ("checked-all", lambda: None, lambda: wire.encode(everybody(world, a))),
    ]
    for name, advance, body in steps:
        advance()
        if name == kind:
            return Stage(world, kind, body())
    raise AssertionError(kind)


stage = cache(_stage)
STAGES = ["task", "hellos", "plan", "locked", "sum", "check", "checked-all"]


def survives(act: Callable[[], object]) -> None:
    try:
        act()
    except Error as error:
        code = error.code
    else:
        return
    assert "." in code


def flipped(body: bytes, data: st.DataObject) -> bytes:
    made = bytearray(body)
    for at in data.draw(st.lists(st.integers(0, 8 * len(made) - 1), min_size=1, max_size=3)):
        made[at // 8] ^= 1 << at % 8
    return bytes(made)


def disturbed(message: Message, data: st.DataObject, world: sim.World) -> None:
    """Change one field somewhere inside, and sign anew whatever was signed around it."""
    field = data.draw(st.sampled_from(list(message.DESCRIPTOR.fields)))
    value = getattr(message, field.name)
    if field.is_repeated:
        if not value:
            return
        at = data.draw(st.integers(0, len(value) - 1))
        if field.type == FieldDescriptor.TYPE_MESSAGE and data.draw(st.booleans()):
            disturbed(value[at], data, world)
        elif data.draw(st.booleans()):
            del value[at]
        else:
            value.append(value[at])
    elif isinstance(message, pb.Signed) and message.kind in SIGNED and field.name == "payload":
        inner = SIGNED[message.kind].FromString(message.payload)
        disturbed(inner, data, world)
        member = world.members[message.sender]
        message.CopyFrom(sign(message.kind, inner, org=member.org, key=member.agent))
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        disturbed(value, data, world)
    elif isinstance(value, bool):
        setattr(message, field.name, not value)
    elif isinstance(value, int):
        most = 2**32 - 1 if field.type == FieldDescriptor.TYPE_UINT32 else 2**64 - 1
        setattr(message, field.name, data.draw(st.integers(0, most)))
    elif isinstance(value, bytes) and value:
        size = min(len(value), 64)
        setattr(message, field.name, data.draw(st.binary(min_size=size, max_size=size)) + value[size:])
    elif isinstance(value, str):
        setattr(message, field.name, data.draw(st.text(max_size=64)))


MESSAGES: dict[str, type[Message]] = {
    "task": pb.Task,
    "hellos": pb.Hellos,
    "plan": pb.Plan,
    "locked": pb.Locked,
    "sum": pb.Sum,
    "check": pb.CheckRequest,
    "checked-all": pb.CheckedAll,
}


@pytest.mark.parametrize("kind", STAGES)
@some
@given(data=st.data())
def test_a_hospital_survives_flipped_bits(kind: str, data: st.DataObject) -> None:
    found = stage(kind)
    body = flipped(found.body, data)
    me = found.world["a"]
    survives(lambda: me.machine.handle(kind, body, me.store, me.view()))


@pytest.mark.parametrize("kind", STAGES)
@some
@given(data=st.data())
def test_a_hospital_survives_peers_who_sign_nonsense(kind: str, data: st.DataObject) -> None:
    found = stage(kind)
    message = MESSAGES[kind].FromString(found.body)
    disturbed(message, data, found.world)
    me = found.world["a"]
    survives(lambda: me.machine.handle(kind, wire.encode(message), me.store, me.view()))


@pytest.mark.parametrize("kind", sorted(STEPS))
@pytest.mark.parametrize("other", STAGES)
def test_a_message_under_another_name(kind: str, other: str) -> None:
    found = stage(other)
    me = found.world["a"]
    survives(lambda: me.machine.handle(kind, found.body, me.store, me.view()))


# the coordinator --------------------------------------------------------------------------------------------

ANSWERS = ["hello", "ready", "upload", "unlock", "seal", "checked", "verdict"]
SAID: dict[str, type[Message]] = {
    "hello": pb.Signed,
    "ready": pb.Ready,
    "upload": pb.Upload,
    "unlock": pb.Signed,
    "seal": pb.Signed,
    "checked": pb.Signed,
    "verdict": pb.Signed,
}


@cache
def desk(kind: str) -> tuple[coordination.Desk, bytes]:
    """A coordinator that has heard everybody but d, and what d would have said."""
    world = sim.build()
    if kind in ("checked", "verdict"):
        garbling(world["c"])
    found, said = coordination.coordinator(world), list[bytes]()

    def hold(org: bytes, k: str, body: bytes) -> bytes | None:
        if (org, k) != (world["d"].org, kind):
            return body
        said.append(body)
        return None

    found.drain(hold)
    return found, said[0]


@pytest.mark.parametrize("kind", ANSWERS)
@some
@given(data=st.data())
def test_the_coordinator_survives_flipped_bits(kind: str, data: st.DataObject) -> None:
    found, body = desk(kind)
    made = flipped(body, data)
    survives(lambda: found.machine.receive(kind, made, found.store, found.view()))


@pytest.mark.parametrize("kind", ANSWERS)
@some
@given(data=st.data())
def test_the_coordinator_survives_a_hospital_that_signs_nonsense(kind: str, data: st.DataObject) -> None:
    """And what it has taken in does not trip it at the next step either."""
    found, body = desk(kind)
    message = SAID[kind].FromString(body)
    disturbed(message, data, found.world)
    survives(lambda: found.machine.receive(kind, wire.encode(message), found.store, found.view()))


@pytest.mark.parametrize("kind", sorted(RECEIVERS))
@pytest.mark.parametrize("other", ANSWERS)
def test_an_answer_under_another_name(kind: str, other: str) -> None:
    found, body = desk(other)
    survives(lambda: found.machine.receive(kind, body, found.store, found.view()))


@some
@given(st.sampled_from(sorted(RECEIVERS)), st.binary(max_size=200))
def test_any_bytes_at_the_coordinator(kind: str, body: bytes) -> None:
    found, _ = desk("ready")
    survives(lambda: found.machine.receive(kind, body, found.store, found.view()))


@some
@given(st.sampled_from(sorted(STEPS)), st.binary(max_size=200))
def test_any_bytes_at_a_hospital(kind: str, body: bytes) -> None:
    me = stage("plan").world["a"]
    survives(lambda: me.machine.handle(kind, body, me.store, me.view()))


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_nonsensical_ready_never_trips_the_next_step(data: st.DataObject) -> None:
    world = sim.build()
    found = coordination.coordinator(world)
    d = world["d"].org

    def nonsense(org: bytes, kind: str, body: bytes) -> bytes | None:
        if (org, kind) != (d, "ready"):
            return body
        message = pb.Ready.FromString(body)
        disturbed(message, data, world)
        return wire.encode(message)

    found.drain(nonsense)
    world.chain.now += 121
    found.drain(lambda org, kind, body: body if org != d else None)
    assert world.chain.head.attested == 1 or found.slot("failed")
