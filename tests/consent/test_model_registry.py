"""The auditor's model of the registry: organisations, datasets, studies, consents."""

from __future__ import annotations

import pytest

from protos import digests
from tests.consent.story import (
    STRANGER,
    Change,
    Story,
    dataset,
    granted,
    price,
    revoked,
    role,
    suspended,
    terms,
    use,
)
from tests.consent.world import h

pytestmark = pytest.mark.chain

FAULTS: dict[str, tuple[Change, str]] = {
    # organisations
    "role twice": (
        lambda s: s.before(
            "DatasetRegistered",
            "RoleSet",
            {"role": role("SPONSOR"), "account": s.world.sponsor.sender.address, "granted": True},
        ),
        "so already",
    ),
    "unknown role": (
        lambda s: s.before(
            "DatasetRegistered", "RoleSet", {"role": h("?"), "account": STRANGER, "granted": True}
        ),
        "unknown role",
    ),
    "second admin": (
        lambda s: s.before(
            "DatasetRegistered", "RoleSet", {"role": bytes(32), "account": STRANGER, "granted": True}
        ),
        "not announced",
    ),
    "announced beside": (
        lambda s: (
            s.before(
                "DatasetRegistered", "RoleSet", {"role": bytes(32), "account": STRANGER, "granted": True}
            ),
            s.before("RoleSet", "AdminTransferBegun", {"newAdmin": STRANGER, "schedule": 0}, nth=-1),
        )[0],
        "a second administrator",
    ),
    "admin gone": (
        lambda s: s.before(
            "DatasetRegistered",
            "RoleSet",
            {"role": bytes(32), "account": s.world.admin.address, "granted": False},
        ),
        "unannounced",
    ),
    "other ledger": (
        lambda s: s.before(
            "DatasetRegistered", "RoleSet", {"role": role("LEDGER"), "account": STRANGER, "granted": True}
        ),
        "a second ledger",
    ),
    "pause by stranger": (
        lambda s: s.before("DatasetRegistered", "PauseSet", {"by": STRANGER, "paused": True}),
        "not by the regulator",
    ),
    "unpause by regulator": (
        lambda s: s.before(
            "DatasetRegistered", "PauseSet", {"by": s.world.regulator.sender.address, "paused": False}
        ),
        "not by the admin",
    ),
    "agent of stranger": (
        lambda s: s.before("DatasetRegistered", "AgentSet", {"org": STRANGER, "agent": STRANGER}),
        "an agent of no hospital",
    ),
    # datasets
    "dataset by stranger": (lambda s: s.edit("DatasetRegistered", steward=STRANGER), "not by a hospital"),
    "dataset twice": (
        lambda s: s.edit("DatasetRegistered", 1, dataset=s.events[s.at("DatasetRegistered")].args["dataset"]),
        "the dataset exists",
    ),
    "dataset while paused": (
        lambda s: s.before(
            "DatasetRegistered", "PauseSet", {"by": s.world.regulator.sender.address, "paused": True}
        ),
        "while paused",
    ),
    "budget of nothing": (lambda s: s.edit("BudgetSet", dataset=h("?")), "unknown dataset"),
    "budget overdrawn": (
        lambda s: [s.edit("BudgetSet", i, exactCap=0) for i in range(4)] and None,
        "exact overdrawn",
    ),
    "rho overdrawn": (
        lambda s: [s.edit("BudgetSet", i, rhoCap=1) for i in range(4)] and None,
        "rho overdrawn",
    ),
    "delta overdrawn": (
        lambda s: [s.edit("BudgetSet", i, deltaCap=1) for i in range(4)] and None,
        "delta overdrawn",
    ),
    "withdrawal ignored": (
        lambda s: s.before("Charged", "PatientWithdrew", {"dataset": dataset(s), "leaf": h("leaf")}),
        "patients withdrew",
    ),
    "withdrawn twice": (
        lambda s: (
            [
                s.before("Charged", "PatientWithdrew", {"dataset": dataset(s), "leaf": h("leaf")})
                for _ in range(2)
            ]
            and None
        ),
        "withdrawn twice",
    ),
    "cohort with the withdrawn": (
        lambda s: s.before(
            "Charged",
            "CohortReplaced",
            {"dataset": dataset(s), "cohortRoot": h("r"), "applied": 1, "version": 2},
        ),
        "not all withdrawals",
    ),
    "cohort out of turn": (
        lambda s: s.before(
            "Charged",
            "CohortReplaced",
            {"dataset": dataset(s), "cohortRoot": h("r"), "applied": 0, "version": 3},
        ),
        "version out of turn",
    ),
    "old cohort used": (
        lambda s: s.before(
            "Charged",
            "CohortReplaced",
            {"dataset": dataset(s), "cohortRoot": h("r"), "applied": 0, "version": 2},
        ),
        "stale cohort",
    ),
    # studies
    "study by stranger": (lambda s: s.edit("StudyRegistered", sponsor=STRANGER), "not by a sponsor"),
    "study twice": (
        lambda s: s.before(
            "StudyRegistered", "StudyRegistered", dict(s.events[s.at("StudyRegistered")].args)
        ),
        "the study exists",
    ),
    "study's id": (lambda s: terms(s, specHash=h("x")), "id is not made of"),
    "no coordinator": (lambda s: terms(s, coordinator=STRANGER), "coordinator has no role"),
    "no purpose": (lambda s: terms(s, purposes=0), "no purpose"),
    "mode": (lambda s: terms(s, mode=3), "unknown mode"),
    "two sites": (lambda s: terms(s, minSites=2, collusion=0), "fewer than three"),
    "collusion": (lambda s: terms(s, collusion=2), "too few honest"),
    "window": (lambda s: terms(s, window=0), "no window"),
    "roster's order": (
        lambda s: terms(s, roster=tuple(x.org for x in reversed(s.world.hospitals))),
        "roster is not ascending",
    ),
    "roster's length": (
        lambda s: terms(s, roster=tuple(x.org for x in s.world.hospitals[:2])),
        "roster is too short",
    ),
    "roster's strangers": (
        lambda s: terms(s, roster=(*tuple(sorted(x.org for x in s.world.hospitals)), b"\xff" * 20)),
        "names no hospital",
    ),
    "analysis twice": (lambda s: price(id=digests.analysis_id("b"))(s), "one twice"),
    "priced exact": (lambda s: price(rho=1)(s), "does not fit the mode"),
    "closed by stranger": (
        lambda s: s.before("Charged", "StudyClosed", {"study": s.exact, "by": STRANGER}),
        "by a stranger",
    ),
    "closed twice": (
        lambda s: [
            s.before("Charged", "StudyClosed", {"study": s.exact, "by": s.world.sponsor.sender.address})
            for _ in range(2)
        ],
        "closed twice",
    ),
    # consents
    "grant to nothing": (lambda s: granted(s, study=h("?")), "unknown study"),
    "grant while paused": (
        lambda s: s.before(
            "ConsentGranted", "PauseSet", {"by": s.world.regulator.sender.address, "paused": True}
        ),
        "while paused",
    ),
    "grant after closing": (
        lambda s: s.before(
            "ConsentGranted", "StudyClosed", {"study": s.exact, "by": s.world.sponsor.sender.address}
        ),
        "study is closed",
    ),
    "grant off the roster": (
        lambda s: terms(s, roster=tuple(x.org for x in s.world.hospitals[1:])),
        "not on the roster",
    ),
    "empty grant": (lambda s: granted(s, allowed=0), "nothing is allowed"),
    "scope": (lambda s: granted(s, scope=h("other disease")), "another scope"),
    "epoch out of turn": (lambda s: granted(s, epoch=2), "an epoch out of turn"),
    "revoked": (lambda s: s.before("Charged", "ConsentRevoked", revoked(s)), "no consent"),
    "revoked twice": (
        lambda s: [s.before("Charged", "ConsentRevoked", revoked(s)) for _ in range(2)] and None,
        "nothing was granted",
    ),
    "expired": (lambda s: granted(s, expiry=s.events[s.at("Locked")].args["time"]), "consent expired"),
    "purpose": (lambda s: granted(s, allowed=0b0110), "a purpose is not allowed"),
    "condition": (lambda s: granted(s, conditions=0b100), "a condition is not satisfied"),
    "closed": (
        lambda s: s.before(
            "Charged", "StudyClosed", {"study": s.exact, "by": s.world.sponsor.sender.address}
        ),
        "the study is closed",
    ),
    "suspended": (lambda s: s.before("Charged", "RoleSet", suspended(s)), "the steward is suspended"),
    "paused": (
        lambda s: s.before("Charged", "PauseSet", {"by": s.world.regulator.sender.address, "paused": True}),
        "paused",
    ),
    "stale epoch": (lambda s: use(s, epoch=7), "a stale epoch"),
    "stale version": (lambda s: use(s, version=7), "a stale cohort"),
}


def test_the_honest_story_is_lawful(story: Story) -> None:
    assert story.broken() == ""
    assert [e.name for e in story.events].count("Locked") == 4


@pytest.mark.parametrize(("change", "rule"), FAULTS.values(), ids=FAULTS.keys())
def test_a_broken_rule_is_named(story: Story, change: Change, rule: str) -> None:
    change(story)
    assert rule in story.broken()
