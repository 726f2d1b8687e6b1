"""The auditor's model: where in the registry's journal each lock stands, and what was in force there.

A charge is an entry of both journals. A free lock is in the ledger's alone: all that is known of the registry at its
time is the place that the lock names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consent_contracts import abi
from consent_contracts.index import Event
from tests.consent.story import STRANGER, Change, Story, dataset, revoked, role, smaller, suspended, use
from tests.consent.world import h

pytestmark = pytest.mark.chain

FREE = 1  # of the story's locks: the exact analysis's second


def registry_events(s: Story, before: int) -> list[Event]:
    return [e for e in s.events[:before] if e.contract == abi.REGISTRY]


def standing(s: Story, event: Event) -> None:
    """The free lock claims to have come right after an event of the registry."""
    s.edit("Locked", FREE, registrySeq=event.seq, registryHead=event.head)


def told(s: Story, name: str, args: dict[str, Any], *, known: bool = True) -> None:
    """One more event of the registry right before the free lock, which knows of it or pretends not to."""
    i = s.at("Locked", FREE)
    last = registry_events(s, i)[-1]
    head, tx = h(f"after {name}"), h("another transaction")
    event = replace(last, name=name, args=args, seq=last.seq + 1, head=head, tx=tx)
    s.events.insert(i, event)
    if known:
        standing(s, event)


def charge(s: Story, *, together: bool = True) -> None:
    """The registry books a charge for the free lock; ``together``: in the lock's own transaction."""
    locked = s.events[s.at("Locked", FREE)]
    told(s, "Charged", {**s.events[s.at("Charged")].args, "lockId": locked.args["lockId"]})
    if together:
        i = s.at("Locked", FREE) - 1
        s.events[i] = replace(s.events[i], tx=locked.tx)


def budget(s: Story) -> dict[str, Any]:
    return {"dataset": dataset(s), "rhoCap": 10**12, "deltaCap": 10**15, "exactCap": 1000}


def moved(s: Story, to: int) -> None:
    """The free lock at another place of the order, everything else as it was."""
    s.events.insert(to, s.events.pop(s.at("Locked", FREE)))


def paused(s: Story) -> dict[str, Any]:
    return {"by": s.world.regulator.sender.address, "paused": True}


def closed(s: Story) -> dict[str, Any]:
    return {"study": s.exact, "by": s.world.sponsor.sender.address}


def next_cohort(s: Story) -> dict[str, Any]:
    return {"dataset": dataset(s), "cohortRoot": h("r"), "applied": 0, "version": 2}


def no_ledger(s: Story) -> dict[str, Any]:
    return {"role": role("LEDGER"), "account": s.world.addresses.ledger, "granted": False}


# Lawful in themselves: only the free lock after them is not.
GATE: dict[str, tuple[Change, str]] = {
    "revoked": (lambda s: told(s, "ConsentRevoked", revoked(s)), "no consent"),
    "withdrawn": (
        lambda s: told(s, "PatientWithdrew", {"dataset": dataset(s), "leaf": h("leaf")}),
        "patients withdrew",
    ),
    "next cohort": (lambda s: told(s, "CohortReplaced", next_cohort(s)), "a stale cohort"),
    "closed": (lambda s: told(s, "StudyClosed", closed(s)), "the study is closed"),
    "suspended": (lambda s: told(s, "RoleSet", suspended(s)), "the steward is suspended"),
    "paused": (lambda s: told(s, "PauseSet", paused(s)), "paused"),
    "coordinator's role": (
        lambda s: told(s, "RoleSet", suspended(s, "COORDINATOR", s.world.coordinator.sender.address)),
        "lost its role",
    ),
    "no ledger": (lambda s: told(s, "RoleSet", no_ledger(s)), "the ledger may not consume consent"),
    "epoch": (lambda s: use(s, FREE, epoch=7), "a stale epoch"),
    "expired": (lambda s: s.edit("Locked", FREE, time=1 << 40, lockBy=1 << 41), "consent expired"),
    "smaller set": (lambda s: s.edit("Locked", FREE, **smaller(s, FREE)), "another set than"),
}
# The lock's own place is a lie.
PLACE: dict[str, Change] = {
    "before the study": lambda s: standing(s, s.events[s.at("StudyRegistered", study=s.exact)]),
    "one entry back": lambda s: standing(s, registry_events(s, s.at("Locked", FREE))[-2]),
    "one entry ahead": lambda s: standing(s, s.events[s.at("Charged", 1)]),
    "nowhere": lambda s: s.edit("Locked", FREE, registrySeq=0, registryHead=bytes(32)),
    "right count, other head": lambda s: s.edit("Locked", FREE, registryHead=h("x")),
    "right head, other count": lambda s: s.edit("Locked", FREE, registrySeq=1),
    "a revocation overlooked": lambda s: told(s, "ConsentRevoked", revoked(s), known=False),
    "a harmless entry overlooked": lambda s: told(s, "BudgetSet", budget(s), known=False),
    "told after a later entry": lambda s: moved(s, s.at("Charged", 1)),
    "told before an earlier entry": lambda s: moved(s, s.at("ConsentGranted", -1)),
}
CHARGE: dict[str, tuple[Change, str]] = {
    "in the registry only": (charge, "the registry charged a free lock"),
    "in the ledger only": (
        lambda s: s.edit("Locked", FREE, charged=True),
        "charge: expected False, found True",
    ),
    "in both": (
        lambda s: (charge(s), s.edit("Locked", FREE, charged=True)),
        "charge: expected False, found True",
    ),
    "by another transaction": (lambda s: charge(s, together=False), "consent was consumed without a lock"),
    "by another ledger": (
        lambda s: s.edit("Charged", ledger=STRANGER),
        "consumed by another than the ledger",
    ),
}


def test_the_free_lock_is_known_by_its_place_alone(story: Story) -> None:
    i = story.at("Locked", FREE)
    locked, last = story.events[i], registry_events(story, i)[-1]
    assert not locked.args["charged"]
    assert (locked.args["registrySeq"], locked.args["registryHead"]) == (last.seq, last.head)
    assert last.tx != locked.tx
    told(story, "BudgetSet", budget(story))
    assert story.broken() == ""


@pytest.mark.parametrize(("change", "rule"), GATE.values(), ids=GATE.keys())
def test_a_free_lock_passes_the_same_gate(story: Story, change: Change, rule: str) -> None:
    change(story)
    assert rule in story.broken()
    assert "journal" not in story.broken()


@pytest.mark.parametrize("change", PLACE.values(), ids=PLACE.keys())
def test_a_free_lock_stands_where_it_says(story: Story, change: Change) -> None:
    change(story)
    assert "journal: expected" in story.broken()


@pytest.mark.parametrize(("change", "rule"), CHARGE.values(), ids=CHARGE.keys())
def test_both_journals_tell_of_the_same_charges(story: Story, change: Change, rule: str) -> None:
    change(story)
    assert rule in story.broken()
