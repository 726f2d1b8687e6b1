"""What an audit found: every check with its outcome, nothing hidden in an exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from consilium_errors import Error, Hostile, Unavailable

T = TypeVar("T")
Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. ``code`` is stable for a failure; ``detail`` says expected and found."""

    name: str
    subject: str
    outcome: Outcome
    detail: str = ""
    code: str = ""


@dataclass(frozen=True)
class Verdict:
    """All checks in the order in which they were made, and how much was covered."""

    checks: tuple[Check, ...]
    block: int = 0
    events: int = 0
    locks: int = 0
    seals: int = 0
    signatures: int = 0
    openings: int = 0

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.outcome == "failed")

    def verify(self) -> None:
        """Raises Hostile with the first failure's code (or ``audit.empty`` if nothing was checked)."""
        if not self.checks:
            raise Hostile("audit.empty", "nothing was checked")
        if self.failed:
            first = self.failed[0]
            raise Hostile(
                first.code, f"{len(self.failed)} failed, first: {first.name} {first.subject}: {first.detail}"
            )


@dataclass
class Findings:
    """A verdict in the making."""

    checks: list[Check] = field(default_factory=list)
    block: int = 0
    events: int = 0
    locks: int = 0
    seals: int = 0
    signatures: int = 0
    openings: int = 0

    def verdict(self) -> Verdict:
        return Verdict(
            tuple(self.checks),
            self.block,
            self.events,
            self.locks,
            self.seals,
            self.signatures,
            self.openings,
        )

    def passed(self, name: str, subject: str, detail: str = "") -> None:
        self.checks.append(Check(name, subject, "passed", detail))

    def failed(self, name: str, subject: str, code: str, detail: str) -> None:
        self.checks.append(Check(name, subject, "failed", detail, code))

    def skipped(self, name: str, subject: str, detail: str) -> None:
        self.checks.append(Check(name, subject, "skipped", detail))

    def rules(self, name: str, subject: str, broken: Sequence[str], code: str) -> None:
        """Passed if no rule is broken."""
        if broken:
            self.failed(name, subject, code, "; ".join(broken))
        else:
            self.passed(name, subject)

    def attempt(self, name: str, subject: str, work: Callable[[], T]) -> T | None:
        """What ``work`` returns, or None after it failed."""
        try:
            result = work()
        except Unavailable:
            raise
        except Error as error:
            self.failed(name, subject, error.code, str(error))
            return None
        self.passed(name, subject)
        return result

    @contextmanager
    def checking(self, name: str, subject: str, detail: str = "") -> Iterator[None]:
        """Passed unless the block raises one of our errors. Only what is away still raises."""
        try:
            yield
        except Unavailable:
            raise
        except Error as error:
            self.failed(name, subject, error.code, str(error))
        else:
            self.passed(name, subject, detail)


def expect(code: str, what: str, expected: object, found: object) -> None:
    """Raises Hostile ``code`` naming both."""
    if expected != found:
        raise Hostile(code, f"{what}: expected {show(expected)}, found {show(found)}")


def show(value: object) -> str:
    return short(value) if isinstance(value, bytes) else str(value)


def short(value: bytes) -> str:
    return "0x" + value.hex()[:12]
