"""The golden round, opened and made again by code that is not the round's own.

Everything is derived here from the vector's secrets by the formulas of the protocol: HKDF by hand, ABI words by
hand, masks from AES, signatures by eth_keys. Only the ciphers of `crypto` (HPKE, BFV, Pedersen), which have
vectors of their own, are used as they are.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eth_keys import keys as eth_keys
from google.protobuf.message import Message

from crypto import envelopes
from crypto.commitments import Generators, Pedersen, generators_needed
from crypto.secure_sum import bfv
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.protos.test_digests_reference import tagged, typed, words
from tests.protos.wire_strategies import KINDS
from tests.vectors.make_committee import FILE as COMMITTEE_FILE
from tests.vectors.make_round import FILE, FREE, RESULT, make

V: dict[str, Any] = json.loads(FILE.read_text())
Q = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001  # order of BLS12-381's G1
HOSPITALS = sorted(V["hospitals"].values(), key=lambda h: h["org"])
ORGS = [bytes.fromhex(h["org"]) for h in HOSPITALS]
AGENTS = {bytes.fromhex(h["org"]): bytes.fromhex(h["agent"]) for h in HOSPITALS}


def of(name: str) -> bytes:
    return bytes.fromhex(V[name])


def said(kind: str) -> dict[bytes, bytes]:
    """Organisation → body of every message of a kind."""
    return {
        bytes.fromhex(m["by_or_to"]): bytes.fromhex(m["body"]) for m in V["messages"] if m["kind"] == kind
    }


def one(kind: str) -> bytes:
    [body] = said(kind).values()
    return body


def payload(kind: str, org: bytes, message: type[Message]) -> Any:
    return wire.parse(message, wire.parse(pb.Signed, said(kind)[org]).payload)


def hkdf(label: str, *parts: bytes) -> bytes:
    """RFC 5869 with a zero salt, 32 bytes; parts behind their lengths."""
    material = b"".join(len(p).to_bytes(8, "big") + p for p in parts)
    prk = hmac.digest(bytes(32), material, "sha256")
    info = b"consilium/1 kdf\0" + (32).to_bytes(2, "big") + label.encode()
    return hmac.digest(prk, info + b"\1", "sha256")


def keystream(key: bytes, n: int, start: bytes = bytes(16)) -> list[int]:
    raw = Cipher(algorithms.AES256(key), modes.CTR(start)).encryptor().update(bytes(8 * n))
    return [int.from_bytes(raw[i : i + 8], "little") % 2**45 for i in range(0, 8 * n, 8)]


def scalar(key: bytes) -> int:
    raw = Cipher(algorithms.AES256(key), modes.CTR(b"\x80" + bytes(15))).encryptor().update(bytes(64))
    return int.from_bytes(raw, "little") % Q


def signer(digest: bytes, signature: bytes) -> bytes:
    found = eth_keys.Signature(signature[:64] + bytes([signature[64] - 27]))
    return found.recover_public_key_from_msg_hash(digest).to_canonical_address()


COMMITTEE = json.loads(COMMITTEE_FILE.read_text())["messages"]


def secret(org: bytes, name: str) -> bytes:
    return bytes.fromhex(next(h for h in HOSPITALS if bytes.fromhex(h["org"]) == org)[name])


def pair_secret(sender: bytes, to: bytes) -> bytes:
    return bytes.fromhex(next(h for h in HOSPITALS if h["org"] == sender.hex())["pairs"][to.hex()])


def pair_key(a: bytes, b: bytes) -> bytes:
    low, high = sorted((a, b))
    return hkdf("pair", pair_secret(low, high), pair_secret(high, low), of("plan_hash"))


def values(org: bytes) -> list[int]:
    raw = secret(org, "values")
    return [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]


def once(key: bytes, aad: bytes, sealed: bytes) -> bytes:
    return AESGCM(key).decrypt(bytes(12), sealed, aad)


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


def headers() -> list[pb.ReadyHeader]:
    found = [wire.parse(pb.Ready, said("ready")[org]).header for org in ORGS]
    return [wire.parse(pb.ReadyHeader, h.payload) for h in found]


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


def eip712(struct: bytes) -> bytes:
    from eth_hash.auto import keccak

    ctx = wire.parse(pb.Task, one("task")).ctx
    declaration = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    name, version = keccak(b"AttestationLedger"), keccak(b"1")
    return keccak(b"\x19\x01" + typed(declaration, name, version, ctx.chain_id, ctx.ledger) + struct)


# keys -------------------------------------------------------------------------------------------------------


def test_boxes_hold_g_and_the_pairs_secret() -> None:
    for sender in ORGS:
        ready = wire.parse(pb.Ready, said("ready")[sender])
        for signed in ready.boxes:
            box = wire.parse(pb.Box, signed.payload)
            info = tagged("box", of("ctx_hash"), sender, box.to)
            plain = envelopes.open_sealed(secret(box.to, "hpke_secret"), info, box.sealed)
            assert plain[:64] == secret(sender, "g") + pair_secret(sender, box.to)
            check_path(plain[64:], ORGS.index(box.to), sender)
        [header] = [h for h in headers() if h.org == sender]
        assert header.g_hash == tagged("g", of("ctx_hash"), sender, secret(sender, "g"))
    for org in ORGS:
        public = payload("hello", org, pb.Hello).hpke_key
        assert envelopes.public_of(secret(org, "hpke_secret")) == public


def check_path(piece: bytes, index: int, dealer: bytes) -> None:
    """Of four leaves: RFC 6962, two levels."""
    node = hashlib.sha256(b"\0" + piece[:32]).digest()
    for level in range(2):
        sibling = piece[32 * (level + 1) : 32 * (level + 2)]
        pair = sibling + node if index >> level & 1 else node + sibling
        node = hashlib.sha256(b"\1" + pair).digest()
    [header] = [h for h in headers() if h.org == dealer]
    assert (len(piece), node) == (96, header.shares_root)


def test_three_shares_give_the_self_mask_that_the_header_promised() -> None:
    dead = ORGS[-1]
    shares = {}
    for org, body in said("mask-share").items():
        share = wire.parse(pb.MaskShare, wire.parse(pb.Signed, body).payload)
        assert (share.lock_id, share.of) == (of("lock_id"), dead)
        key = hkdf("mask-share", of("group"), dead, org, of("lock_id"))
        piece = once(key, of("lock_id"), share.sealed)
        check_path(piece, ORGS.index(org), dead)
        shares[ORGS.index(org) + 1] = int.from_bytes(piece[:32], "big")
    assert sorted(shares) == [1, 2, 3]
    mask = (3 * shares[1] - 3 * shares[2] + shares[3]) % Q  # Lagrange at 0
    assert mask.to_bytes(32, "big") == secret(dead, "self_mask")
    [header] = [h for h in headers() if h.org == dead]
    assert header.mask_hash == tagged("mask", of("ctx_hash"), dead, secret(dead, "self_mask"))


def test_group_secret_and_salt() -> None:
    assert hkdf("group", *(secret(o, "g") for o in ORGS), of("plan_hash")) == of("group")
    assert hkdf("salt", of("group")) == of("salt")


def test_unlocks_hold_the_self_masks() -> None:
    for org in ORGS:
        unlock = payload("unlock", org, pb.Unlock)
        assert unlock.lock_id == of("lock_id")
        key = hkdf("unlock", of("group"), org, of("lock_id"))
        assert once(key, of("lock_id"), unlock.sealed) == secret(org, "self_mask")


def rho(org: bytes) -> int:
    upload = wire.parse(pb.Upload, said("upload")[org])
    key = hkdf("rho", of("group"), secret(org, "self_mask"), of("plan_hash"))
    return int.from_bytes(once(key, of("plan_hash"), upload.rho_box), "big")


@pytest.mark.parametrize("org", ORGS, ids=[o.hex()[:6] for o in ORGS])
def test_the_blinded_randomness(org: bytes) -> None:
    expected = int.from_bytes(secret(org, "r"), "big")
    for peer in ORGS:
        if peer != org:
            expected += scalar(pair_key(org, peer)) * (1 if org < peer else -1)
    assert rho(org) == expected % Q


def test_the_blinds_cancel() -> None:
    randomness = [int.from_bytes(secret(o, "r"), "big") for o in ORGS]
    assert sum(rho(o) for o in ORGS) % Q == sum(randomness) % Q == int.from_bytes(of("randomness"), "big")


# the sum ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("org", ORGS, ids=[o.hex()[:6] for o in ORGS])
def test_an_upload_is_the_input_under_its_masks(org: bytes) -> None:
    upload, n = wire.parse(pb.Upload, said("upload")[org]), len(values(org))
    adder = bfv.Adder(n)
    adder.add(upload.ciphertext)
    opened = bfv.decrypt(hkdf("bfv", of("group")), adder.total(), n).tolist()
    own = keystream(hkdf("self-mask", secret(org, "self_mask"), of("plan_hash")), n)
    expected = [v + m for v, m in zip(values(org), own, strict=True)]
    for peer in ORGS:
        if peer != org:
            sign = 1 if org < peer else -1
            stream = keystream(pair_key(org, peer), n)
            expected = [e + sign * s for e, s in zip(expected, stream, strict=True)]
    assert opened == [e % 2**45 for e in expected]


def test_the_sum_of_the_uploads_is_the_sum_of_the_inputs() -> None:
    message, n = wire.parse(pb.Sum, one("sum")), len(values(ORGS[0]))
    adder = bfv.Adder(n)
    for org in ORGS:
        adder.add(wire.parse(pb.Upload, said("upload")[org]).ciphertext)
    assert adder.total() == message.total
    opened = bfv.decrypt(hkdf("bfv", of("group")), message.total, n).tolist()
    for org in ORGS:
        own = keystream(hkdf("self-mask", secret(org, "self_mask"), of("plan_hash")), n)
        opened = [(o - m) % 2**45 for o, m in zip(opened, own, strict=True)]
    assert opened == [sum(column) for column in zip(*(values(o) for o in ORGS), strict=True)]
    assert b"".join(v.to_bytes(8, "little") for v in opened) == of("sum")


def test_commitments() -> None:
    n = len(values(ORGS[0]))
    pedersen = Pedersen(n, 44, Generators.load(generators_needed(n, 44), None))
    for org, header in zip(ORGS, headers(), strict=True):
        u, r = np.array(values(org), np.uint64), int.from_bytes(secret(org, "r"), "big")
        assert pedersen.commit(u, r) == secret(org, "commitment") == header.commitment
    total = np.frombuffer(of("sum"), "<u8").astype(np.uint64)
    randomness = int.from_bytes(of("randomness"), "big")
    pedersen.verify_sum(total, randomness, [h.commitment for h in headers()])


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
