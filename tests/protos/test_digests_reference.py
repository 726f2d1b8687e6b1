"""Every hash against a computation that shares no code with ours."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.study import tagged_sha256
from protos import digests

word = st.binary(min_size=32, max_size=32)
address = st.binary(min_size=20, max_size=20)
u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
ctxs = st.builds(
    digests.Ctx,
    u64,
    address,
    address,
    word,
    word,
    word,
    word,
    u32,
    u32,
    u32,
    word,
    word,
    st.sampled_from([1, 2]),
    u64,
    u64,
    word,
)
uses = st.builds(digests.Use, word, u32, u32, st.booleans())
seals = st.builds(digests.Seal, *[word] * 6, u64, u64, *[word] * 4)
few = settings(max_examples=25, deadline=None)


def words(*values: int | bytes | bool) -> bytes:
    """ABI words by hand: numbers and addresses to the right, bytes32 as they are."""
    out = b""
    for value in values:
        out += value.rjust(32, b"\0") if isinstance(value, bytes) else int(value).to_bytes(32, "big")
    return out


def typed(declaration: str, *values: int | bytes | bool, tail: bytes = b"") -> bytes:
    return keccak(keccak(declaration.encode()) + words(*values) + tail)


@few
@given(ctxs)
def test_ctx(ctx: digests.Ctx) -> None:
    declaration = (
        "Ctx(uint256 chainId,address registry,address ledger,bytes32 study,bytes32 analysis,bytes32 specHash,"
        "bytes32 codeHash,uint32 round,uint32 release,uint32 attempt,bytes32 prevSeal,bytes32 stateCommit,"
        "uint8 mode,uint64 rho,uint64 delta,bytes32 noise)"
    )
    assert ctx.digest() == typed(declaration, *asdict(ctx).values())


@few
@given(st.lists(uses, max_size=4))
def test_uses(found: list[digests.Use]) -> None:
    declaration = "Uses(Use[] uses)Use(bytes32 dataset,uint32 version,uint32 epoch,bool leaveSiteOut)"
    tail = b"".join(words(u.dataset, u.version, u.epoch, u.leave_site_out) for u in found)
    assert digests.uses_hash(found) == typed(declaration, 64, len(found), tail=tail)


@few
@given(word, word, word, word, u64)
def test_plan_and_lock(ctx: bytes, uses_hash: bytes, ready: bytes, inputs: bytes, lock_by: int) -> None:
    declaration = "Plan(bytes32 ctxHash,bytes32 usesHash,bytes32 readyRoot,bytes32 inputsRoot,uint64 lockBy)"
    plan = digests.plan_hash(ctx, uses_hash, ready, inputs, lock_by)
    assert plan == typed(declaration, ctx, uses_hash, ready, inputs, lock_by)
    assert digests.lock_id(plan, ctx) == typed("Lock(bytes32 planHash,bytes32 receiptsRoot)", plan, ctx)


@few
@given(st.lists(st.tuples(address, word), max_size=4))
def test_receipts_root(rows: list[tuple[bytes, bytes]]) -> None:
    orgs, uploads = [o for o, _ in rows], [u for _, u in rows]
    n = len(rows)
    tail = words(n, *orgs) + words(n, *uploads)
    found = typed("Receipts(address[] orgs,bytes32[] uploadHashes)", 96, 96 + 32 * (n + 1), tail=tail)
    assert digests.receipts_root(orgs, uploads) == found


def eip712(ctx: digests.Ctx, kind: str, types: list[tuple[str, str]], message: dict[str, object]) -> bytes:
    """eth_account's own implementation."""
    domain = [
        ("string", "name"),
        ("string", "version"),
        ("uint256", "chainId"),
        ("address", "verifyingContract"),
    ]
    document = {
        "types": {
            "EIP712Domain": [{"type": t, "name": n} for t, n in domain],
            kind: [{"type": t, "name": n} for t, n in types],
        },
        "primaryType": kind,
        "domain": {
            "name": "AttestationLedger",
            "version": "1",
            "chainId": ctx.chain_id,
            "verifyingContract": "0x" + ctx.ledger.hex(),
        },
        "message": message,
    }
    signable = encode_typed_data(full_message=document)
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


