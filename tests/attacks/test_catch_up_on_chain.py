"""A hospital that was away for a round comes back: the real thing, and with a liar among its peers."""

from __future__ import annotations

import pytest

from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks.table import Ring
from tests.conftest import tiny_spec

pytestmark = [pytest.mark.slow, pytest.mark.chain]


def test_a_hospital_that_missed_a_round_catches_up_and_joins_the_next(ring: Ring) -> None:
    """Revoked for the first round, granted again for the second."""
    spec = tiny_spec("catch-up", rounds=2)
    study = ring.register(spec)
    ring.revoke("d", spec, study)
    ring.council.wait(lambda: ring.attested(study) >= 1, 60)
    ring.council.grant(ring.seat("d"), spec, study)
    store = ring.seat("d").hospital.store
    ring.council.wait(lambda: store.get(study.hex(), "state-1") is not None, 60)
    held = wire.parse(pb.StateHandover, store.get(study.hex(), "state-1") or b"")
    ring.council.wait(lambda: ring.attested(study) >= 2, 60)
    assert held == wire.parse(
        pb.StateHandover, ring.seat("a").hospital.store.get(study.hex(), "state-1") or b""
    )
    ring.council.wait(lambda: store.get(study.hex(), "state-2") is not None, 60)
    result = ring.council.run(study, 4)
    assert len(result.approvals) == 4
    head = ring.council.coordinator.chain.snapshot().head(study)
    last = wire.parse(pb.StateHandover, store.get(study.hex(), "state-2") or b"")
    assert digests.state_commit(last.salt, last.state) == head.state_commit
