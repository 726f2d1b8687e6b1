"""A committee in the place of the cipher: the upload is three sealed shares, the result comes as three outputs.

The receipt names the commitment where under FHE the blinded randomness stands: shares open to it, or not at all.
There is no unlock. Each member asks the chain itself before it computes, and its output opens with the secrets of
the locked hospitals' hellos only.
"""

from __future__ import annotations

import numpy as np

from consent_contracts.plan import Plan
from consent_contracts.signed import opened
from consilium_errors import Unavailable
from crypto.mpc import opening as outputs
from crypto.mpc import sharing
from crypto.mpc.words import Output
from participants.committee.terms import fixed, terms_of
from participants.round.desk import Desk, as_fields
from participants.round.words import Fields
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb


def share(desk: Desk, plan: Plan, source: custody.InputRecord) -> tuple[bytes, bytes]:
    """What the upload holds in the place of the ciphertext and of the randomness's box; fresh for each attempt."""
    offsets = desk.ports.analyst.shared(desk.state().state).offsets
    u = as_fields(source.values).astype(np.int64) - offsets.astype(np.int64)
    shares = sharing.share(u, int.from_bytes(source.randomness, "big"))
    sealed = sharing.seal(shares, plan.plan_hash, desk.site.org, desk.ports.committee)
    return sealed.to_bytes(), source.commitment


def await_lock(desk: Desk, lock_id: bytes) -> None:
    """The committee's nodes may be ahead of ours, or the word of the lock may still wait.

    Raises:
        Unavailable: ``lock.not_final``.
    """
    lock = desk.view.head.lock
    known = desk.records.get(desk.round_scope, f"index-{lock_id.hex()}")
    if known is None and (lock is None or lock.lock_id == lock_id):
        raise Unavailable("lock.not_final", "the chain, or the coordinator, has not told us of this lock yet")


def open_outputs(desk: Desk, message: pb.Outputs, plan: Plan, ctx_hash: bytes) -> tuple[Fields, int, bytes]:
    """The verified result as the sum of what is accepted, its randomness, and one byte for each hospital.

    Raises:
        Hostile: ``mpc.*``, ``signature.*``, ``envelope.open``, ``commitment.*``.
    """
    state = desk.state().state
    shared, members = desk.ports.analyst.shared(state), [address for address, _ in desk.ports.committee]
    receipts = desk.unlock(ctx_hash).receipts
    first = desk.records.get(desk.study_scope, accepted_slot(desk, ctx_hash))
    only = fixed(plan, first)
    terms = terms_of(shared.rule, members, plan, message.lock_id, receipts, desk.view.study.min_sites, only)
    found = [from_wire(signed, dict(zip(members, members, strict=True))) for signed in message.outputs]
    result = outputs.open_outputs(terms, found, desk.site.org, desk.hello(ctx_hash).hpke_secret)
    if shared.rule.proven:
        commitments = dict(zip(plan.orgs, plan.commitments, strict=True))
        bits = desk.packing(plan.length, plan.fields).field_bits
        outputs.check_sum(
            terms,
            result,
            commitments,
            lambda total, r, posted: desk.ports.verify_sum(total, bits, r, tuple(posted)),
            offset=shared.offsets,
        )
    else:
        result = outputs.as_sum(result)
    accepted = bytes(org in result.accepted for org in plan.orgs)
    total = outputs.fields(result, shared.offsets)
    desk.packing(plan.length, plan.fields).check_total(total, sum(accepted))
    return total, result.randomness, accepted


def accepted_slot(desk: Desk, ctx_hash: bytes) -> str:
    return f"accepted-{desk.hello(ctx_hash).analysis}"


def from_wire(signed: pb.Signed, members: dict[bytes, bytes]) -> Output:
    """Raises Hostile ``signed.*``, ``signature.*``, ``wire.*``."""
    message = opened(signed, "output", pb.Output, members)
    return Output(
        member=message.org,
        run=message.run,
        bad=message.bad,
        accepted=message.accepted,
        noise=(),
        payload=message.payload,
        keys={key.org: key.sealed for key in message.keys},
        signature=message.signature,
    )


def to_wire(output: Output, lock_id: bytes) -> pb.Output:
    return pb.Output(
        lock_id=lock_id,
        org=output.member,
        run=output.run,
        bad=output.bad,
        accepted=output.accepted,
        payload=output.payload,
        keys=[pb.SealedKey(org=org, sealed=sealed) for org, sealed in sorted(output.keys.items())],
        signature=output.signature,
    )
