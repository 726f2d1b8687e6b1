"""The four ways in which something can fail, shared by every room.

A caller tells them apart by class; another organisation only ever sees ``code``.

* `Refused`: a rule said no (consent, policy, budget, disclosure). Asking again will not help.
* `Hostile`: bytes arrived that no honest party sends. Drop them and record who sent them.
* `Misuse`: the caller made a mistake and can mend it; the remedy says how.
* `Unavailable`: something that is needed is away. Nothing is lost; try again later.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class Error(Exception):
    """Base of all errors that Consilium raises on purpose.

    Args:
        code: stable dotted name, the only part that may cross to another organisation.
        message: what happened, for the log at home.
        remedy: what a person can do about it.
    """

    kind = "error"

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        if not _CODE.fullmatch(code):
            raise ValueError(f"not a stable error code: {code!r}")
        super().__init__(message)
        self.code = code
        self.remedy = remedy

    def diagnostics(self) -> str:
        """The message with its remedy, as shown to a person at home."""
        return f"{self} [{self.code}]" + (f"\n  {self.remedy}" if self.remedy else "")


class Refused(Error):
    kind = "refused"


class Hostile(Error):
    kind = "hostile"


class Misuse(Error):
    kind = "misuse"


class Unavailable(Error):
    kind = "unavailable"
