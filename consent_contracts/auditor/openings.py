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

    @property
    def method(self) -> bytes:
        """Id of the way of summing that the spec names."""

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
    for sealed, plan in zip(chain, plans, strict=False):
        subject = f"{short(sealed.lock.ctx.study)} round {sealed.lock.ctx.round}"
        opening = by_seal.get(sealed.seal_id)
        if opening is None or plan is None:
            findings.failed(
                "opening", subject, "audit.opening_missing", "no opening, or no valid plan for it"
            )
            continue
        with findings.checking("opening", subject):
            check_opening(opening, sealed, plan, arithmetic)
            findings.openings += 1


def check_opening(opening: pb.Opening, sealed: SealedLock, plan: RoundPlan, arithmetic: Arithmetic) -> None:
    """Raises Hostile with a code of its own for each thing that differs."""
    seal, ctx = sealed.seal, sealed.lock.ctx
    before, after = opening.state_before, opening.state
    result = digests.result_hash(opening.salt, opening.sum, opening.randomness)
    expect("audit.result", "result", seal.result_hash, result)
    salted = digests.state_commit(opening.salt_before, before)
    expect("audit.state_before", "state before", seal.state_before, salted)
    expect("audit.state_after", "state after", seal.state_after, digests.state_commit(opening.salt, after))
    if ctx.round == 1:
        _check_genesis(opening, ctx, arithmetic)
    analysis = digests.analysis_id(arithmetic.current(before))
    expect("audit.analysis", "analysis that the state asks for", ctx.analysis, analysis)
    length, fields, params = arithmetic.layout(before)
    expect("audit.method", "way of summing", arithmetic.method, seal.method)
    expect("audit.params", "parameters", digests.tagged("params", params), seal.params)
    expect("audit.layout", "layout", (length, fields), (plan.length, plan.fields))
    total = _fields(opening.sum, length)
    randomness = int.from_bytes(opening.randomness, "big")
    arithmetic.verify_sum(total, fields, randomness, plan.commitments)
    moved = arithmetic.move(before, total, len(plan.orgs))
    if moved != after:
        raise Hostile("audit.state", "the sum does not lead to the state that was sealed")


def _check_genesis(opening: pb.Opening, ctx: digests.Ctx, arithmetic: Arithmetic) -> None:
    salt = digests.genesis_salt(ctx.spec_hash)
    expect("audit.genesis", "first salt", salt, opening.salt_before)
    expect("audit.genesis", "first state", arithmetic.genesis(), opening.state_before)


def _fields(body: bytes, length: int) -> Fields:
    if len(body) != 8 * length:
        raise Hostile("audit.sum_length", f"sum: expected {length} fields, found {len(body) / 8:g}")
    return np.frombuffer(body, dtype="<u8").astype(np.uint64)
