"""The golden round of `tests.vectors`, and what its checks share: words, hashes and signatures by hand."""

from __future__ import annotations

import json
from typing import Any

from eth_hash.auto import keccak
from eth_keys import keys as eth_keys
from google.protobuf.message import Message

from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from tests.protos.test_digests_reference import typed
from tests.vectors.make_round import FILE

V: dict[str, Any] = json.loads(FILE.read_text())
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


def secret(org: bytes, name: str) -> bytes:
    return bytes.fromhex(next(h for h in HOSPITALS if bytes.fromhex(h["org"]) == org)[name])


def headers() -> list[pb.ReadyHeader]:
    found = [wire.parse(pb.Ready, said("ready")[org]).header for org in ORGS]
    return [wire.parse(pb.ReadyHeader, h.payload) for h in found]


def signer(digest: bytes, signature: bytes) -> bytes:
    found = eth_keys.Signature(signature[:64] + bytes([signature[64] - 27]))
    return found.recover_public_key_from_msg_hash(digest).to_canonical_address()


def eip712(struct: bytes) -> bytes:
    ctx = wire.parse(pb.Task, one("task")).ctx
    declaration = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    name, version = keccak(b"AttestationLedger"), keccak(b"1")
    return keccak(b"\x19\x01" + typed(declaration, name, version, ctx.chain_id, ctx.ledger) + struct)
