"""The bundle's sealed part, with the regulator's key: sums, commitments and states, recomputed.

For each round: the opened sum hashes to the seal's result; it is the sum of what every hospital committed to
before the lock; the state before is the one sealed before; and the analytics, applied to that state and this
sum, give exactly the state that was sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.privacy import Plan
from consent_contracts.auditor.content import bundle_info
from consent_contracts.auditor.replay import SealedLock
from consent_contracts.auditor.verdict import Findings, expect, short
from consent_contracts.plan import Plan as RoundPlan
from consilium_errors import Hostile
from crypto import envelopes
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb

Fields = NDArray[np.uint64]


class Arithmetic(Protocol):
    """One study's analytics and commitments, as the auditor needs them. States are canonical bytes."""

    def method(self, state: bytes) -> bytes:
        """Id of the way in which the next sum is made."""

    def proven(self, state: bytes) -> bool:
        """Whether commitments prove the next sum; a committee's median rests on the committee."""

    @property
    def shared(self) -> bool:
        """Whether a committee computes, and says who is in each result."""

    @property
    def promise(self) -> Plan | None:
        """The solved differential privacy of the study; None of an exact one."""

    def prices(self) -> Mapping[str, tuple[int, int, bytes]]:
        """Analysis → (rho, delta, hash of the noise) of one opening, by the study file."""

    def genesis(self) -> bytes:
        """The public first state."""

    def current(self, state: bytes) -> str:
        """Name of the analysis whose round comes next; empty when the study is over."""

    def layout(self, state: bytes) -> tuple[int, int, bytes]:
        """(length, fields per coefficient, parameters) of the next sum."""

    def move(self, state: bytes, total: Fields, parties: int) -> bytes:
        """The next state."""

    def verify_sum(self, total: Fields, fields: int, randomness: int, commitments: Sequence[bytes]) -> None:
        """Nothing if the commitments open to the sum; raises Hostile."""


ArithmeticOf = Callable[[bytes], Arithmetic]


def open_all(bundle: pb.Bundle, study: bytes, secret: bytes) -> list[pb.Opening]:
    """Raises Hostile ``envelope.open``, ``wire.*``."""
    plain = envelopes.open_sealed(secret, bundle_info(study), bundle.sealed_openings)
    return list(wire.parse(pb.Openings, plain).openings)


def check_openings(
    openings: Sequence[pb.Opening],
    chain: Sequence[SealedLock],
    plans: Sequence[RoundPlan | None],
    arithmetic: Arithmetic,
    findings: Findings,
) -> None:
    with findings.checking("openings", "bundle", f"{len(chain)} openings in the chain's order"):
        expect("audit.openings", "seals", tuple(x.seal_id for x in chain), tuple(o.seal_id for o in openings))
    by_seal = {o.seal_id: o for o in openings}
    first: dict[bytes, tuple[bytes, ...]] = {}
    for sealed, plan in zip(chain, plans, strict=False):
        subject = f"{short(sealed.lock.ctx.study)} round {sealed.lock.ctx.round}"
        opening = by_seal.get(sealed.seal_id)
        if opening is None or plan is None:
            findings.failed(
                "opening", subject, "audit.opening_missing", "no opening, or no valid plan for it"
            )
            continue
        with findings.checking("opening", subject):
            accepted = check_opening(opening, sealed, plan, arithmetic)
            _check_same(first, accepted, sealed.lock.ctx, plan)
            findings.openings += 1


def check_opening(
    opening: pb.Opening, sealed: SealedLock, plan: RoundPlan, arithmetic: Arithmetic
) -> tuple[bytes, ...]:
    """The hospitals that are in the sum; raises Hostile with a code of its own for each thing that differs."""
    seal, ctx = sealed.seal, sealed.lock.ctx
    before, after = opening.state_before, opening.state
    result = digests.result_hash(opening.salt, opening.sum, opening.randomness, opening.accepted)
    expect("audit.result", "result", seal.result_hash, result)
    salted = digests.state_commit(opening.salt_before, before)
    expect("audit.state_before", "state before", seal.state_before, salted)
    expect("audit.state_after", "state after", seal.state_after, digests.state_commit(opening.salt, after))
    if ctx.round == 1:
        _check_genesis(opening, ctx, arithmetic)
    analysis = digests.analysis_id(arithmetic.current(before))
    expect("audit.analysis", "analysis that the state asks for", ctx.analysis, analysis)
    length, fields, params = arithmetic.layout(before)
    expect("audit.method", "way of summing", arithmetic.method(before), seal.method)
    expect("audit.params", "parameters", digests.tagged("params", params), seal.params)
    expect("audit.layout", "layout", (length, fields), (plan.length, plan.fields))
    total = _fields(opening.sum, length)
    randomness = int.from_bytes(opening.randomness, "big")
    inside = _accepted(opening, plan, arithmetic)
    commitments = [c for c, yes in zip(plan.commitments, inside, strict=True) if yes]
    if arithmetic.proven(before):
        arithmetic.verify_sum(total, fields, randomness, commitments)
    moved = arithmetic.move(before, total, sum(inside))
    if moved != after:
        raise Hostile("audit.state", "the sum does not lead to the state that was sealed")
    return tuple(org for org, yes in zip(plan.orgs, inside, strict=True) if yes)


def _accepted(opening: pb.Opening, plan: RoundPlan, arithmetic: Arithmetic) -> list[bool]:
    """For each hospital of the plan whether it is in the sum: all are, unless a committee left some out.

    Raises:
        Hostile: ``audit.accepted``.
    """
    if not arithmetic.shared:
        expect("audit.accepted", "hospitals left out", b"", opening.accepted)
        return [True] * len(plan.orgs)
    if len(opening.accepted) != len(plan.orgs) or max(opening.accepted) > 1 or sum(opening.accepted) < 3:
        raise Hostile("audit.accepted", "not one mark for each hospital, or fewer than three in the sum")
    return [bool(mark) for mark in opening.accepted]


def _check_same(
    first: dict[bytes, tuple[bytes, ...]], accepted: tuple[bytes, ...], ctx: digests.Ctx, plan: RoundPlan
) -> None:
    """An exact analysis is made of the same hospitals in all its rounds; a difference shows one of them.

    Raises:
        Hostile: ``audit.accepted``.
    """
    known = first.setdefault(ctx.analysis, accepted)
    free = ctx.mode == digests.DP or all(use.leave_site_out for use in plan.uses)
    if known != accepted and not free:
        raise Hostile("audit.accepted", "an exact analysis was made of other hospitals in an earlier round")


def _check_genesis(opening: pb.Opening, ctx: digests.Ctx, arithmetic: Arithmetic) -> None:
    salt = digests.genesis_salt(ctx.spec_hash)
    expect("audit.genesis", "first salt", salt, opening.salt_before)
    expect("audit.genesis", "first state", arithmetic.genesis(), opening.state_before)


def _fields(body: bytes, length: int) -> Fields:
    if len(body) != 8 * length:
        raise Hostile("audit.sum_length", f"sum: expected {length} fields, found {len(body) / 8:g}")
    return np.frombuffer(body, dtype="<u8").astype(np.uint64)
