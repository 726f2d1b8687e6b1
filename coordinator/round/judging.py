"""Who broke the protocol: found from what was signed, so that the others can go on without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from consent_contracts.plan import open_box
from consent_contracts.signed import opened
from consilium_errors import Hostile
from coordinator.round.desk import Desk
from crypto import envelopes
from crypto.commitments import check_points
from protos import wire
from protos.consilium.v1 import round_pb2 as pb


def check_commitment(desk: Desk, header: pb.ReadyHeader) -> None:
    """What hospitals would refuse in a plan, charged to whoever sent it. Copies can be seen from plans before."""
    check_points([header.commitment])
    if desk.records.get(desk.round_scope, commitment_slot(header)) not in (None, header.org):
        raise Hostile("ready.copied", "another hospital posted this commitment before")


def commitment_slot(header: pb.ReadyHeader) -> str:
    """Names the first hospital that posted it in this round, in whichever attempt."""
    return f"commitment-{header.commitment.hex()}"


def odd_ones(desk: Desk, headers: Mapping[bytes, pb.ReadyHeader]) -> list[bytes]:
    """Whose ready would be refused by the chain, or by all others for another layout than theirs."""
    gates = {gate.dataset: gate for gate in desk.view.gates}
    layouts = Counter((h.fields, h.length) for h in headers.values())
    usual, _ = layouts.most_common(1)[0]
    odd = []
    for org, header in headers.items():
        live = all(
            (gate := gates.get(use.dataset)) is not None
            and (gate.status, gate.steward, gate.version, gate.epoch) == (0, org, use.version, use.epoch)
            for use in header.uses
        )
        if not live or (header.fields, header.length) != usual:
            odd.append(org)
    return odd


def box_is_bad(desk: Desk, complaint: pb.Complaint) -> bool:
    """Whether the sender of the box, rather than the complainer, broke the protocol."""
    box = opened(complaint.box, "box", pb.Box, {complaint.against: desk.members()[complaint.against]})
    hello = opened(pb.Signed.FromString(desk.got("hello")[complaint.org]), "hello", pb.Hello, desk.members())
    if (box.ctx_hash, box.to) != (complaint.ctx_hash, complaint.org):
        return False
    secret = complaint.hpke_secret
    if len(secret) != envelopes.SECRET_BYTES or envelopes.public_of(secret) != hello.hpke_key:
        return False
    promised = opened(
        wire.parse(pb.Ready, desk.got("ready")[complaint.against]).header,
        "ready",
        pb.ReadyHeader,
        desk.members(),
    )
    try:
        orgs = desk.greeted()
        open_box(envelopes.Opener(secret), box, promised, (orgs.index(complaint.org) + 1, len(orgs)))
    except Hostile:
        return True
    return False
