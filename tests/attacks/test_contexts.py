"""A coordinator that offers another round than the one the chain awaits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent_contracts.views import HeadView, LockView
from consilium_errors import Error, Hostile, Refused, Unavailable
from participants.round.joining import ATTEMPT_LIMIT
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt

OTHER = b"\xee" * 32

WRONG: list[tuple[str, object, type[Error], str]] = [
    ("chain_id", 1, Hostile, "task.context"),
    ("registry", b"\xee" * 20, Hostile, "task.context"),
    ("ledger", b"\xee" * 20, Hostile, "task.context"),
    ("study", OTHER, Hostile, "task.context"),
    ("analysis", OTHER, Hostile, "task.context"),
    ("spec_hash", OTHER, Hostile, "task.context"),
    ("code_hash", OTHER, Refused, "task.code"),
    ("round", 2, Hostile, "task.context"),
    ("release", 0, Hostile, "task.release"),
    ("release", 2, Hostile, "task.release"),
    ("attempt", 0, Hostile, "task.attempt"),
    ("attempt", ATTEMPT_LIMIT + 1, Hostile, "task.attempt"),
    ("prev_seal", OTHER, Hostile, "task.context"),
    ("state_commit", OTHER, Hostile, "task.context"),
    ("mode", digests.DP, Hostile, "task.context"),
    ("rho", 1, Hostile, "task.context"),
    ("delta", 1, Hostile, "task.context"),
    ("noise", OTHER, Hostile, "task.context"),
]


def task(ctx: digests.Ctx, analysis: str) -> bytes:
    return wire.encode(pb.Task(ctx=wire.ctx_to(ctx), analysis=analysis))


@pytest.mark.parametrize(("name", "value", "kind", "code"), WRONG)
def test_every_field_of_the_context_is_the_chains(
    name: str, value: object, kind: type[Error], code: str
) -> None:
    world = sim.build()
    with stopped(kind, code):
        world["a"].handle("task", task(world.ctx(**{name: value}), "m0"))
    assert world["a"].handle("task", task(world.ctx(), "m0"))  # and the right one is taken


def test_the_table_of_wrong_fields_is_complete() -> None:
    assert {name for name, *_ in WRONG} == set(digests.Ctx.__dataclass_fields__)


def test_another_analysis_than_the_states() -> None:
    world = sim.build(rounds=2)
    ctx = world.ctx(analysis=digests.analysis_id("m1"))
    with stopped(Hostile, "task.analysis"):
        world["a"].handle("task", task(ctx, "m1"))


def test_a_mode_that_no_contract_knows_is_no_crash() -> None:
    world = sim.build()
    for mode in (0, 3, 256, 2**32 - 1):
        body = pb.Task(ctx=wire.ctx_to(world.ctx()), analysis="m0")
        body.ctx.mode = mode
        with stopped(Hostile, "wire.range"):
            world["a"].handle("task", wire.encode(body))


def test_a_task_again_gets_the_same_hello() -> None:
    world = sim.build()
    body = task(world.ctx(), "m0")
    assert world["a"].handle("task", body) == world["a"].handle("task", body)


def dp_world(lock_release: int) -> sim.World:
    world = sim.build()
    world.chain.study = replace(world.chain.study, mode=digests.DP)
    lock = LockView(OTHER, sim.START, 1, lock_release, 7, OTHER, False)
    world.chain.head = HeadView(0, digests.ZERO32, digests.ZERO32, lock)
    return world


def test_an_attempt_number_serves_one_context() -> None:
    world = dp_world(1)
    ctx = world.ctx(mode=digests.DP, attempt=8)
    world["a"].handle("task", task(ctx, "m0"))
    with stopped(Hostile, "task.attempt"):
        world["a"].handle("task", task(replace(ctx, release=2), "m0"))


@pytest.mark.parametrize(("release", "lawful"), [(1, False), (2, True), (3, True), (4, False)])
def test_dp_releases_follow_the_chains_lock(release: int, lawful: bool) -> None:
    world = dp_world(2)
    body = task(world.ctx(mode=digests.DP, release=release), "m0")
    if lawful:
        assert world["a"].handle("task", body)
    else:
        with stopped(Hostile, "task.release"):
            world["a"].handle("task", body)


def test_exact_mode_knows_no_second_release() -> None:
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()
    assert a.upload
    with stopped(Hostile, "task.release"):
        world["a"].handle("task", task(world.ctx(attempt=2, release=2), "m0"))


def test_a_hospital_without_the_last_state_waits() -> None:
    world = sim.build(rounds=2)
    body = task(world.ctx(round=2), "m0")
    world.chain.head = HeadView(1, OTHER, OTHER, None)
    with stopped(Unavailable, "round.behind"):
        world["a"].handle("task", body)


def test_a_state_that_is_not_the_attested_one_is_never_built_upon() -> None:
    world = sim.build(rounds=2)
    body = task(world.ctx(round=2), "m0")
    world["a"].store.commit([(sim.STUDY.hex(), "state-1", wire.encode(world.genesis))])
    world.chain.head = HeadView(1, OTHER, OTHER, None)
    with stopped(Refused, "round.forked"):
        world["a"].handle("task", body)


def test_words_that_no_one_speaks() -> None:
    with stopped(Hostile, "round.kind"):
        sim.build()["a"].handle("gossip", b"")
