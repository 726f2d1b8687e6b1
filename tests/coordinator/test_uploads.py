"""Uploads that are no ciphertexts, or not what was committed to: nobody crashes, and nobody else is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from py_arkworks_bls12381 import G1Point

from coordinator.round import AttestCall
from crypto.identity import AgentKey
from crypto.secure_sum import bfv
from crypto.secure_sum.packing import U64
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb
from tests.attacks import coordination, sim
from tests.attacks.liars import committing, found, garbling, one_more
from tests.attacks.rogue import Attempt
from tests.attacks.tampering import locked_orgs, only


def receipt(who: sim.Member, desk: coordination.Desk, ciphertext: bytes, rho_box: bytes) -> bytes:
    """An upload with whatever in it, rightly signed."""
    plan = custody.PlanRecord.FromString(desk.slot("plan"))
    upload = digests.upload_hash(hashlib.sha256(ciphertext).digest(), rho_box)
    digest = digests.receipt_digest(digests.ledger_domain(desk.ctx()), plan.plan_hash, who.org, upload)
    message = pb.Upload(
        plan_hash=plan.plan_hash,
        org=who.org,
        ciphertext=ciphertext,
        rho_box=rho_box,
        signature=who.agent.sign(digest),
    )
    return wire.encode(message)


M = 9  # coefficients of the tiny study


@pytest.mark.parametrize(
    ("ciphertext", "code"),
    [
        (b"\0", "ciphertext.length"),
        (bytes(bfv.upload_size(M) + 1), "ciphertext.length"),
        (b"\xff" * bfv.upload_size(M), "ciphertext.prng"),
        (bytes(7 * M) + b"\x7f" * 65, "ciphertext.prng"),
        (b"\xff" * 7 * M + b"\1" + bytes(64), "ciphertext.coefficient"),
    ],
)
def test_an_upload_that_is_no_ciphertext(ciphertext: bytes, code: str) -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    tamper = only(d, "upload", lambda body: receipt(d, desk, ciphertext, bytes(48)))
    desk.play(tamper, until="upload")
    desk.drain(tamper)
    assert desk.dropped == [("upload", code)]
    world.chain.now += 121
    desk.play(tamper)  # late, named, left out
    assert d.org not in locked_orgs(desk)
    assert world.chain.head.attested == 1


def test_a_receipt_that_the_contract_would_refuse() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]

    def forged(body: bytes) -> bytes:
        upload = wire.parse(pb.Upload, body)
        upload.signature = AgentKey.generate().sign(bytes(32))
        return wire.encode(upload)

    def other(body: bytes) -> bytes:
        upload = wire.parse(pb.Upload, body)
        upload.plan_hash = bytes(32)
        return wire.encode(upload)

    for change, code in ((forged, "signature.wrong_signer"), (other, "upload.plan")):
        desk = coordination.coordinator(world)
        desk.play(only(d, "upload", change), until="upload")
        desk.drain(only(d, "upload", change))
        assert desk.dropped == [("upload", code)]


def test_a_second_upload_changes_nothing() -> None:
    world = sim.build()
    desk, d = coordination.coordinator(world), world["d"]
    desk.play(until="upload")
    desk.hold(lambda: len(desk.records("upload")) == 4)
    before = desk.records("upload")
    other = receipt(d, desk, bytes(7 * M) + b"\1" + bytes(64), bytes(48))
    desk.receive("upload", other)
    assert desk.records("upload") == before


def out_of_range(c: U64) -> U64:
    return c + np.uint64(1 << 43)


def noise(c: U64) -> U64:
    return np.random.default_rng(1).integers(0, 1 << 45, len(c)).astype(np.uint64)


def negative(c: U64) -> U64:
    """Three times the range, downwards: the sum wraps below zero."""
    return c - np.uint64(3 << 42)


@pytest.mark.parametrize("change", [one_more, out_of_range, noise, negative])
def test_a_garbled_upload_is_disputed_and_the_commitments_give_the_sum(change: Callable[[U64], U64]) -> None:
    """Nobody is named who answers the check truthfully; it has gained nothing."""
    world, honest = sim.build(), sim.build()
    coordination.coordinator(honest).play()
    garbling(world["d"], change)
    desk, disputes = coordination.coordinator(world), list[pb.Dispute]()

    def listen(org: bytes, kind: str, body: bytes) -> bytes:
        if kind == "dispute":
            disputes.append(wire.parse(pb.Dispute, wire.parse(pb.Signed, body).payload))
        return body

    desk.drain(listen)
    assert [d.code for d in disputes] == ["sum.refused"] * 4
    assert found(desk) == {("sum.unopened", ()): 4}
    assert world.chain.head.attested == 1
    assert world.held(1).state == honest.held(1).state
    call = desk.calls[-1]
    assert isinstance(call, AttestCall)
    assert all(call.signatures)


def disputed(world: sim.World, desk: coordination.Desk) -> None:
    """All dispute, nothing is sealed, and d is named by all."""
    desk.play(until="sum")
    desk.drain()
    assert sorted(desk.records("dispute")) == sorted(world.orgs)
    assert not any(isinstance(call, AttestCall) for call in desk.calls)
    assert found(desk) == {("checked.commitment", (world["d"].org,)): 4}
    assert desk.machine.waiting_for(desk.store, desk.view()) == ("seal", world.orgs)


def test_a_commitment_to_something_else() -> None:
    world = sim.build()
    honest = world["d"].machine.ports.commit
    committing(world["d"], lambda values, fields, r: honest(values + np.uint64(1), fields, r))  # type: ignore[operator]
    disputed(world, coordination.coordinator(world))


def test_a_commitment_under_other_randomness() -> None:
    world = sim.build()
    honest = world["d"].machine.ports.commit
    committing(world["d"], lambda values, fields, r: honest(values, fields, r - 1))  # type: ignore[arg-type]
    disputed(world, coordination.coordinator(world))


def test_the_cancelling_commitment() -> None:
    """Com(y) - C_a, from an earlier plan: whoever posts it would have to know what a committed to."""
    world = sim.build()
    honest, desk = world["d"].machine.ports.commit, coordination.coordinator(world)
    early = tuple(o for o in world.orgs if o != world["d"].org)
    first = Attempt(world, world.ctx(attempt=9_000), "m0", early).greet().gather()
    seen = wire.parse(pb.ReadyHeader, first.ready[world["a"].org].header.payload)

    def cancelling(values: object, fields: int, r: int) -> bytes:
        own = G1Point.from_compressed_bytes(honest(values, fields, r))  # type: ignore[arg-type]
        return bytes((own - G1Point.from_compressed_bytes(seen.commitment)).to_compressed_bytes())

    committing(world["d"], cancelling)
    disputed(world, desk)
