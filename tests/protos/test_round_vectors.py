"""The golden round, word by word: encodings, signatures, hashes, and what comes after the seal.

All of it is made again from the vector by the formulas of the protocol, by code that is not the round's own: ABI words
by hand, signatures by eth_keys. `test_round_secrets` does the same for keys, masks and the sum.
"""

from __future__ import annotations

import hashlib
import json

import pytest
from google.protobuf.message import Message

from crypto import envelopes
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.protos.golden_round import (
    AGENTS,
    HOSPITALS,
    ORGS,
    V,
    eip712,
    headers,
    of,
    one,
    payload,
    said,
    signer,
)
from tests.protos.test_digests_reference import tagged, typed, words
from tests.protos.wire_strategies import KINDS
from tests.vectors.make_committee import FILE as COMMITTEE_FILE
from tests.vectors.make_round import FREE, RESULT, make

COMMITTEE = json.loads(COMMITTEE_FILE.read_text())["messages"]


# the vector itself ------------------------------------------------------------------------------------------


def test_another_run_makes_the_same_but_for_what_draws_its_own_randomness() -> None:
    again = make()
    assert set(again) == set(V)
    for name in set(V) - FREE:
        assert again[name] == V[name], name
    assert [m["kind"] for m in again["messages"]] == [m["kind"] for m in V["messages"]]


def test_every_message_is_in_its_one_encoding() -> None:
    seen: set[str] = set()
    for row in V["messages"]:
        message = wire.parse(KINDS[row["message"]], bytes.fromhex(row["body"]))
        collect(message, seen)
        if isinstance(message, pb.Signed):
            collect(wire.parse(INNER[message.kind], message.payload), seen)
    collect(wire.parse(pb.Bundle, of("bundle")), seen)
    collect(opened_bundle(), seen)
    collect(handover(), seen)
    # Those of a committee's round are in a vector of their own.
    assert seen | set(COMMITTEE) == set(pb.DESCRIPTOR.message_types_by_name)


@pytest.mark.parametrize("name", COMMITTEE)
def test_every_message_of_a_committee_is_in_its_one_encoding(name: str) -> None:
    body = bytes.fromhex(COMMITTEE[name])
    assert wire.encode(wire.parse(KINDS[name], body)) == body


INNER: dict[str, type[Message]] = {
    "hello": pb.Hello,
    "ready": pb.ReadyHeader,
    "box": pb.Box,
    "unlock": pb.Unlock,
    "mask-share": pb.MaskShare,
    "seal": pb.SealShare,
    "complaint": pb.Complaint,
    "dispute": pb.Dispute,
    "checked": pb.Checked,
    "range": pb.RangeProof,
    "verdict": pb.Verdict,
    "refusal": pb.Refusal,
    "catch-up-request": pb.CatchUpRequest,
    "catch-up": pb.CatchUp,
    "release": pb.Release,
}


def collect(message: Message, seen: set[str]) -> None:
    seen.add(message.DESCRIPTOR.name)
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for item in value if field.is_repeated else [value]:
            collect(item, seen)
            if isinstance(item, pb.Signed):
                collect(wire.parse(INNER[item.kind], item.payload), seen)


def test_every_signed_message_is_signed_by_its_senders_agent() -> None:
    count = 0
    for row in V["messages"]:
        for signed in every_signed(wire.parse(KINDS[row["message"]], bytes.fromhex(row["body"]))):
            body = b"consilium/1\0" + signed.kind.encode() + b"\0" + signed.payload
            assert signer(hashlib.sha256(body).digest(), signed.signature) == AGENTS[signed.sender]
            count += 1
    assert count > 60


def every_signed(message: Message) -> list[pb.Signed]:
    found = [message] if isinstance(message, pb.Signed) else []
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                found += every_signed(item)
    return found


# hashes -----------------------------------------------------------------------------------------------------


def test_the_context() -> None:
    ctx = wire.parse(pb.Task, one("task")).ctx
    fields = [getattr(ctx, f.name) for f in pb.Ctx.DESCRIPTOR.fields]
    declaration = (
        "Ctx(uint256 chainId,address registry,address ledger,bytes32 study,bytes32 analysis,bytes32 specHash,"
        "bytes32 codeHash,uint32 round,uint32 release,uint32 attempt,bytes32 prevSeal,bytes32 stateCommit,"
        "uint8 mode,uint64 rho,uint64 delta,bytes32 noise)"
    )
    assert typed(declaration, *fields) == of("ctx_hash")
    assert ctx.spec_hash == tagged("spec", V["spec"].encode())
    assert ctx.analysis == tagged("analysis", V["analysis"].encode())
    assert of("salt_before") == tagged("genesis-salt", ctx.spec_hash)
    assert ctx.state_commit == tagged("state", of("salt_before"), of("state_before"))


def test_the_plan() -> None:
    hellos = wire.parse(pb.Hellos, one("hellos")).hellos
    assert tagged("hellos", *(s.payload for s in hellos)) == of("hellos_hash")
    uses = sorted((u for h in headers() for u in h.uses), key=lambda u: u.dataset)
    tail = b"".join(words(u.dataset, u.version, u.epoch, u.leave_site_out) for u in uses)
    declaration = "Uses(Use[] uses)Use(bytes32 dataset,uint32 version,uint32 epoch,bool leaveSiteOut)"
    assert typed(declaration, 64, len(uses), tail=tail) == of("uses_hash")
    signed = [wire.parse(pb.Ready, said("ready")[org]).header for org in ORGS]
    assert tagged("ready-root", *(s.payload for s in signed)) == of("ready_root")
    inputs = [o + h.commitment for o, h in zip(ORGS, headers(), strict=True)]
    assert tagged("inputs-root", *inputs) == of("inputs_root")
    declaration = "Plan(bytes32 ctxHash,bytes32 usesHash,bytes32 readyRoot,bytes32 inputsRoot,uint64 lockBy)"
    roots = [of(name) for name in ("ctx_hash", "uses_hash", "ready_root", "inputs_root")]
    assert typed(declaration, *roots, V["lock_by"]) == of("plan_hash")
    for org in ORGS:
        plan = wire.parse(pb.Plan, said("plan")[org])
        assert list(plan.headers) == signed
        assert [s.sender for s in plan.boxes] == [o for o in ORGS if o != org]


