"""Consent, budget and company are checked before a byte of data is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from consilium_errors import Refused
from protos import digests, wire
from tests.attacks import sim
from tests.attacks.expect import stopped
from tests.attacks.rogue import Attempt


def shut(world: sim.World, **gate: object) -> None:
    world.chain.change_gate(world["a"].dataset, **gate)


CASES: list[tuple[str, Callable[[sim.World], None]]] = [
    ("consent.not_live", lambda w: shut(w, status=1, reason="no_consent")),
    ("consent.not_live", lambda w: shut(w, status=2, reason="expired")),
    ("consent.not_live", lambda w: shut(w, status=8, reason="paused")),
    ("consent.not_live", lambda w: w.chain.gates.pop(w["a"].dataset) and None),
    ("consent.not_ours", lambda w: shut(w, steward=w["b"].org)),
    ("consent.study_closed", lambda w: setattr(w.chain, "study", replace(w.chain.study, closed=True))),
    ("budget.exact_spent", lambda w: shut(w, exact_left=0)),
]


@pytest.mark.parametrize("step", ["task", "hellos", "plan"])
@pytest.mark.parametrize(("code", "change"), CASES)
def test_no_step_goes_on_without_consent(step: str, code: str, change: Callable[[sim.World], None]) -> None:
    world = sim.build()
    a = Attempt(world, world.ctx(), "m0", world.orgs)
    me = world["a"]
    if step != "task":
        a.greet()
    if step == "plan":
        a.gather()
    change(world)
    body = {
        "task": a.task,
        "hellos": a.hellos,
        "plan": lambda: wire.encode(a.plan_for(me.org)),
    }[step]()
    with stopped(Refused, code):
        me.handle(step, body)
    assert me.reads == (["a"] if step == "plan" else [])


def test_a_spent_dp_budget() -> None:
    world = sim.build()
    world.chain.study = replace(world.chain.study, mode=digests.DP)
    me = world["a"]
    view = replace(me.view(), analysis=replace(sim.LIVE, rho=5))
    a = Attempt(world, world.ctx(mode=digests.DP, rho=5), "m0", world.orgs)
    with stopped(Refused, "budget.privacy_spent"):
        me.machine.handle("task", a.task(), me.store, view)


def test_after_the_lock_a_revocation_binds_from_the_next_round() -> None:
    """What was locked under live consent may be opened; it was charged."""
    world = sim.build(rounds=2)
    a = Attempt(world, world.ctx(), "m0", world.orgs).greet().gather().load().lock()
    shut(world, status=1, reason="no_consent")
    a.open().finish()
    world.chain.attest(a.sealed())
    for member in world:
        member.settle()
    nxt = Attempt(world, world.ctx(), world.analysis(), world.orgs)
    with stopped(Refused, "consent.not_live"):
        world["a"].handle("task", nxt.task())
    assert world["a"].reads == ["a"]


def test_data_are_read_once_for_a_release_however_often_it_is_tried() -> None:
    world = sim.build()
    for number in (1, 2, 3):
        Attempt(world, world.ctx(attempt=number), "m0", world.orgs).greet().gather()
    assert all(member.reads == [member.name] for member in world)
