"""A whole study over Flower: coordinator and hospitals are the same objects as over any other mailbox."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from consent_contracts.laptop import dev_key
from crypto.identity import AgentKey
from deploy.council import COORDINATOR as COORDINATOR_ACCOUNT
from deploy.council import FIRST_HOSPITAL, Council
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import Letter
from tests.conftest import tiny_spec, tiny_table
from tests.transport.world import World

NAMES = ("a", "b", "c")


def address(account: int) -> bytes:
    return AgentKey.from_bytes(dev_key(account)).address


class Post:
    """What the council takes for one mailbox is four, each role's own, with Flower between."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._hospitals = {world.orgs[i]: hospital for i, hospital in enumerate(world.hospitals)}

    def post(self, to: bytes, body: bytes) -> None:
        if to == self._world.me:
            self._hospitals[wire.parse(pb.Mail, body).sender].post(to, body)
        else:
            self._world.coordinator.post(to, body)

    def _of(self, org: bytes) -> object:
        return self._world.coordinator if org == self._world.me else self._hospitals[org]

    def fetch(self, to: bytes, most: int = 64) -> list[Letter]:
        return self._of(to).fetch(to, most)  # type: ignore[attr-defined,no-any-return]

    def acknowledge(self, to: bytes, number: int) -> None:
        self._of(to).acknowledge(to, number)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_study_over_flower_ends_with_the_pooled_answer(tmp_path: Path, chain_url: str) -> None:
    orgs = [address(FIRST_HOSPITAL + i) for i in range(len(NAMES))]
    world = World(tmp_path / "w", len(NAMES), orgs=orgs, me=address(COORDINATOR_ACCOUNT))
    try:
        world.start()
        tables = {name: tiny_table(seed) for seed, name in enumerate(NAMES)}
        (tmp_path / "council").mkdir()
        council = Council(tmp_path / "council", chain_url, tables, mailbox=Post(world))
        try:
            spec = tiny_spec("over-flower", NAMES)
            result = council.run(council.register(spec), needed=2)
        finally:
            council.close()
    finally:
        world.close()
    ages = np.concatenate([tables[name](spec).numbers["age"] for name in NAMES])
    assert result.content["m0"]["columns"]["age"]["mean"] == pytest.approx(ages.mean(), abs=1e-3)
