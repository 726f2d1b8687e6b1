"""What the demo shows while it runs and at the end: numbered lines, small tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.padding import Padding
from rich.status import Status
from rich.table import Table


def _console() -> Console:
    console = Console(highlight=False, record=True)
    return console if console.is_terminal else Console(highlight=False, record=True, width=110)


class Screen:
    """Numbered lines on a Rich console; everything is kept for the log."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _console()
        self._number = 0
        self._status: Status | None = None

    def text(self) -> str:
        """All that was printed, without colours."""
        return self.console.export_text(clear=False)

    def title(self, text: str) -> None:
        self.console.print(f"[bold]{text}[/bold]")

    def line(self, what: str, text: str, verdict: str = "") -> None:
        self._number += 1
        colour = "red" if verdict == "REFUSED" else "green"
        tail = f"[{colour}]{verdict}[/{colour}]" if verdict else ""
        self.console.print(f"[dim]\\[{self._number:>2}][/dim] {what:<9} {text:<76} {tail}", soft_wrap=True)

    def note(self, text: str) -> None:
        self.console.print(f"     {text}", style="dim")

    def command(self, text: str) -> None:
        """Whole on its line, to be copied."""
        self.console.print(f"     {text}", style="dim", markup=False, soft_wrap=True)

    def table(self, heads: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for i, head in enumerate(heads):
            table.add_column(head, justify="left" if i == 0 else "right")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        self.console.print(Padding(table, (0, 0, 0, 5)))

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A spinner while something long runs; `progress` changes its text."""
        with self.console.status(text) as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None

    def progress(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)
