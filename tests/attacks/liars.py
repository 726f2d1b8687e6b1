"""Hospitals that garble what they encrypt, commit to something else, or lie when their opening is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from consent_contracts.signed import sign
from coordinator.round import Accusation
from crypto import envelopes
from crypto.commitments import Pedersen, masked
from crypto.commitments.masked import MaskedOpening
from crypto.secure_sum.packing import U64
from crypto.secure_sum.schemes import Scheme
from participants.round import secrets
from participants.round.words import Contribution
from protos import wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim

VALUE_BITS = 42  # of the tiny study's values: one to a field of 44 bits, four hospitals


class Garbling:
    """The real cipher in the hands of a hospital that changes what it encrypts."""

    def __init__(self, real: Scheme, change: Callable[[U64], U64]) -> None:
        self._real, self._change = real, change

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def encrypt(self, seed: bytes, coefficients: U64) -> bytes:
        changed = self._change(coefficients) & np.uint64((1 << 45) - 1)
        return self._real.encrypt(seed, changed)


def at_first(change: Callable[[U64], U64]) -> Callable[[U64], U64]:
    """Only the first time."""
    rest = [change]
    return lambda c: rest.pop()(c) if rest else c


def one_more(c: U64) -> U64:
    return c + np.array([1, *[0] * (len(c) - 1)], np.uint64)


def garbling(member: sim.Member, change: Callable[[U64], U64] = one_more) -> None:
    scheme = Garbling(member.machine.ports.scheme, change)
    _ports(member, scheme=scheme)


def committing(member: sim.Member, commit: Callable[[U64, int, int], bytes]) -> None:
    """From now on this hospital commits to whatever it likes."""
    _ports(member, commit=commit)


def _ports(member: sim.Member, **changes: object) -> None:
    ports = replace(member.machine.ports, **changes)  # type: ignore[arg-type]
    member.machine = replace(member.machine, ports=ports)


def contributing(member: sim.Member, change: Callable[[U64], U64]) -> None:
    """Its values are its own choice, and it commits to them and encrypts them as everybody does."""
    real = member.machine.ports.analyst

    class Forger:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def contribute(self, state: bytes) -> Contribution:
            made = real.contribute(state)
            return Contribution(change(made.values.copy()), made.fields)

    _ports(member, analyst=Forger())


@dataclass(frozen=True)
class Part:
    """What one hospital has recorded of the attempt at hand, and the Checked that it could make of it."""

    member: sim.Member
    ctx_hash: bytes
    lock_id: bytes

    @property
    def scope(self) -> str:
        return f"{sim.STUDY.hex()}/1/{self.ctx_hash.hex()}"

    @property
    def upload(self) -> custody.UploadRecord:
        return custody.UploadRecord.FromString(self.member.store.get(self.scope, "upload") or b"")

    @property
    def source(self) -> custody.InputRecord:
        body = self.member.store.get(f"{sim.STUDY.hex()}/1", "input-1") or b""
        return custody.InputRecord.FromString(body)

    @property
    def values(self) -> U64:
        return np.frombuffer(self.source.values, "<u8").astype(np.uint64)

    @property
    def pedersen(self) -> Pedersen:
        make = self.member.machine.ports.pedersen
        assert make is not None
        return make(len(self.values), self.source.fields)

    def opening(self, values: U64 | None = None) -> MaskedOpening:
        me, r = self.member.org, int.from_bytes(self.source.randomness, "big")
        pairs = [(secrets.checked_pair_key(p.secret, self.lock_id), me < p.org) for p in self.upload.pairs]
        packed = self.pedersen.scalars(self.values if values is None else values)
        return masked.mask(self.pedersen, packed, r, pairs)

    def sealed(self, plain: bytes) -> bytes:
        key = secrets.checked_key(self.upload.group, self.member.org, self.lock_id)
        return envelopes.seal_once(key, self.lock_id, plain)

    def message(self, opening: MaskedOpening) -> bytes:
        return self.signed(self.sealed(opening.to_bytes()))

    def signed(self, sealed: bytes) -> bytes:
        checked = pb.Checked(lock_id=self.lock_id, org=self.member.org, sealed=sealed)
        return wire.encode(sign("checked", checked, org=self.member.org, key=self.member.agent))

    def peer(self, org: bytes) -> int:
        """Where a peer's point stands in this hospital's opening."""
        return [p.org for p in self.upload.pairs].index(org)


def part(desk: coordination.Desk, member: sim.Member) -> Part:
    locked = wire.parse(pb.Locked, desk.slot("locked"))
    return Part(member, desk.ctx().digest(), locked.lock_id)


def far(values: U64, field: int = 4, value: int = (1 << 44) - 1) -> U64:
    """The highest field of the first scalar: with the others' it runs over the scalar's end."""
    made = values.copy()
    made[field] = np.uint64(value)
    return made


def far_beyond(member: sim.Member, change: Callable[[U64], U64] = far) -> None:
    """It commits to a value that no field of one hospital holds. What it encrypted does not matter any more."""
    honest = member.machine.ports.commit
    committing(member, lambda values, fields, r: honest(change(values), fields, r))


def consistent(p: Part) -> bytes:
    """The Checked of one that is `far_beyond`."""
    return p.message(p.opening(far(p.values)))


def lying(
    desk: coordination.Desk, who: sim.Member, lie: Callable[[Part], bytes | None]
) -> coordination.Tamper:
    """Its Checked is replaced; nothing: it keeps silent."""

    def tamper(org: bytes, kind: str, body: bytes) -> bytes | None:
        return lie(part(desk, who)) if (org, kind) == (who.org, "checked") else body

    return tamper


def found(desk: coordination.Desk) -> dict[tuple[str, tuple[bytes, ...]], int]:
    """(code, accused) → by how many hospitals."""
    accused: tuple[Accusation, ...] = desk.machine.accused(desk.store)
    return {(a.code, a.orgs): len(a.by) for a in accused}
