"""Every role is killed at everything it writes down or says, and the study ends as if nothing had been."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator.round import Rules
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.conftest import tiny_spec
from tests.system.faults import after, before
from tests.system.kill_points import both, coordinator_round, hospital_round, unknown
from tests.system.verdict import check
from tests.system.world import Hooks, Stalled, Study, World

pytestmark = [pytest.mark.slow, pytest.mark.chain]


def run(
    world: World,
    name: str,
    rounds: int = 1,
    *,
    sites: str = "abcd",
    window: int = 60,
    disturb: Callable[[Study], None] = lambda study: None,
    hooks: Callable[[Study], Hooks] = lambda study: {},
    **of_the_study: Any,
) -> Study:
    """Run a study to its end; every fault must have struck, and no role may have written what nobody expects."""
    spec = tiny_spec(name, tuple(sites), rounds, window=window)
    study = Study(world, world.folder / name, spec, **of_the_study)
    study.hooks = hooks(study)
    study.run(disturb)
    assert len(study.kills) >= sum(map(len, study.faults.values()))
    assert {role: found for role in study.roles if (found := unknown(role, study.trace(role)))} == {}
    return study


def reads(study: Study, name: str) -> int:
    return study.trace(name).count("data read")


def test_hospitals_die_at_every_record(world: World) -> None:
    begin = ("commit studies/offer-*", "commit studies/accepted-*")
    a = [
        *(before(event) for event in begin),
        *hospital_round(1, "before"),
        *hospital_round(2, "after"),
        after("commit release"),
    ]
    b = [
        *(after(event) for event in begin),
        *hospital_round(1, "after"),
        *hospital_round(2, "before"),
        before("commit release"),
    ]
    # The others' signatures come before or after the state: they have a victim of their own.
    c = [before("commit shares-1"), after("commit shares-2")]
    study = run(world, "hospitals", 2, faults={"a": a, "b": b, "c": c})
    check(study)
    # Once the input is recorded the patients are not read again; a death just before costs one more reading.
    assert [reads(study, name) for name in "abcd"] == [3, 3, 2, 2]


def test_coordinator_dies_at_every_record(world: World) -> None:
    faults = [
        *both("commit studies/offer-*", "commit studies/started-*"),
        *coordinator_round(1, "before"),
        *coordinator_round(2, "after"),
    ]
    swapped = [*coordinator_round(1, "after"), *coordinator_round(2, "before")]
    study = run(world, "coordinator", 2, faults={"coordinator": faults})
    verdict = check(study)
    assert [e.args["ctx"]["attempt"] for e in verdict.locked] == [1, 1]
    check(run(world, "coordinator-2", 2, faults={"coordinator": swapped}))


def test_everybody_dies_between_saying_and_noting_that_it_is_said(world: World) -> None:
    """Letters are then repeated, never lost: a repeat is answered with the recorded bytes."""
    asked = (
        ("task", "hello"),
        ("hellos", "ready"),
        ("plan", "upload"),
        ("locked", "unlock"),
        ("sum", "seal"),
    )
    c = [f for ask, answer in asked for f in (before(f"ack {ask}"), after(f"post {answer}"))]
    d = [f for ask, answer in asked for f in (after(f"ack {ask}"), before(f"post {answer}"))]
    c += [after("post release")]
    d += [before("sent release")]
    coordinator = [after("post offer", 2)]
    for ask, answer in asked:
        coordinator += [after(f"post {ask}", 2), before(f"ack {answer}", 2)]
    coordinator += [before("sent attested")]
    study = run(world, "said", 1, faults={"c": c, "d": d, "coordinator": coordinator})
    (locked,) = check(study).locked
    assert locked.args["ctx"]["attempt"] == 1


def test_coordinator_dies_around_every_transaction(world: World) -> None:
    """Signed bytes are stored before they are sent, and only they are sent: one lock, one seal, one charge."""
    stored = [
        f
        for name in ("lock", "attest")
        for f in (*both(f"tx-put {name}"), before(f"tx-send {name}"), after(f"call {name}"))
    ]
    sent = [after("tx-send lock"), after("tx-send attest")]  # whether it is mined is seen in the next life
    # Here, and not after a `told-*`: a hospital that sees the seal on the chain does not wait to be told.
    released = [before("commit release-*", 1), after("commit release-*", 2), before("ack release")]
    check(run(world, "chain", 2, faults={"coordinator": [*stored, *sent, *released]}))


def test_consent_dies_between_upload_and_lock(world: World) -> None:
    """One hospital refuses at the task, one revokes before the lock: both are left out, and catch up in the end."""
    at_the_gate = before("tx-put lock")
    coordinator = [
        *both("commit 1/1/refusal-*"),
        at_the_gate,
        *both("commit 1/1/failed", "commit 1/attempt-2"),
    ]
    a = [*both("commit 1/*/ready"), *both("commit 1/*/ready")]
    left_out = both("commit catch-up-1", "commit state-1")
    study = run(
        world,
        "consent",
        sites="abcde",
        faults={
            "coordinator": coordinator,
            "a": a,
            "b": both("say catch-up"),
            "d": left_out,
            "e": [*both("say refusal"), *left_out],
        },
        consents="abcd",
        hooks=lambda study: {("coordinator", at_the_gate): lambda: study.revoke("d")},
    )
    (locked,) = check(study, sites="abc").locked
    assert locked.args["ctx"]["attempt"] == 2
    # The second attempt reuses the input: only the death before its record cost a second reading.
    assert [reads(study, name) for name in "abcde"] == [2, 1, 1, 1, 0]


def test_letters_come_again_between_two_rounds(world: World) -> None:
    """The coordinator meets them in its first moment alive, when no attempt is at hand."""
    kinds = ("hello", "ready", "upload", "unlock")
    summed, told = after("commit 1/1/sum"), after("commit told-1")
    letters: list[bytes] = []

    def keep(study: Study) -> None:
        for kind in kinds:
            body = next(iter(study.recorded_by_coordinator(f"{kind}-").values()))
            mail = pb.Mail(kind=kind, study=study.id, sender=study.seats["a"].org, body=body)
            letters.append(wire.encode(mail))

    def post(study: Study) -> None:
        for letter in letters:
            study.mailbox.post(study.common.coordinator, letter)

    study = run(
        world,
        "again",
        2,
        faults={"coordinator": [summed, told]},
        hooks=lambda study: {
            ("coordinator", summed): lambda: keep(study),
            ("coordinator", told): lambda: post(study),
        },
    )
    check(study)
    assert study.trace("coordinator").count("ack upload") == 9


def test_everybody_dies_over_a_bad_box(world: World) -> None:
    """A hospital seals garbage for its first peer, who complains; the next attempt goes on without the guilty."""
    orgs = {name: desk.org for name, desk in zip("abcd", world.desks, strict=False)}
    guilty, peer, *others = sorted(orgs, key=orgs.__getitem__)
    study = run(
        world,
        "box",
        faults={
            peer: both("commit */complaint"),
            "coordinator": both("commit */complaint-*"),
            guilty: [after("commit 1/*/ready")],
        },
        harms={guilty: "bad-box"},
    )
    check(study, sites=[peer, *others])


def test_one_node_lags(world: World) -> None:
    """What a hospital's own node does not show yet is kept for later, also through a death."""
    faults = [after("commit 1/*/seal"), before("commit 2/*/hello")]
    study = run(world, "lag", 2, faults={"b": faults}, harms={"b": "lag"})
    verdict = check(study)
    assert [e.args["ctx"]["attempt"] for e in verdict.locked] == [1, 1]


