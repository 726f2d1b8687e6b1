"""The bundle against the chain: one honest study, then one lie at a time, each refused with its own reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_contracts.auditor import audit
from crypto import envelopes
from crypto.commitments import Q
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.conftest import tiny_spec
from tests.consent.bundles import Study, run_study
from tests.consent.world import World, h

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def study(world: World) -> Study:
    return run_study(world, tiny_spec(rounds=3))


def codes(world: World, study: Study, data: bytes | None = None, key: bytes | None = None) -> set[str]:
    bundle = study.pack() if data is None else data
    verdict = audit(
        world.url, world.addresses, study=study.id, bundle=bundle, regulator_key=key or study.secret
    )
    return {c.code for c in verdict.failed}


def test_an_honest_bundle_passes(world: World, study: Study) -> None:
    verdict = audit(world.url, world.addresses, bundle=study.pack(), regulator_key=study.secret)
    assert not verdict.failed, verdict.failed
    assert (verdict.seals, verdict.openings) == (3, 3)
    assert verdict.signatures == 3 * 4 * 2 + 3 * 4 * 4
    without = audit(world.url, world.addresses, study=study.id, bundle=study.pack())
    assert not without.failed
    assert [c.name for c in without.checks if c.outcome == "skipped"] == ["openings"]


def flip(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def reorder(s: Study) -> None:
    a, b = pb.SealedRound(), pb.SealedRound()
    a.CopyFrom(s.message.rounds[0])
    b.CopyFrom(s.message.rounds[1])
    s.message.rounds[0].CopyFrom(b)
    s.message.rounds[1].CopyFrom(a)


def reorder_openings(s: Study) -> None:
    last = s.openings.openings.pop()
    s.openings.openings.insert(0, last)


def swap_receipts(s: Study) -> None:
    a, b = s.message.rounds[0].receipts[:2]
    a.signature, b.signature = b.signature, a.signature


def drop(items: object) -> None:
    items.pop()  # type: ignore[attr-defined]


def commitment_of_another(s: Study) -> None:
    one, two = (pb.ReadyHeader.FromString(x.payload) for x in s.message.rounds[0].headers[:2])
    one.commitment = two.commitment
    s.message.rounds[0].headers[0].payload = wire.encode(one)


def first(s: Study) -> pb.Opening:
    return s.openings.openings[0]


LIES: dict[str, tuple[Callable[[Study], object], set[str]]] = {
    "spec": (
        lambda s: setattr(s.message, "spec", tiny_spec("other", rounds=3).canonical()),
        {"audit.spec"},
    ),
    "order": (reorder, {"audit.order", "audit.ctx", "audit.opening_missing"}),
    "round missing": (lambda s: drop(s.message.rounds), {"audit.rounds"}),
    "header's signature": (
        lambda s: setattr(
            s.message.rounds[0].headers[0], "signature", s.message.rounds[0].headers[1].signature
        ),
        {"signature.wrong_signer", "audit.opening_missing"},
    ),
    "commitment": (commitment_of_another, {"signature.wrong_signer", "audit.opening_missing"}),
    "header missing": (
        lambda s: drop(s.message.rounds[0].headers),
        {"audit.set", "audit.opening_missing"},
    ),
    "deadline": (
        lambda s: setattr(s.message.rounds[0], "lock_by", 7),
        {"audit.lock_by", "audit.opening_missing"},
    ),
    "receipt": (swap_receipts, {"signature.wrong_signer", "audit.opening_missing"}),
    "receipt's ciphertext": (
        lambda s: setattr(s.message.rounds[0].receipts[0], "ciphertext_digest", h("other")),
        {"signature.wrong_signer", "audit.opening_missing"},
    ),
    "receipt missing": (
        lambda s: drop(s.message.rounds[0].receipts),
        {"plan.receipts", "audit.opening_missing"},
    ),
    "share": (
        lambda s: setattr(
            s.message.rounds[0].shares[0], "signature", s.message.rounds[0].shares[1].signature
        ),
        {"signature.wrong_signer", "audit.opening_missing"},
    ),
    "no shares": (
        lambda s: s.message.rounds[0].ClearField("shares"),
        {"audit.shares", "audit.opening_missing"},
    ),
    "a field out of the contract's range": (
        lambda s: setattr(s.message.rounds[0].ctx, "mode", 70_000),
        {"wire.range"},
    ),
    "sum": (lambda s: setattr(first(s), "sum", flip(first(s).sum, 0)), {"audit.result"}),
    "randomness": (
        lambda s: setattr(first(s), "randomness", flip(first(s).randomness)),
        {"audit.result"},
    ),
    "state after": (lambda s: setattr(first(s), "state", flip(first(s).state)), {"audit.state_after"}),
    "state before": (
        lambda s: setattr(first(s), "state_before", flip(first(s).state_before)),
        {"audit.state_before"},
    ),
    "salt": (lambda s: setattr(first(s), "salt", h("x")), {"audit.result"}),
    "opening missing": (
        lambda s: drop(s.openings.openings),
        {"audit.openings", "audit.opening_missing"},
    ),
    "openings' order": (reorder_openings, {"audit.openings"}),
}


@pytest.mark.parametrize(("lie", "expected"), LIES.values(), ids=LIES.keys())
def test_a_lie_in_the_bundle_is_named(
    world: World, study: Study, lie: Callable[[Study], object], expected: set[str]
) -> None:
    changed = study.copy()
    lie(changed)
    assert codes(world, changed) == expected


def test_a_wrong_key_opens_nothing(world: World, study: Study) -> None:
    assert codes(world, study, key=envelopes.generate()[0]) == {"envelope.open"}


def test_garbage_is_an_entry(world: World, study: Study) -> None:
    assert codes(world, study, data=b"") == {"wire.length"}
    assert codes(world, study, data=study.pack()[:-1]) == {"wire.malformed"}


def test_a_bundle_of_no_registered_study(world: World) -> None:
    stranger = pb.Bundle(spec=tiny_spec("never-registered").canonical(), sealed_openings=b"")
    verdict = audit(world.url, world.addresses, bundle=wire.encode(stranger))
    assert "audit.unknown_study" in {c.code for c in verdict.failed}


# hospitals that lie together: everything is signed and locked, only the arithmetic shows it -------------


def sealed_lie(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, target: str, lie: object
) -> set[str]:
    """Run the whole study with one function of the harness replaced by a liar."""
    with monkeypatch.context() as patch:
        patch.setattr(target, lie)
        study = run_study(world, tiny_spec(name))
    return codes(world, study)


def test_a_state_that_does_not_follow_from_the_sum(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from analytics import registry

    honest = registry.advance

    def lie(spec, state, totals, parties):  # type: ignore[no-untyped-def]
        return honest(spec, state, {k: v + (1 if k else 0) for k, v in totals.items()}, parties)

    found = sealed_lie(world, monkeypatch, "lie-state", "tests.consent.bundles.registry.advance", lie)
    assert found == {"audit.state"}


def test_a_sum_that_nobody_committed_to(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(values, axis, dtype):  # type: ignore[no-untyped-def]
        total = np.add.reduce(values, axis=axis, dtype=dtype)
        total[0] += np.uint64(1)
        return total

    found = sealed_lie(world, monkeypatch, "lie-sum", "tests.consent.bundles.np.sum", lie)
    assert found == {"commitment.mismatch"}


def test_a_first_state_that_is_not_the_genesis(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.consent.bundles.digests.genesis_salt", lambda spec: h("mine"))
    study = run_study(world, tiny_spec("lie-genesis"))
    monkeypatch.undo()
    assert codes(world, study) == {"audit.genesis"}


def test_other_parameters_than_the_layouts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(self):  # type: ignore[no-untyped-def]
        return b"{}"

    found = sealed_lie(world, monkeypatch, "lie-params", "analytics.layout.Layout.params_bytes", lie)
    assert found == {"audit.params"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_byte_is_refused(world: World, study: Study, data: st.DataObject) -> None:
    """Without the chain's replay, for speed: only what the bundle itself can break."""
    packed = study.pack()
    at = data.draw(st.integers(0, len(packed) - 1))
    changed = packed[:at] + bytes([packed[at] ^ data.draw(st.integers(1, 255))]) + packed[at + 1 :]
    assert codes(world, study, data=changed)


def test_randomness_has_one_form(world: World, study: Study) -> None:
    """R + Q opens the same commitment; the seal's hash allows one of the two only."""
    changed = study.copy()
    value = int.from_bytes(first(changed).randomness, "big") + Q
    first(changed).randomness = value.to_bytes(32, "big")
    assert codes(world, changed) == {"audit.result"}
