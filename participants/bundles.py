"""What a hospital hands an auditor: each round's public part, and the openings sealed to the regulator."""

from __future__ import annotations

from collections.abc import Iterable

import rfc8785

from consilium_records import RecordStore
from crypto import envelopes
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb


def canonical(result: dict[str, object]) -> bytes:
    """RFC 8785 JSON; the hospitals' results are compared as bytes."""
    return rfc8785.dumps(result)  # type: ignore[arg-type]


def openings(store: RecordStore, study: bytes) -> list[pb.Opening]:
    """Openings of the rounds that this hospital sealed, in order."""
    found = store.slots(study.hex(), "opening-")
    return [
        _whole(store, study, number, found[f"opening-{number}"]) for number in _numbers(found, "opening-")
    ]


def _whole(store: RecordStore, study: bytes, number: int, body: bytes) -> pb.Opening:
    """An opening with the states around it."""
    opening = pb.Opening.FromString(body)
    before, after = (_state(store, study, n) for n in (number - 1, number))
    opening.salt_before, opening.state_before = before.salt, before.state
    opening.salt, opening.state = after.salt, after.state
    return opening


def _state(store: RecordStore, study: bytes, after: int) -> pb.StateHandover:
    held = store.get(study.hex(), f"state-{after}")
    if held is None:
        raise AssertionError("a seal stands on a state that is held")
    return pb.StateHandover.FromString(held)


def seal_ids(store: RecordStore, study: bytes) -> list[bytes]:
    """Of the rounds that this hospital sealed, in order."""
    found = store.slots(study.hex(), "opening-")
    return [pb.Opening.FromString(found[f"opening-{n}"]).seal_id for n in _numbers(found, "opening-")]


def _numbers(slots: Iterable[str], prefix: str) -> list[int]:
    return sorted(int(slot.removeprefix(prefix)) for slot in slots)


def rounds(store: RecordStore, study: bytes) -> list[pb.SealedRound]:
    """Public part of each round, with every signature of the seal that reached us."""
    found = store.slots(study.hex(), "round-")
    result = []
    for slot in sorted(found, key=lambda s: int(s.removeprefix("round-"))):
        sealed = pb.SealedRound.FromString(found[slot])
        shares = store.get(study.hex(), f"shares-{slot.removeprefix('round-')}")
        if shares is not None:
            del sealed.shares[:]
            sealed.shares.extend(pb.Attested.FromString(shares).shares)
        result.append(sealed)
    return result


def bundle_info(study: bytes) -> bytes:
    return digests.tagged("bundle", study)


def bundle(store: RecordStore, study: bytes, spec: bytes, regulator_key: bytes) -> bytes:
    """The whole bundle of a study as one message.

    Args:
        regulator_key: HPKE public key; exact sums may hold small cells, so only its owner can read them.
    """
    plain = wire.encode(pb.Openings(openings=openings(store, study)))
    sealed = envelopes.seal(regulator_key, bundle_info(study), plain)
    message = pb.Bundle(spec=spec, rounds=rounds(store, study), sealed_openings=sealed)
    return wire.encode(message)
