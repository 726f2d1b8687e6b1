"""Who broke the protocol, from what all have signed; every hospital that is shown the same finds the same.

| code               | names | because                                                                            |
|--------------------|-------|------------------------------------------------------------------------------------|
| unlock.mask        | one   | its unlock does not open to the self-mask that its header promised                 |
| unlock.shares      | one   | enough shares that it dealt make another self-mask than its header promised        |
| receipt.rho        | one   | what it sealed under that self-mask does not open                                  |
| checked.malformed  | one   | its Checked does not open, or is no opening                                        |
| checked.commitment | one   | its Checked does not open its own commitment under its own points                  |
| checked.pair       | two   | their points differ: one of them lied, or dealt the other another secret           |
| range.proof        | one   | its proof does not hold                                                            |
| range.missing      | one   | its proof was not shown: it is silent, or the coordinator kept it                  |
| checked.range      | none  | all proofs that were shown hold: only whoever cannot prove its own finds so        |
| checked.state      | none  | the analysis refuses it, for another reason or for a value too wide to prove       |
| sum.unopened       | none  | the checked sum opened and the ciphers' did not: garbled, or not decrypted here      |

Of a pair, both are named where neither is named alone. Whose word is true their key would show; it is not asked
for, since it takes one mask off each of the two, and with three hospitals that is the last one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from consent_contracts.plan import Plan
from consent_contracts.signed import opened
from consilium_errors import Hostile
from crypto import envelopes
from crypto.commitments import Pedersen, masked
from crypto.commitments.curve import Scalars
from crypto.commitments.masked import MaskedOpening
from participants.round import recovering, secrets
from participants.round.desk import Desk
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb


class Accusation(NamedTuple):
    code: str
    orgs: tuple[bytes, ...] = ()


class Whole(NamedTuple):
    """Σ w (rows, 32) and Σ ω: what the commitments' sum opens to."""

    values: Scalars
    blind: int


def judge(
    desk: Desk,
    pedersen: Pedersen,
    message: pb.CheckedAll,
    plan: Plan,
    group: bytes,
    unlock: custody.UnlockRecord,
) -> tuple[tuple[Accusation, ...], Whole | None]:
    """The accused, and the sum's opening if every single one holds.

    Raises:
        Hostile: ``checked.set`` or as a signature says: whoever put the message together.
    """
    accused = list(_masks(desk, message, plan, group, unlock))
    openings, false = _openings(desk, pedersen, message, plan, group), list[Accusation]()
    good: dict[bytes, MaskedOpening] = {}
    for header in plan.headers:
        org, opening = header.org, openings[header.org]
        if opening is None:
            false.append(Accusation("checked.malformed", (org,)))
            continue
        try:
            masked.verify(pedersen, opening, header.commitment, [org < peer for peer in _peers(plan, org)])
        except Hostile:
            false.append(Accusation("checked.commitment", (org,)))
            continue
        good[org] = opening
    for low, high in itertools.combinations(good, 2):
        if _point(plan, good, low, high) != _point(plan, good, high, low):
            false.append(Accusation("checked.pair", (low, high)))
    if false:
        return (*accused, *false), None
    return tuple(accused), Whole(*masked.total(list(good.values())))


def _peers(plan: Plan, org: bytes) -> list[bytes]:
    return [peer for peer in plan.orgs if peer != org]


def _point(plan: Plan, openings: dict[bytes, MaskedOpening], org: bytes, peer: bytes) -> bytes:
    return openings[org].points[_peers(plan, org).index(peer)]


def _openings(
    desk: Desk, pedersen: Pedersen, message: pb.CheckedAll, plan: Plan, group: bytes
) -> dict[bytes, MaskedOpening | None]:
    """Each hospital's opening, None where there is none in what it signed."""
    if tuple(signed.sender for signed in message.checked) != plan.orgs:
        raise Hostile("checked.set", "the openings are not those of the locked set")
    found: dict[bytes, MaskedOpening | None] = {}
    for signed in message.checked:
        org = signed.sender
        checked = opened(signed, "checked", pb.Checked, desk.view.agents)
        if checked.lock_id != message.lock_id:
            raise Hostile("checked.set", "an opening belongs to another lock")
        found[org] = None
        with suppress(Hostile):
            key = secrets.checked_key(group, org, message.lock_id)
            plain = envelopes.open_once(key, message.lock_id, checked.sealed)
            opening = MaskedOpening.from_bytes(plain, pedersen.rows, len(plan.orgs) - 1)
            pedersen.curve.add(opening.points)
            found[org] = opening
    return found


def _masks(
    desk: Desk, message: pb.CheckedAll, plan: Plan, group: bytes, unlock: custody.UnlockRecord
) -> Iterator[Accusation]:
    """Of self-masks and blinded randomness, which the checked sum does without."""
    wire.ascending((s.sender for s in message.unlocks), "unlocks")
    wire.ascending((r.org for r in message.recovered), "recovered masks")
    unlocked = {s.sender: s for s in message.unlocks}
    recovered = {r.org: r for r in message.recovered}
    for header, receipt in zip(plan.headers, unlock.receipts, strict=True):
        org = header.org
        found: bytes | None
        if org in unlocked:
            code, found = "unlock.mask", recovering.unlocked(desk, unlocked[org], message.lock_id, group)
        elif org in recovered:
            pieces = recovering.pieces(desk, recovered[org], message.lock_id, plan, group)
            if len(pieces) < recovering.threshold(desk, plan):
                continue  # of its holders' making
            code, found = "unlock.shares", recovering.joined(desk, pieces, plan)
        else:
            continue
        if found is None or digests.mask_hash(plan.ctx.digest(), org, found) != header.mask_hash:
            yield Accusation(code, (org,))
            continue
        try:
            envelopes.open_once(
                secrets.rho_key(group, found, plan.plan_hash), plan.plan_hash, receipt.rho_box
            )
        except Hostile:
            yield Accusation("receipt.rho", (org,))
