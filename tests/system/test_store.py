"""A store killed inside a transaction, or while it is made, has done the step wholly or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.store import open_store
from tests.system.steps import ORG, dies_at, make, step
from tests.system.world import World

pytestmark = pytest.mark.slow


def survives(world: World, number: int, act: Callable[[str], None], url: str) -> bool:
    """Whether ``act`` comes to its end before its ``number``-th statement."""
    process = world.processes.Process(target=dies_at, args=(number, act, url))
    process.start()
    process.join()
    assert process.exitcode in (0, -9)
    return process.exitcode == 0


def is_whole(url: str) -> bool:
    """All of `step` is done, rather than nothing; fails if a part of it is."""
    store = open_store(url)
    try:
        marks = {
            store.get("study", "new") == b"2",
            store.get("study", "more") == b"3",
            [o.body for o in store.outgoing()] == [b"letter", b"second"],
            store.get("study/1/2", "secret") is None,
        }
        assert len(marks) == 1, "a part of a step"
        assert store.get("study", "old") == b"1"
        return marks.pop()
    finally:
        store.close()


def test_killed_inside_a_step(world: World, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    store = open_store(url)
    store.commit([("study", "old", b"1"), ("study/1/2", "secret", b"s")])
    store.close()
    number = 1
    while not survives(world, number, step, url):
        assert not is_whole(url)  # death came before the commit
        number += 1
    assert is_whole(url)
    assert number > 7


def test_killed_while_the_schema_is_made(world: World, tmp_path: Path) -> None:
    """Whatever is half made, the next start makes it whole."""
    number, done = 0, False
    while not done:
        number += 1
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        done = survives(world, number, make, url)
        store = open_store(url)
        store.commit([("study", "old", b"1")], [(ORG, b"letter")])
        assert (store.get("study", "old"), len(store.outgoing())) == (b"1", 1)
        store.close()
    assert number > 5