def test_nodes_lie_at_each_start(world: World) -> None:
    """A letter that came while one's own node lied is no worse for it: it waits."""
    faults = {"coordinator": [after("commit 1/1/hellos")], "b": [after("commit 1/*/hello")]}
    check(run(world, "lies", faults=faults, harms={"coordinator": "lies", "b": "lies"}))


def test_halt_outlives_the_coordinator(world: World) -> None:
    """Too few consents halt a study; it goes on, in a later attempt, when they are given."""
    halted = both("commit 1/1/halted")
    study = run(
        world,
        "halted",
        faults={"coordinator": halted},
        consents="ab",
        rules=Rules(answer_s=2),
        hooks=lambda study: {("coordinator", halted[1]): lambda: study.grant("c", "d")},
    )
    check(study)


def test_decryptor_dies(world: World) -> None:
    """The child that holds the key, the process it is forked from, or the hospital itself while it decrypts."""
    harms = {"a": "job-once", "b": "zygote-once", "c": "self-once"}
    study = run(world, "decryptor", harms=harms, may_die="c")
    check(study)
    assert "job killed" in study.trace("a")
    assert "zygote killed" in study.trace("b")
    assert len(study.kills) == 1
    orphans = [int(pid) for pid in (study.folder / "c" / "orphans").read_text().split()]
    assert len(orphans) == 2
    assert all(gone(pid) for pid in orphans)  # nothing that holds a key outlives its hospital


