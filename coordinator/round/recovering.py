"""A hospital that does not unlock after the lock: its peers' shares, once the chain lets them leave."""

from __future__ import annotations

from consent_contracts.plan import Plan
from consent_contracts.signed import opened
from consilium_errors import Hostile
from coordinator.round.desk import Desk
from coordinator.round.words import Record, RecoverCall, Step
from crypto.secure_sum import sharing
from protos import wire
from protos.consilium.v1 import round_pb2 as pb


def threshold(desk: Desk, plan: Plan) -> int:
    return sharing.threshold_for(len(plan.orgs), desk.view.study.collusion)


def recover(desk: Desk, plan: Plan, lock_id: bytes, missing: list[bytes]) -> Step:
    """What can be done about the missing; empty while there is something to wait for.

    Hospitals have half of the study's window to unlock themselves; the contract holds to the same.
    """
    lock = desk.view.head.lock
    if lock is None or lock.lock_id != lock_id or lock.abandoned:
        return Step()
    if len(plan.orgs) - len(missing) < threshold(desk, plan):
        return Step()  # too few are left to hold enough shares: wait for them
    if desk.view.now < lock.locked_at + (desk.view.study.window + 1) // 2:
        return Step()
    for org in missing:
        if org not in lock.recovered:
            return Step(call=RecoverCall(desk.facts.study, lock_id, org), progress="recover")
    return _ask(desk, plan, lock_id, missing)


def _ask(desk: Desk, plan: Plan, lock_id: bytes, missing: list[bytes]) -> Step:
    records, send = [], []
    for org in missing:
        slot = f"recover-{org.hex()}"
        if desk.slot(slot) is None:
            body = wire.encode(pb.Recover(lock_id=lock_id, org=org))
            records.append(Record(desk.scope(), slot, desk.view.now.to_bytes(8, "big")))
            send += [(peer, "recover", body) for peer in plan.orgs if peer not in missing]
    return Step(records=tuple(records), send=tuple(send), progress="recover" if records else "")


def held_back(desk: Desk, plan: Plan, missing: list[bytes]) -> dict[bytes, list[bytes]]:
    """Missing hospital → the asked peers that have not shown their share of its mask yet."""
    found = {}
    for org in missing:
        if desk.slot(f"recover-{org.hex()}") is not None:
            got = shares(desk, org)
            found[org] = [peer for peer in plan.orgs if peer not in got and peer not in missing]
    return found


def recovered(desk: Desk, plan: Plan, missing: list[bytes]) -> list[pb.RecoveredMask] | None:
    """The missing self-masks for the Sum, once enough shares of each are here.

    All who were asked are waited for, but not for ever: a bad share shows only to the locked set.
    """
    found, waited = [], held_back(desk, plan, missing)
    for org in missing:
        asked = desk.slot(f"recover-{org.hex()}")
        if asked is None:
            return None
        got = shares(desk, org)
        late = desk.view.now >= int.from_bytes(asked, "big") + desk.rules.answer_s
        if len(got) < threshold(desk, plan) or (waited[org] and not late):
            return None
        found.append(
            pb.RecoveredMask(org=org, shares=[pb.Signed.FromString(got[holder]) for holder in sorted(got)])
        )
    return found


def shares(desk: Desk, org: bytes) -> dict[bytes, bytes]:
    """Holder → its signed share of this hospital's self-mask."""
    prefix = f"mask-share-{org.hex()}-"
    found = desk.records.slots(desk.scope(), prefix)
    return {bytes.fromhex(slot.removeprefix(prefix)): body for slot, body in found.items()}


def on_mask_share(desk: Desk, body: bytes) -> Step:
    signed = wire.parse(pb.Signed, body)
    share = opened(signed, "mask-share", pb.MaskShare, desk.members())
    desk.about_the_lock(share.lock_id)
    if share.of == share.org or desk.slot(f"recover-{share.of.hex()}") is None:
        raise Hostile("mask_share.unasked", "nobody asked for this share")
    slot = f"mask-share-{share.of.hex()}-{share.org.hex()}"
    if desk.slot(slot) is not None:
        return Step()
    return Step(records=(Record(desk.scope(), slot, body),), progress="mask-share")