def test_the_lock() -> None:
    locked = wire.parse(pb.Locked, one("locked"))
    uploads = []
    for receipt in locked.receipts:
        upload = wire.parse(pb.Upload, said("upload")[receipt.org])
        assert receipt.ciphertext_digest == hashlib.sha256(upload.ciphertext).digest()
        uploads.append(tagged("upload", receipt.ciphertext_digest, receipt.rho_box))
        struct = typed(
            "Receipt(bytes32 planHash,address org,bytes32 uploadHash)",
            of("plan_hash"),
            receipt.org,
            uploads[-1],
        )
        assert signer(eip712(struct), receipt.signature) == AGENTS[receipt.org]
    tail = words(len(ORGS), *ORGS) + words(len(ORGS), *uploads)
    offset = 96 + 32 * (len(ORGS) + 1)
    root = typed("Receipts(address[] orgs,bytes32[] uploadHashes)", 96, offset, tail=tail)
    assert root == of("receipts_root")
    assert typed("Lock(bytes32 planHash,bytes32 receiptsRoot)", of("plan_hash"), root) == of("lock_id")


# the seal, and what comes after -----------------------------------------------------------------------------


def test_the_seal() -> None:
    shares = [payload("seal", org, pb.SealShare) for org in ORGS]
    seal = shares[0].seal
    assert all(share.seal == seal for share in shares)
    fields = [getattr(seal, f.name) for f in pb.Seal.DESCRIPTOR.fields]
    declaration = (
        "Seal(bytes32 lockId,bytes32 planHash,bytes32 receiptsRoot,bytes32 stateBefore,bytes32 stateAfter,"
        "bytes32 resultHash,uint64 rho,uint64 delta,bytes32 method,bytes32 params,bytes32 codeHash,"
        "bytes32 prevSeal)"
    )
    assert eip712(typed(declaration, *fields)) == of("seal_id")
    for org, share in zip(ORGS, shares, strict=True):
        assert signer(of("seal_id"), share.signature) == AGENTS[org]
    ctx = wire.parse(pb.Task, one("task")).ctx
    assert (seal.lock_id, seal.plan_hash, seal.receipts_root) == (
        of("lock_id"),
        of("plan_hash"),
        of("receipts_root"),
    )
    assert (seal.state_before, seal.code_hash, seal.prev_seal) == (
        ctx.state_commit,
        ctx.code_hash,
        ctx.prev_seal,
    )
    assert seal.state_after == tagged("state", of("salt"), of("state_after"))
    assert seal.result_hash == tagged("result", of("salt"), of("sum"), of("randomness"))
    assert seal.params == tagged("params", bytes.fromhex(HOSPITALS[0]["params"]))
    attested = wire.parse(pb.Attested, one("attested"))
    assert attested.seal_id == of("seal_id")


def handover() -> pb.StateHandover:
    [(sender, body)] = said("catch-up").items()
    answer = wire.parse(pb.CatchUp, wire.parse(pb.Signed, body).payload)
    info = tagged("catch-up", of("study"), of("seal_id"), sender, answer.to)
    return wire.parse(pb.StateHandover, envelopes.open_sealed(of("returning_secret"), info, answer.sealed))


def test_the_state_handed_to_a_returning_hospital() -> None:
    assert (handover().state, handover().salt) == (of("state_after"), of("salt"))
    asked = wire.parse(pb.CatchUpRequest, wire.parse(pb.Signed, one("catch-up-request")).payload)
    assert asked.hpke_key == envelopes.public_of(of("returning_secret"))


def test_the_release_opens_for_the_sponsor() -> None:
    [(sender, body)] = said("release").items()
    release = wire.parse(pb.Release, wire.parse(pb.Signed, body).payload)
    assert release.recipient == hashlib.sha256(envelopes.public_of(of("sponsor_secret"))).digest()
    info = tagged("release", of("study"), sender, *release.seal_ids)
    assert envelopes.open_sealed(of("sponsor_secret"), info, release.sealed) == RESULT
    offer = wire.parse(pb.StudyOffer, one("offer"))
    assert (offer.spec.decode(), offer.sponsor_key) == (
        V["spec"],
        envelopes.public_of(of("sponsor_secret")),
    )


def opened_bundle() -> pb.Openings:
    bundle = wire.parse(pb.Bundle, of("bundle"))
    info = tagged("bundle", of("study"))
    return wire.parse(
        pb.Openings, envelopes.open_sealed(of("regulator_secret"), info, bundle.sealed_openings)
    )


def test_the_bundle_opens_for_the_regulator() -> None:
    [opening] = opened_bundle().openings
    assert (opening.sum, opening.randomness, opening.salt) == (of("sum"), of("randomness"), of("salt"))
    assert (opening.state_before, opening.state) == (of("state_before"), of("state_after"))
    [public] = wire.parse(pb.Bundle, of("bundle")).rounds
    assert wire.encode(public.ctx) == wire.encode(wire.parse(pb.Task, one("task")).ctx)
    assert list(public.receipts) == list(wire.parse(pb.Locked, one("locked")).receipts)
