"""A verdict for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from consent_contracts.auditor.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

QUESTIONS = {
    "code": "the code on the chain is ours",
    "journal": "no event is missing, altered or moved",
    "events": "every entry of the registry was lawful",
    "event": "every entry of the registry was lawful",
    "gate": "each lock had live consent, its price and its turn",
    "seal": "each seal is its lock's, in one chain",
    "recovery": "each hospital whose part was recovered had had its time",
    "receipts": "each upload was signed by its hospital",
    "signatures": "each seal was signed by its hospitals",
    "study": "the study is registered",
    "bundle": "the bundle is well formed and of this study",
    "spec": "the plan is the one that was registered",
    "rounds": "the bundle has all rounds in their order",
    "content": "plans, inputs and receipts are those locked",
    "privacy": "each opening is booked at the price of its noise, and all keep the promise",
    "envelope": "the sums open with the regulator's key",
    "openings": "there is one opening for each seal",
    "opening": "each sum is what was committed, and moves the state as sealed",
}
_MARKS = {"passed": "[green]✓[/]", "failed": "[red]✗[/]", "skipped": "[yellow]–[/]"}


def explain(verdict: Verdict) -> RenderableType:
    """One line for each question, then each failure with what was expected and found."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name in dict.fromkeys(c.name for c in verdict.checks):
        outcomes = Counter(c.outcome for c in verdict.checks if c.name == name)
        worst = next(o for o in ("failed", "skipped", "passed") if outcomes[o])
        count = f"{outcomes['passed']} of {outcomes.total()}" if outcomes.total() > 1 else ""
        table.add_row(_MARKS[worst], QUESTIONS.get(name, name), count)
    failures = Table(box=None, show_header=False, pad_edge=False)
    for check in verdict.failed:
        failures.add_row(f"[red]{check.code}[/]", escape(check.subject), escape(check.detail))
    covered = (
        f"{verdict.seals} seals, {verdict.locks} locks, {verdict.signatures} signatures, "
        f"{verdict.events} events up to block {verdict.block}, {verdict.openings} openings"
    )
    if verdict.failed or not verdict.checks:
        closing = Text(f"REFUSED: {len(verdict.failed)} of {len(verdict.checks)} checks failed", "bold red")
    else:
        closing = Text("verified", "bold green")
    parts: list[RenderableType] = [table, Text(covered), closing]
    return Group(*parts, failures) if verdict.failed else Group(*parts)
