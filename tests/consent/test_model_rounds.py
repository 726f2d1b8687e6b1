"""The auditor's model of the ledger: locks, retries, seals."""

from __future__ import annotations

import itertools

import pytest

from consent_contracts import abi
from protos import digests
from tests.consent.story import STRANGER, Change, Story, again, leaving, smaller, suspended
from tests.consent.world import h

pytestmark = pytest.mark.chain

FAULTS: dict[str, tuple[Change, str]] = {
    # locks
    "no entry": (lambda s: s.drop("Charged"), "registry knows of no such charge"),
    "entry alone": (lambda s: s.drop("Locked"), "consumed without a lock"),
    "entry of another place": (lambda s: s.edit("Locked", registrySeq=3), "journal"),
    "entry of another head": (lambda s: s.edit("Locked", registryHead=h("x")), "journal"),
    "entry of another lock": (lambda s: s.edit("Charged", lockId=h("x")), "entry"),
    "entry by another": (lambda s: s.edit("Charged", ledger=STRANGER), "another than the ledger"),
    "entry's spend": (lambda s: s.edit("Charged", rho=5), "spend"),
    "not charged": (
        lambda s: (s.edit("Locked", charged=False), s.drop("Charged"))[0],
        "charge: expected True, found False",
    ),
    "charged in the registry only": (
        lambda s: s.edit("Locked", charged=False),
        "charge: expected True, found False",
    ),
    "chain": (lambda s: s.edit_in("Locked", "ctx", chainId=1), "place"),
    "ledger": (lambda s: s.edit_in("Locked", "ctx", ledger=STRANGER), "place"),
    "unknown study": (lambda s: s.edit_in("Locked", "ctx", study=h("?")), "unknown study"),
    "spec": (lambda s: s.edit_in("Locked", "ctx", specHash=h("x")), "plan"),
    "lock's mode": (lambda s: s.edit_in("Locked", "ctx", mode=2), "plan"),
    "unregistered analysis": (lambda s: s.edit_in("Locked", "ctx", analysis=h("x")), "not registered"),
    "lock's price": (lambda s: s.edit_in("Locked", "ctx", nth=2, rho=1), "price"),
    "noise": (lambda s: s.edit_in("Locked", "ctx", nth=2, noise=h("less")), "price"),
    "round": (lambda s: s.edit_in("Locked", "ctx", nth=1, round=1), "round"),
    "previous seal": (lambda s: s.edit_in("Locked", "ctx", nth=1, prevSeal=h("x")), "previous seal"),
    "state": (lambda s: s.edit_in("Locked", "ctx", nth=1, stateCommit=h("x")), "state"),
    "release": (lambda s: s.edit_in("Locked", "ctx", release=2), "release"),
    "lock's id": (lambda s: s.edit("Locked", lockId=h("x")), "lock id"),
    "deadline": (lambda s: s.edit("Locked", lockBy=1), "after its deadline"),
    "coordinator's role": (
        lambda s: s.before(
            "Charged", "RoleSet", suspended(s, "COORDINATOR", s.world.coordinator.sender.address)
        ),
        "lost its role",
    ),
    "organisations' order": (
        lambda s: s.edit("Locked", orgs=tuple(reversed(s.events[s.at("Locked")].args["orgs"]))),
        "organisations are not ascending",
    ),
    "uses' order": (
        lambda s: s.edit("Locked", uses=tuple(reversed(s.events[s.at("Locked")].args["uses"]))),
        "datasets are not ascending",
    ),
    "organisation without data": (
        lambda s: s.edit("Locked", uses=s.events[s.at("Locked")].args["uses"][1:]),
        "not the datasets' stewards",
    ),
    "too few": (
        lambda s: s.edit("Locked", orgs=s.events[s.at("Locked")].args["orgs"][:2]),
        "too few hospitals",
    ),
    "stranger in the set": (
        lambda s: s.edit("Locked", orgs=(*s.events[s.at("Locked")].args["orgs"], b"\xff" * 20)),
        "not on the roster",
    ),
    "uploads": (lambda s: s.edit("Locked", uploadHashes=()), "uploads"),
    # retries
    "same attempt": (lambda s: again(s, 3, charged=False), "attempt out of turn"),
    "free with other inputs, dp": (
        lambda s: again(s, 3, ctx={"attempt": 2}, inputsRoot=h("x"), charged=False),
        "release",
    ),
    "uncharged release, dp": (
        lambda s: again(s, 3, ctx={"attempt": 2, "release": 2}, inputsRoot=h("x"), charged=False),
        "charge",
    ),
    "charged retry": (lambda s: again(s, 3, ctx={"attempt": 2}, charged=True), "charge"),
    "other analysis while locked": (
        lambda s: again(
            s, 3, ctx={"attempt": 2, "release": 2, "analysis": digests.analysis_id("b")}, charged=True
        ),
        "another analysis while one is locked",
    ),
    "other inputs, exact": (
        lambda s: again(s, 0, ctx={"attempt": 2, "release": 2}, inputsRoot=h("x"), charged=False),
        "same set with other inputs",
    ),
    "other set, exact": (
        lambda s: again(s, 0, ctx={"attempt": 2, "release": 2}, charged=True, **smaller(s, 0)),
        "another set than",
    ),
    "other set in a later round, exact": (
        lambda s: s.edit("Locked", 1, charged=True, **smaller(s, 1)),
        "another set than",
    ),
    "only the new set accepts": (
        lambda s: again(
            s,
            0,
            ctx={"attempt": 2, "release": 2},
            charged=True,
            **{**smaller(s, 0), "uses": leaving(smaller(s, 0)["uses"])},
        ),
        "another set than",
    ),
    "only the old set accepts": (
        lambda s: (
            again(s, 0, ctx={"attempt": 2, "release": 2}, charged=True, **smaller(s, 0)),
            s.edit("Locked", 0, uses=leaving(s.events[s.at("Locked")].args["uses"])),
        )[0],
        "another set than",
    ),
    "charged again, exact": (lambda s: s.edit("Locked", 1, charged=True), "charge"),
    # seals
    "seal without lock": (
        lambda s: s.before("Charged", "Attested", dict(s.events[s.at("Attested")].args), contract=abi.LEDGER),
        "without a lock",
    ),
    "seal's lock": (lambda s: s.edit_in("Attested", "seal", lockId=h("x")), "lock:"),
    "seal's plan": (lambda s: s.edit_in("Attested", "seal", planHash=h("x")), "lock:"),
    "seal's receipts": (lambda s: s.edit_in("Attested", "seal", receiptsRoot=h("x")), "lock:"),
    "seal's state": (lambda s: s.edit_in("Attested", "seal", stateBefore=h("x")), "lock:"),
    "seal's spend": (lambda s: s.edit_in("Attested", "seal", nth=2, rho=0), "spend and code"),
    "seal's code": (lambda s: s.edit_in("Attested", "seal", codeHash=h("x")), "spend and code"),
    "seal's chain": (lambda s: s.edit_in("Attested", "seal", nth=1, prevSeal=h("x")), "previous seal"),
    "seal's id": (lambda s: s.edit("Attested", sealId=h("x")), "seal id"),
    "absent early": (lambda s: s.edit("Attested", absent=(s.world.hospitals[0].org,)), "before the window"),
    "absent too many": (
        lambda s: s.edit("Attested", 2, absent=tuple(x.org for x in s.world.hospitals[:2]), time=1 << 40),
        "too few signatures",
    ),
    "absent strangers": (lambda s: s.edit("Attested", 2, absent=(STRANGER,), time=1 << 40), "never present"),
    "seal of an abandoned lock": (
        lambda s: s.before(
            "Attested",
            "Abandoned",
            {
                "study": s.exact,
                "lockId": s.events[s.at("Locked")].args["lockId"],
                "by": s.world.regulator.sender.address,
            },
            contract=abi.LEDGER,
        ),
        "was abandoned",
    ),
    "abandoned by a stranger": (
        lambda s: s.before(
            "Attested",
            "Abandoned",
            {"study": s.exact, "lockId": s.events[s.at("Locked")].args["lockId"], "by": STRANGER},
            contract=abi.LEDGER,
        ),
        "by a stranger",
    ),
    "abandoned twice": (
        lambda s: [
            s.before(
                "Attested",
                "Abandoned",
                {
                    "study": s.exact,
                    "lockId": s.events[s.at("Locked")].args["lockId"],
                    "by": s.world.sponsor.sender.address,
                },
                contract=abi.LEDGER,
            )
            for _ in range(2)
        ],
        "abandoned twice",
    ),
    "abandoned nothing": (
        lambda s: s.before(
            "Charged", "Abandoned", {"study": s.exact, "lockId": h("x"), "by": STRANGER}, contract=abi.LEDGER
        ),
        "nothing is locked",
    ),
    "abandoned another": (
        lambda s: s.before(
            "Attested",
            "Abandoned",
            {"study": s.exact, "lockId": h("x"), "by": s.world.sponsor.sender.address},
            contract=abi.LEDGER,
        ),
        "lock id",
    ),
    "an event of no rule": (
        lambda s: s.edit("Attested") or s.before("Attested", "Renamed", {}, contract=abi.LEDGER),
        "no rule",
    ),
}


@pytest.mark.parametrize(("change", "rule"), FAULTS.values(), ids=FAULTS.keys())
def test_a_broken_rule_is_named(story: Story, change: Change, rule: str) -> None:
    change(story)
    assert rule in story.broken()


def test_a_free_retry_then_a_charged_one(story: Story) -> None:
    """Lawful in this order only."""
    steps = [({"attempt": 2}, False, {}), ({"attempt": 3, "release": 2}, True, smaller(story, 3))]
    for order in itertools.permutations(steps):
        told = Story(story.world, tuple(story.events), story.exact, story.dp)
        for ctx, charged, more in reversed(order):
            again(told, 3, ctx=ctx, charged=charged, **more)
        # rewritten locks have new ids, which only the ids' own rules mind
        rules = {part.split(":")[0] for part in told.broken().split("; ")} - {"lock id", "entry", ""}
        unlawful = {
            "release",
            "an attempt out of turn",
            "charge",
            "the registry knows of no such charge",
        }
        assert rules == (set() if list(order) == steps else unlawful)
