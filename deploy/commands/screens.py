"""What the study commands show. Names come checked from the client; markup in them is not obeyed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coordinator.client import Phase, Seal, StudyEvent, StudyState

NameOf = Callable[[bytes], str]
_COLOURS = {Phase.FINISHED: "green", Phase.HALTED: "yellow", Phase.CANCELLED: "red", Phase.CLOSED: "red"}
_AWAITED = {
    "hello": "fresh keys",
    "ready": "commitments",
    "upload": "encrypted uploads",
    "unlock": "unlocks",
    "checked": "masked openings",
    "range": "proofs of range",
    "verdict": "verdicts",
    "seal": "seals",
}


def studies(states: Sequence[StudyState]) -> RenderableType:
    table = Table("study", "id", "phase", "round", "analysis", "seals", box=None, padding=(0, 2, 0, 0))
    for s in states:
        table.add_row(
            Text(s.name), f"0x{s.id.hex()[:12]}", _phase(s), str(s.round), Text(s.analysis), str(s.seals)
        )
    return table if states else Text("no studies")


def follow(events: Iterable[StudyEvent], name_of: NameOf, console: Console | None = None) -> None:
    """Live on a terminal; a line for each event elsewhere."""
    console = console or Console()
    if not console.is_terminal:
        for event in events:
            console.print(line(event, name_of))
        return
    state, seals = None, list[Seal]()
    with Live(console=console, refresh_per_second=8) as live:
        for event in events:
            if isinstance(event, Seal):
                seals.append(event)
            else:
                state = event
            rows: list[RenderableType] = [line(seal, name_of) for seal in seals]
            live.update(Group(*rows, *([line(state, name_of)] if state is not None else [])))


def line(event: StudyEvent, name_of: NameOf) -> Text:
    if isinstance(event, Seal):
        absent = [name_of(o) for o in event.members if o not in event.signers]
        text = Text(f"round {event.number:>3}  {event.analysis:<20} ")
        text.append("sealed", "green").append(f" by {len(event.signers)} of {len(event.members)}")
        return text.append(f", without {', '.join(absent)}") if absent else text
    text = Text.assemble(event.name, "  ", _phase(event))
    if event.phase in (Phase.OFFERED, Phase.AWAITING):
        missing = [name_of(o) for o in event.roster if o not in event.consents]
        text.append(f"  consent {len(event.consents)} of {len(event.roster)}")
        return text.append(f", missing {', '.join(missing)}") if missing else text
    if event.phase is Phase.RUNNING and event.round:
        text.append(f"  round {event.round}, {event.analysis}")
        if event.missing:
            who = ", ".join(name_of(o) for o in event.missing)
            text.append(f": awaiting {_AWAITED.get(event.waiting_for, event.waiting_for)} of {who}")
        elif event.last:
            text.append(f": {event.last}")
    if event.halted and event.phase is Phase.HALTED:
        text.append(f"  {event.halted}")
    if event.phase in (Phase.SEALED, Phase.FINISHED):
        text.append(f"  {event.seals} seals, {event.releases} releases")
    for accused in event.accused:
        who = " or ".join(name_of(o) for o in accused.orgs) or "nobody named"
        text.append(f"\n  round {accused.round}: {accused.code}, {who}, by {len(accused.by)}", "red")
    return text


def _phase(state: StudyState) -> Text:
    return Text(state.phase.name.lower(), _COLOURS.get(state.phase, "cyan"))
