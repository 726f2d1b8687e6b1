"""Golden vectors: Python against the file, and eth_account where it knows the format. Forge checks the same file."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

from protos import digests
from tests.vectors import make_digests

VECTORS = json.loads(make_digests.FILE.read_text())
CASES = VECTORS["chain"]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def test_file_is_what_the_generator_writes() -> None:
    assert make_digests.FILE.read_text() == make_digests.render()


def _fields(declaration: str) -> list[dict[str, str]]:
    inner = declaration[declaration.index("(") + 1 : -1]
    return [dict(zip(("type", "name"), field.split(), strict=True)) for field in inner.split(",")]


def _typed(case: dict[str, Any], name: str, declaration: str, message: dict[str, Any]) -> bytes:
    domain = {
        "name": "AttestationLedger",
        "version": "1",
        "chainId": int(case["ctx"]["chain_id"]),
        "verifyingContract": case["ctx"]["ledger"],
    }
    signable = encode_typed_data(
        domain_data=domain, message_types={name: _fields(declaration)}, message_data=message
    )
    return keccak(b"\x19\x01" + signable.header + signable.body)


@pytest.mark.parametrize("case", CASES, ids=["first", "dp", "widest", "empty"])
def test_signed_digests_are_eip712(case: dict[str, Any]) -> None:
    plan, want = case["expected"]["plan_hash"], case["expected"]
    for org, upload, digest in zip(case["orgs"], case["uploads"], want["receipts"], strict=True):
        message = {"planHash": unhex(plan), "org": org, "uploadHash": unhex(upload)}
        assert _typed(case, "Receipt", digests.RECEIPT_TYPE, message) == unhex(digest)
    values = [unhex(v) if v.startswith("0x") else int(v) for v in case["seal"].values()]
    names = [f["name"] for f in _fields(digests.SEAL_TYPE)]
    message = dict(zip(names, values, strict=True))
    assert _typed(case, "Seal", digests.SEAL_TYPE, message) == unhex(want["seal_id"])


def test_sha256_family_by_hand() -> None:
    want = {name: unhex(value) for name, value in VECTORS["tagged"].items()}

    def by_hand(tag: bytes, *parts: bytes) -> bytes:
        body = b"".join(len(p).to_bytes(8, "big") + p for p in parts)
        return hashlib.sha256(b"consilium/1\x00" + tag + b"\x00" + body).digest()

    assert want["tagged"] == by_hand(b"tag", b"", b"one", b"two")
    assert want["analysis_id"] == by_hand(b"analysis", b"km by sex")
    assert want["hellos_hash"] == by_hand(b"hellos", b"first", b"second")
    assert want["ready_root"] == by_hand(b"ready-root", b"first", b"second")
    joined = [bytes([i + 1]) * 20 + bytes([i]) * 48 for i in range(3)]
    assert want["inputs_root"] == by_hand(b"inputs-root", *joined)
    assert want["signing_digest"] == hashlib.sha256(b"consilium/1\x00hello\x00payload").digest()


def test_every_field_reaches_its_hash() -> None:
    """No two fields of a context, or of a seal, can be exchanged or left out."""
    import dataclasses

    ctx = make_digests.context("fields", (1, 2, 3), (1, 4, 5, b"\x06" * 32))
    seal = digests.Seal(*[bytes([i]) * 32 for i in range(6)], 6, 7, *[bytes([i]) * 32 for i in range(8, 12)])
    domain = digests.ledger_domain(ctx)
    for thing, digest in ((ctx, digests.Ctx.digest), (seal, lambda s: s.digest(domain))):
        seen = {digest(thing)}
        for field in dataclasses.fields(thing):
            value = getattr(thing, field.name)
            other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
            seen.add(digest(dataclasses.replace(thing, **{field.name: other})))
        assert len(seen) == 1 + len(dataclasses.fields(thing))