def test_one_hospital_cannot_open(world: World) -> None:
    """Its decryptions die each time: it disputes, and seals with the others what the check gives it."""
    study = run(
        world,
        "dispute",
        faults={
            "d": both("commit 1/*/dispute-*", "commit 1/*/checked", "commit verdict-*"),
            "coordinator": both("commit 1/1/dispute-*", "commit 1/1/check"),
        },
        harms={"d": "job-always"},
    )
    check(study)


def test_one_hospital_garbles_the_sum(world: World) -> None:
    """All dispute, all are checked and die over it: the sum is right, in one lock, and nobody is absent."""
    c = [before("ack check"), after("post checked"), before("ack checked-all"), after("post verdict")]
    coordinator = [
        before("commit 1/1/checked-*", 3),
        after("commit 1/1/checked-*", 2),
        *both("commit 1/1/all-checked"),
        after("post checked-all", 2),
        *both("commit verdict-1-*"),
        before("ack verdict"),
    ]
    study = run(
        world,
        "garbled",
        faults={
            "a": both("commit 1/*/checked", "commit 1/*/seal"),
            "b": [after("commit 1/*/dispute-1"), before("commit 1/*/seal")],
            "c": c,
            "coordinator": coordinator,
        },
        harms={"d": "garbles"},
    )
    check(study)


def test_one_hospital_dies_after_the_lock_and_comes_back_when_all_is_sealed(world: World) -> None:
    """Its mask is recovered from its peers, who die over it, as the coordinator does; its patients are in the sum."""
    shown = both("commit 1/*/mask-share-*")
    coordinator = [
        *both("tx-put recover"),
        after("call recover"),
        *both("commit 1/1/recover-*"),
        before("commit 1/1/mask-share-*", 2),
        after("commit 1/1/mask-share-*"),
    ]
    study = run(
        world,
        "recovery",
        window=12,
        faults={
            "a": [*shown, before("ack recover")],
            "b": shown,
            "coordinator": coordinator,
            "d": [before("commit 1/unlocked-*"), *both("commit catch-up-1", "commit state-1")],
        },
        away={"d": "told-1"},
    )
    check(study, absent="d")


@pytest.mark.parametrize("seed", [1, 2])
def test_storm(world: World, seed: int) -> None:
    """Anybody dies at any instant, several at once."""
    rng = random.Random(seed)
    calm_at, next_at = time.monotonic() + 12, time.monotonic() + 0.5

    def strike(study: Study) -> None:
        nonlocal next_at
        if not next_at < time.monotonic() < calm_at:
            return
        next_at = time.monotonic() + rng.uniform(0.1, 0.8)
        for role in rng.sample(study.roles, rng.choice([1, 1, 2, 5])):
            study.kill(role)

    study = run(world, f"storm-{seed}", 2, disturb=strike)
    assert len(study.kills) > 10
    check(study)


def test_the_harness_sees_a_lost_letter(world: World) -> None:
    """Control: a hospital that acknowledges before it records loses the letter with its life, and all stall."""
    study = Study(
        world,
        world.folder / "careless",
        tiny_spec("careless"),
        faults={"b": [before("commit 1/*/hello")]},
        harms={"b": "careless"},
        stall_s=4,
    )
    with pytest.raises(Stalled, match="nothing happens any more"):
        study.run()


def gone(pid: int) -> bool:
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
