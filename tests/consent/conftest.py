"""A laptop chain for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consent_contracts.index import Event, Index
from consent_contracts.laptop import Anvil
from protos import digests
from tests.consent.story import Story
from tests.consent.world import World


@pytest.fixture(scope="package")
def anvil() -> Iterator[Anvil]:
    with Anvil(block_time=0.03) as node:
        yield node


@pytest.fixture(scope="module")
def world(anvil: Anvil) -> World:
    """Fresh contracts on the shared chain."""
    return World(anvil)


@pytest.fixture(scope="module")
def told(world: World) -> tuple[tuple[Event, ...], bytes, bytes]:
    """An honest history of two studies, exact and dp: locks 0 to 3, of which the last is not sealed."""
    exact, dp = world.granted(), world.granted(mode=digests.DP, window=5)
    world.run(exact, "a", "a")
    world.run(dp, "a")
    world.lock(world.plan(dp))
    index = Index(world.chain())
    index.sync()
    return index.events, exact, dp


@pytest.fixture
def story(world: World, told: tuple[tuple[Event, ...], bytes, bytes]) -> Story:
    return Story(world, *told)