@few
@given(ctxs, word, address, word)
def test_receipt(ctx: digests.Ctx, plan: bytes, org: bytes, upload: bytes) -> None:
    types = [("bytes32", "planHash"), ("address", "org"), ("bytes32", "uploadHash")]
    message: dict[str, object] = {"planHash": plan, "org": "0x" + org.hex(), "uploadHash": upload}
    expected = eip712(ctx, "Receipt", types, message)
    assert digests.receipt_digest(digests.ledger_domain(ctx), plan, org, upload) == expected


@few
@given(ctxs, seals)
def test_seal(ctx: digests.Ctx, seal: digests.Seal) -> None:
    names = ["lockId", "planHash", "receiptsRoot", "stateBefore", "stateAfter", "resultHash"]
    names += ["rho", "delta", "method", "params", "codeHash", "prevSeal"]
    types = [("uint64" if name in ("rho", "delta") else "bytes32", name) for name in names]
    message = dict(zip(names, asdict(seal).values(), strict=True))
    assert seal.digest(digests.ledger_domain(ctx)) == eip712(ctx, "Seal", types, message)


# the sha256 family ------------------------------------------------------------------------------------------


def tagged(tag: str, *parts: bytes) -> bytes:
    body = b"consilium/1" + b"\0" + tag.encode() + b"\0"
    return hashlib.sha256(body + b"".join(len(p).to_bytes(8, "big") + p for p in parts)).digest()


parts = st.lists(st.binary(max_size=50), max_size=4)


@few
@given(st.text(max_size=20), parts)
def test_tagged(tag: str, found: list[bytes]) -> None:
    assert digests.tagged(tag, *found) == tagged(tag, *found) == tagged_sha256(tag, *found)


@few
@given(parts, parts)
def test_lists_of_parts_are_never_confused(a: list[bytes], b: list[bytes]) -> None:
    assert (digests.tagged("t", *a) == digests.tagged("t", *b)) == (a == b)


@few
@given(st.text(min_size=1, max_size=20), st.binary(max_size=50))
def test_signing_digest(kind: str, payload: bytes) -> None:
    expected = hashlib.sha256(b"consilium/1\0" + kind.encode() + b"\0" + payload).digest()
    assert digests.signing_digest(kind, payload) == expected


@few
@given(word, address, word, st.binary(min_size=48, max_size=48), parts)
def test_each_named_hash(a: bytes, org: bytes, b: bytes, point: bytes, payloads: list[bytes]) -> None:
    assert digests.hellos_hash(payloads) == tagged("hellos", *payloads)
    assert digests.ready_root(payloads) == tagged("ready-root", *payloads)
    assert digests.inputs_root([org], [point]) == tagged("inputs-root", org + point)
    assert digests.upload_hash(a, point) == tagged("upload", a, point)
    assert digests.g_hash(a, org, b) == tagged("g", a, org, b)
    assert digests.state_commit(a, b) == tagged("state", a, b)
    assert digests.result_hash(a, b, a) == tagged("result", a, b, a)
    assert digests.genesis_salt(a) == tagged("genesis-salt", a)
    assert digests.analysis_id("m0") == tagged("analysis", b"m0")


def test_a_kind_cannot_reach_into_a_payload() -> None:
    """Kinds hold no NUL, so no two (kind, payload) are signed alike."""
    from protos import wire
    from protos.consilium.v1 import round_pb2 as pb

    assert digests.signing_digest("a\0b", b"c") == digests.signing_digest("a", b"b\0c")
    signed = pb.Signed(kind="hello\0", sender=bytes(20), payload=b"x", signature=bytes(65))
    assert wire.parse(pb.Signed, wire.encode(signed)).kind != "hello"  # compared whole, before it is hashed
