"""A whole study with its bundle, by hand: real analytics, commitments and signatures, but no ciphers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from analytics import layout as layouts
from analytics import registry
from analytics.privacy import terms_of
from analytics.state import StudyState
from analytics.study import StudySpec
from consent_contracts.auditor.content import bundle_info
from consent_contracts.signed import sign
from crypto import envelopes
from crypto.commitments import Generators, Pedersen, Q, generators_needed, random_scalar
from crypto.secure_sum import schemes
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.conftest import tiny_table
from tests.consent.world import Hospital, Round, World, h


@dataclass
class Study:
    """``openings`` and ``message`` can be altered before `pack`."""

    id: bytes
    message: pb.Bundle
    openings: pb.Openings
    secret: bytes

    def pack(self) -> bytes:
        sealed = envelopes.seal(
            envelopes.public_of(self.secret), bundle_info(self.id), wire.encode(self.openings)
        )
        message = pb.Bundle()
        message.CopyFrom(self.message)
        message.sealed_openings = sealed
        return wire.encode(message)

    def copy(self) -> Study:
        message, openings = pb.Bundle(), pb.Openings()
        message.CopyFrom(self.message)
        openings.CopyFrom(self.openings)
        return replace(self, message=message, openings=openings)


def run_study(
    world: World, spec: StudySpec, prices: Mapping[str, tuple[int, int, bytes]] | None = None
) -> Study:
    """Without noise, even in mode ``dp``: nobody can see that from outside. ``prices``: registered instead of the
    study file's own."""
    names = [entry.id for entry in spec.analysis]
    honest = {name: terms_of(spec, name) for name in names}
    mode = digests.DP if spec.release.mode == "dp" else digests.EXACT
    study = world.granted(names=names, spec_hash=spec.spec_hash, mode=mode, prices=prices or honest)
    state, salt = registry.genesis(spec), digests.genesis_salt(spec.spec_hash)
    message, openings = pb.Bundle(spec=spec.canonical()), pb.Openings()
    while (analysis := registry.current(spec, state)) is not None:
        opening, public, state, salt = _round(world, spec, study, analysis.name, state, salt)
        openings.openings.append(opening)
        message.rounds.append(public)
    return Study(study, message, openings, envelopes.generate()[0])


def _round(
    world: World, spec: StudySpec, study: bytes, name: str, state: StudyState, salt: bytes
) -> tuple[pb.Opening, pb.SealedRound, StudyState, bytes]:
    analysis = registry.current(spec, state)
    assert analysis is not None
    layout = analysis.layout(spec, state)
    bits = layouts.value_bits(layout.fields, len(spec.sites))
    slot = 22 if layout.fields == 2 else 44
    length = layout.length(bits)
    pedersen = Pedersen(length, slot, Generators.load(generators_needed(length, slot)))
    inputs = [
        layout.encode(analysis.local(tiny_table(i)(spec), state), bits) for i in range(len(world.hospitals))
    ]
    randomness = [random_scalar() for _ in inputs]
    commitments = [pedersen.commit(u, r) for u, r in zip(inputs, randomness, strict=True)]
    total, opened = np.sum(inputs, axis=0, dtype=np.uint64), sum(randomness) % Q
    moved = registry.advance(spec, state, layout.decode(total, len(inputs), bits), len(inputs))

    before = state.to_bytes()
    plan = world.plan(study, analysis=name, state_commit=digests.state_commit(salt, before))
    headers = [
        _header(plan, hospital, commitment, length, layout.fields)
        for hospital, commitment in zip(plan.hospitals, commitments, strict=True)
    ]
    boxes = [h(f"box {i}") + bytes(16) for i in range(len(inputs))]
    cts = [h(f"ciphertext {i} {name}") for i in range(len(inputs))]
    plan = replace(
        plan,
        ready_root=digests.ready_root([s.payload for s in headers]),
        inputs_root=digests.inputs_root(plan.orgs, commitments),
        uploads=tuple(digests.upload_hash(c, b) for c, b in zip(cts, boxes, strict=True)),
    )
    receipts = world.lock(plan)
    next_salt, sum_bytes, r = h(f"salt {name}"), total.astype("<u8").tobytes(), opened.to_bytes(32, "big")
    after = moved.to_bytes()
    seal = replace(
        plan.seal(digests.state_commit(next_salt, after)),
        result_hash=digests.result_hash(next_salt, sum_bytes, r),
        method=schemes.by_name(spec.sum).method_id,
        params=digests.tagged("params", layout.params_bytes()),
    )
    seal_id = world.attest(plan, seal)
    following = registry.current(spec, moved)
    shares = []
    for hospital in plan.hospitals:
        share = pb.SealShare(
            seal=wire.seal_to(seal),
            org=hospital.org,
            signature=hospital.agent.sign(seal_id),
            next_analysis="" if following is None else following.name,
        )
        shares.append(sign("seal", share, org=hospital.org, key=hospital.agent))
    public = pb.SealedRound(
        ctx=wire.ctx_to(plan.ctx),
        headers=headers,
        lock_by=plan.lock_by,
        receipts=[
            pb.Receipt(org=x.org, ciphertext_digest=c, rho_box=b, signature=s)
            for x, c, b, s in zip(plan.hospitals, cts, boxes, receipts, strict=True)
        ],
        shares=shares,
    )
    opening = pb.Opening(
        seal_id=seal_id,
        sum=sum_bytes,
        randomness=r,
        salt_before=salt,
        state_before=before,
        salt=next_salt,
        state=after,
    )
    return opening, public, moved, next_salt


def _header(plan: Round, hospital: Hospital, commitment: bytes, length: int, fields: int) -> pb.Signed:
    header = pb.ReadyHeader(
        ctx_hash=plan.ctx.digest(),
        org=hospital.org,
        hellos_hash=h("hellos"),
        uses=[wire.use_to(u) for u in plan.uses if u.dataset == hospital.dataset],
        commitment=commitment,
        g_hash=hashlib.sha256(hospital.org).digest(),
        mask_hash=h("mask"),
        shares_root=h("shares"),
        fields=fields,
        length=length,
    )
    return sign("ready", header, org=hospital.org, key=hospital.agent)
