"""Golden vectors of every hash of the protocol: ``python -m tests.vectors.make_digests`` writes digests.json.

The contracts' tests (forge) and ours read the same file, so that Python and Solidity cannot drift apart. Integers are
decimal strings and bytes are hex, as in JSON-RPC.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from protos import digests as d

FILE = Path(__file__).with_name("digests.json")
U32, U64 = 2**32 - 1, 2**64 - 1


def word(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def address(*parts: object) -> bytes:
    return word("address", *parts)[:20]


def context(case: str, numbers: tuple[int, int, int], price: tuple[int, int, int, bytes]) -> d.Ctx:
    round_, release, attempt = numbers
    mode, rho, delta, noise = price
    return d.Ctx(
        chain_id=31337, registry=address(case, "registry"), ledger=address(case, "ledger"), study=word(case, "study"),
        analysis=d.analysis_id(case), spec_hash=word(case, "spec"), code_hash=word(case, "code"), round=round_,
        release=release, attempt=attempt, prev_seal=word(case, "prev"), state_commit=word(case, "state"), mode=mode,
        rho=rho, delta=delta, noise=noise,
    )  # fmt: skip


def chain_case(case: str, ctx: d.Ctx, uses: list[d.Use], orgs: int, lock_by: int) -> dict[str, Any]:
    """What the contract recomputes, from one lock and its seal."""
    members = sorted(address(case, "org", i) for i in range(orgs))
    uploads = [word(case, "upload", i) for i in range(orgs)]
    ready, inputs = word(case, "ready"), word(case, "inputs")
    plan = d.plan_hash(ctx.digest(), d.uses_hash(uses), ready, inputs, lock_by)
    root, domain = d.receipts_root(members, uploads), d.ledger_domain(ctx)
    lock = d.lock_id(plan, root)
    seal = d.Seal(
        lock, plan, root, ctx.state_commit, word(case, "after"), word(case, "result"), ctx.rho, ctx.delta,
        word(case, "method"), word(case, "params"), ctx.code_hash, ctx.prev_seal,
    )  # fmt: skip
    pairs = zip(members, uploads, strict=True)
    return {
        "ctx": asdict(ctx),
        "uses": [asdict(u) for u in uses],
        "orgs": members,
        "uploads": uploads,
        "ready_root": ready,
        "inputs_root": inputs,
        "lock_by": lock_by,
        "seal": asdict(seal),
        "expected": {
            "ctx_hash": ctx.digest(),
            "uses_hash": d.uses_hash(uses),
            "set": keccak(b"".join(u.dataset + u.version.to_bytes(32, "big") for u in uses)),
            "plan_hash": plan,
            "receipts_root": root,
            "lock_id": lock,
            "ledger_domain": domain,
            "registry_domain": d.domain_separator("ConsentRegistry", ctx.chain_id, ctx.registry),
            "receipts": [d.receipt_digest(domain, plan, org, up) for org, up in pairs],
            "seal_id": seal.digest(domain),
        },
    }


def chain_cases() -> list[dict[str, Any]]:
    exact, dp = (d.EXACT, 0, 0, d.ZERO32), (d.DP, 1_500_000, 10**12, word("noise"))
    uses = sorted(d.Use(word("set", i), i + 1, 2 * i + 1, i == 1) for i in range(4))
    edge = sorted(d.Use(word("edge", i), U32, U32, True) for i in range(2))
    first = context("first", (1, 1, 1), exact)
    widest = context("widest", (U32, U32, U32), (255, U64, U64, b"\xff" * 32))
    return [
        chain_case("first", first, uses[:3], 3, 1_800_000_000),
        chain_case("dp", context("dp", (7, 2, 5), dp), uses, 3, 1_900_000_000),
        chain_case("widest", widest, edge, 4, U64),
        chain_case("empty", context("empty", (1, 1, 1), exact), [], 0, 0),
    ]


def tagged_cases() -> dict[str, bytes]:
    """The sha256 family: one value of each, over arguments named in the test."""
    a, b, c = (bytes([i]) * 20 for i in (1, 2, 3))
    return {
        "tagged": d.tagged("tag", b"", b"one", b"two"),
        "signing_digest": d.signing_digest("hello", b"payload"),
        "analysis_id": d.analysis_id("km by sex"),
        "hellos_hash": d.hellos_hash([b"first", b"second"]),
        "ready_root": d.ready_root([b"first", b"second"]),
        "inputs_root": d.inputs_root([a, b, c], [bytes([i]) * 48 for i in range(3)]),
        "upload_hash": d.upload_hash(word("ct"), b"box"),
        "g_hash": d.g_hash(word("ctx"), a, word("g")),
        "state_commit": d.state_commit(word("salt"), b"state"),
        "result_hash": d.result_hash(word("salt"), b"total", word("randomness")),
        "genesis_salt": d.genesis_salt(word("spec")),
    }


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value]


def render() -> str:
    return json.dumps(plain({"chain": chain_cases(), "tagged": tagged_cases()}), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
