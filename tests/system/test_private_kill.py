"""Hospitals die around the record of their noisy input, and no second noise for the same patients is ever opened."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analytics import layout as layouts
from analytics import registry
from analytics.privacy import noise_of
from consent_contracts.chain import Chain
from consent_contracts.index import Index
from crypto.vault import Vault
from participants.bundles import openings
from participants.review import SPENDING
from participants.store import open_store
from tests.conftest import tiny_table
from tests.private import private_spec
from tests.system.faults import after
from tests.system.kill_points import both, unknown
from tests.system.role import hospital_home, hospital_url
from tests.system.world import Study, World

pytestmark = [pytest.mark.slow, pytest.mark.chain]


def test_noise_is_drawn_once_for_a_release_whoever_dies(world: World) -> None:
    spec = private_spec("private-kill")
    drawn, spent = "commit 1/input-1", "commit 1/unlocked-*"
    faults = {"a": both(drawn, spent), "b": [after("commit 1/*/upload")]}
    study = Study(world, world.folder / "private-kill", spec, faults=faults)
    study.run()
    assert {role: found for role in study.roles if (found := unknown(role, study.trace(role)))} == {}
    # a drew once more, because it died before its first noise was recorded; nothing of that had left.
    draws = [study.trace(name).count("data read") for name in "abcd"]
    assert draws == [2, 1, 1, 1]

    chain = Chain([study.common.rpc_url], study.common.addresses)
    try:
        index = Index(chain)
        index.sync()
        ours = [e for e in index.events if e.args.get("study") == study.id]
        noise = noise_of(spec, "table1")
        locked = [e.args for e in ours if e.name == "Locked"]
        assert [(x["charged"], x["ctx"]["release"], x["ctx"]["rho"]) for x in locked] == [
            (True, 1, noise.rho)
        ]
        gates = chain.gate(study.id, [seat.dataset for seat in study.seats.values()])
        assert [(g.rho_left, g.delta_left) for g in gates] == [(0, 0)] * 4
    finally:
        chain.close()

    sums, books = set(), []
    for seat in study.seats.values():
        vault = Vault.load_or_create(hospital_home(study.common, seat) / "vault.key")
        store = open_store(hospital_url(study.common, seat), vault)
        sums |= {bytes(o.sum) for o in openings(store, study.id)}
        books.append([int.from_bytes(b[:8], "big") for b in store.slots(SPENDING, "").values()])
        store.close()
    assert books == [[noise.rho]] * 4
    (opened,) = sums

    state = registry.genesis(spec)
    analysis = registry.current(spec, state)
    assert analysis is not None
    layout = analysis.layout(spec, state)
    bits = layouts.value_bits(layout.fields, 4)
    total = layout.decode(np.frombuffer(opened, dtype="<u8").astype(np.uint64), 4, bits)
    exact = [analysis.local(tiny_table(seat.seed)(spec), state) for seat in study.seats.values()]
    for block in layout.blocks:
        drawn = total[block.name] - np.sum([np.asarray(x[block.name]) for x in exact], axis=0)
        z = np.abs(drawn) / (noise.sigma * math.sqrt(4))
        assert (z < 6).all()
        assert (z > 1e-6).all()
