"""Everything that a role writes down in a round, in the order in which it comes: where it is to die."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.system.faults import Fault, When

HOSPITAL_ROUND = (
    "commit {r}/*/hello",
    "commit {r}/input-1",
    "commit {r}/*/upload",
    "commit {r}/unlocked-*",
    "commit {r}/*/try-1",
    "commit {r}/*/seal",
    "commit state-{r}",
)
COORDINATOR_ROUND = (
    ("commit {r}/attempt-1", 1),
    ("commit {r}/1/hello-*", 2),
    ("commit {r}/1/hellos", 1),
    ("commit {r}/1/ready-*", 3),
    ("commit {r}/1/plan", 1),
    ("commit {r}/1/upload-*", 2),
    ("commit {r}/1/locked", 1),
    ("commit {r}/1/unlock-*", 3),
    ("commit {r}/1/sum", 1),
    ("commit {r}/1/seal-*", 4),
    ("commit next-{r}", 1),
    ("commit told-{r}", 1),
)
#: Beside a round, or only when something goes wrong.
HOSPITAL_ELSE = (
    "commit studies/offer-*",
    "commit studies/accepted-*",
    "commit shares-*",
    "commit release",
    "commit catch-up-*",
    "commit */ready",
    "commit */mask-share-*",
    "commit */complaint",
    "commit */dispute-*",
    "commit */checked",
    "commit */range",
    "commit verdict-*",
)
COORDINATOR_ELSE = (
    "commit studies/offer-*",
    "commit studies/started-*",
    "commit release-*",
    "commit */attempt-2",
    "commit */failed",
    "commit */halted",
    "commit */refusal-*",
    "commit */complaint-*",
    "commit */dispute-*",
    "commit */check",
    "commit */checked-*",
    "commit */all-checked",
    "commit */range-*",
    "commit */ranging",
    "commit */ranges",
    "commit verdict-*",
    "commit */recover-*",
    "commit */mask-share-*",
)


def hospital_round(number: int, when: When) -> list[Fault]:
    return [Fault(event.format(r=number), when) for event in HOSPITAL_ROUND]


def coordinator_round(number: int, when: When) -> list[Fault]:
    return [Fault(event.format(r=number), when, nth) for event, nth in COORDINATOR_ROUND]


def both(*events: str) -> list[Fault]:
    """Before, and in the next life after."""
    return [Fault(event, when) for event in events for when in ("before", "after")]


def unknown(role: str, trace: Iterable[str]) -> set[str]:
    """Transactions of a role that no line of these tables names: a new one needs its own deaths."""
    if role == "coordinator":
        events = [event for event, _ in COORDINATOR_ROUND] + list(COORDINATOR_ELSE)
    else:
        events = [*HOSPITAL_ROUND, *HOSPITAL_ELSE]
    # Whatever the number of the round or the attempt.
    known = [Fault(re.sub(r"\{r\}|\d+", "*", event), "before") for event in events]
    commits = (line for line in trace if line.startswith("commit"))
    return {line for line in commits if not any(fault.names(line.split(" + ")) for fault in known)}
