"""The auditor's model of the ledger: who was recovered, and what that rules out."""

from __future__ import annotations

from typing import Any

import pytest

from consent_contracts.auditor.replay import Replay
from consent_contracts.auditor.verdict import Findings
from protos import digests
from tests.consent.story import STRANGER, Change, Story, abandoned, again, recovered, smaller
from tests.consent.world import h

pytestmark = pytest.mark.chain


def time_of(s: Story, nth: int) -> int:
    return int(s.events[s.at("Locked", nth)].args["time"])


def then(s: Story, *steps: Any) -> None:
    """Each step happens right after the same lock: the last is told first."""
    for step in reversed(steps):
        step(s)


def retry(ctx: dict[str, Any], **args: Any) -> Change:
    return lambda s: again(s, 3, ctx=ctx, **args)


def gone(s: Story) -> None:
    abandoned(s, 3)


def missing(s: Story) -> None:
    recovered(s, 3)


SAME = retry({"attempt": 2}, charged=False)
OTHER = "another opening after a recovery"
FAULTS: dict[str, tuple[Change, str]] = {
    "early": (lambda s: recovered(s, 0, time=time_of(s, 0) + 299), "first half of the window"),
    "early, odd window": (lambda s: recovered(s, 3, time=time_of(s, 3) + 1), "first half of the window"),
    "stranger": (lambda s: recovered(s, 0, by=STRANGER), "recovered by a stranger"),
    "by itself": (lambda s: recovered(s, 0, by=s.world.hospitals[0].org), "recovered by a stranger"),
    "not of the lock": (lambda s: recovered(s, 0, org=STRANGER), "not of the lock"),
    "another lock": (lambda s: recovered(s, 0, lockId=h("x")), "lock id"),
    "twice": (lambda s: then(s, missing, missing), "recovered twice"),
    "nothing": (
        lambda s: s.events.insert(s.at("Charged"), (recovered(s, 0), s.events.pop(s.at("Recovered")))[1]),
        "nothing is locked",
    ),
    "after it was abandoned": (lambda s: then(s, gone, missing), "recovered after it was abandoned"),
    "abandoned": (lambda s: then(s, missing, gone), "abandoned after a recovery"),
    "other inputs": (
        lambda s: then(s, missing, retry({"attempt": 2, "release": 2}, inputsRoot=h("x"), charged=True)),
        OTHER,
    ),
    "other set": (
        lambda s: then(s, missing, retry({"attempt": 2, "release": 2}, charged=True, **smaller(s, 3))),
        OTHER,
    ),
    "other analysis": (
        lambda s: then(
            s,
            missing,
            retry({"attempt": 2, "release": 2, "analysis": digests.analysis_id("b")}, charged=True),
        ),
        OTHER,
    ),
    "other state": (
        lambda s: then(s, missing, retry({"attempt": 2, "release": 2, "stateCommit": h("x")}, charged=True)),
        OTHER,
    ),
    "abandoned after a retry": (
        lambda s: (then(s, missing, SAME), abandoned(s, -1))[0],
        "abandoned after a recovery",
    ),
    "other inputs after a retry": (
        lambda s: then(
            s,
            missing,
            SAME,
            retry({"attempt": 3, "release": 2}, inputsRoot=h("x"), charged=True),
        ),
        OTHER,
    ),
}


def rules(s: Story) -> set[str]:
    """What is broken, but for what every rewritten lock breaks: its id."""
    return {part.split(":")[0] for part in s.broken().split("; ")} - {"lock id", "entry", ""}


@pytest.mark.parametrize(("change", "rule"), FAULTS.values(), ids=FAULTS.keys())
def test_a_broken_rule_is_named(story: Story, change: Change, rule: str) -> None:
    change(story)
    assert rule in story.broken()


@pytest.mark.parametrize("nth", range(4))
def test_a_lawful_recovery_breaks_nothing(story: Story, nth: int) -> None:
    recovered(story, nth, org=story.events[story.at("Locked", nth)].args["orgs"][-1])
    recovered(story, nth, by=story.world.regulator.sender.address)
    assert story.broken() == ""


def test_the_same_opening_may_be_locked_again(story: Story) -> None:
    then(story, missing, SAME)
    assert rules(story) == set()


def test_a_retry_has_its_own_recoveries(story: Story) -> None:
    then(story, missing, SAME)
    recovered(story, -1)
    assert rules(story) == set()


def test_the_seal_ends_it(story: Story) -> None:
    """What follows is judged as if nobody had ever been recovered."""
    recovered(story, 0)
    abandoned(story, 1)
    assert story.broken() == "the lock was abandoned"


def test_a_recovery_is_a_check_of_its_own(story: Story) -> None:
    recovered(story, 0)
    recovered(story, 2, time=0)
    for study, found in ((None, ["passed", "failed"]), (story.exact, ["passed"]), (story.dp, ["failed"])):
        findings = Findings()
        Replay(story.world.addresses, findings, study).run(story.events)
        checks = [c for c in findings.checks if c.name == "recovery"]
        assert [c.outcome for c in checks] == found
        assert {c.code for c in findings.checks if c.outcome == "failed"} == (
            {"audit.event"} if study == story.exact else {"audit.recovery"}
        )
