"""What a store does, in a process that dies in the midst of it."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from coordinator.store import open_store
from tests.system.faults import die

ORG = bytes(20)


def dies_at(number: int, act: Callable[[str], None], url: str) -> None:
    """Do ``act``; die just before its ``number``-th statement or commit."""
    count = 0

    def one(*_: object) -> None:
        nonlocal count
        count += 1
        if count == number:
            die()

    sa.event.listen(sa.Engine, "before_cursor_execute", one)
    sa.event.listen(sa.Engine, "commit", one)
    act(url)


def make(url: str) -> None:
    open_store(url).close()


def step(url: str) -> None:
    records = [("study", "new", b"2"), ("study", "more", b"3")]
    open_store(url).commit(records, [(ORG, b"letter"), (ORG, b"second")], ["study/1"])
