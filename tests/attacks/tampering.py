"""Ways to alter what one hospital says, and to see what came of it."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.round import LockCall
from protos import wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim
from tests.attacks.rogue import resign

Change = Callable[[bytes], bytes | None]


def only(who: sim.Member, kind: str, change: Change) -> coordination.Tamper:
    """Alter one kind of message of one hospital."""
    return lambda org, k, body: change(body) if (org, k) == (who.org, kind) else body


def silent(*rules: tuple[sim.Member, str]) -> coordination.Tamper:
    lost = {(who.org, kind) for who, kind in rules}
    return lambda org, kind, body: None if (org, kind) in lost else body


def header(change: Callable[[pb.ReadyHeader], None], who: sim.Member) -> Change:
    def altered(body: bytes) -> bytes:
        ready = wire.parse(pb.Ready, body)
        made = wire.parse(pb.ReadyHeader, ready.header.payload)
        change(made)
        ready.header.CopyFrom(resign(ready.header, made, who.agent))
        return wire.encode(ready)

    return altered


def failed(desk: coordination.Desk) -> tuple[str, list[bytes]]:
    failure = custody.Failure.FromString(desk.slot("failed"))
    return failure.code, list(failure.without)


def locked_orgs(desk: coordination.Desk) -> tuple[bytes, ...]:
    return next(call.orgs for call in reversed(desk.calls) if isinstance(call, LockCall))
