"""Every hash of the protocol.

Two families. What the contract recomputes is keccak256 of ``abi.encode`` with a type hash in front
(`Ctx`, `Use`, `Seal`, receipts, plan, lock), the signed ones as EIP-712. Everything else is sha256 over
domain-tagged bytes (`tagged`). Golden vectors in ``tests/vectors`` are shared with the contracts' tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

from eth_hash.auto import keccak

from protos.evm_abi import encode

ZERO32 = bytes(32)
EXACT, DP = 1, 2


def tagged(tag: str, *parts: bytes) -> bytes:
    """sha256("consilium/1" NUL tag NUL, then each part behind its length as 8 big-endian bytes)."""
    h = hashlib.sha256(b"consilium/1\0" + tag.encode() + b"\0")
    for part in parts:
        h.update(len(part).to_bytes(8, "big"))
        h.update(part)
    return h.digest()


def signing_digest(kind: str, payload: bytes) -> bytes:
    """What an agent key signs for a `Signed` message: sha256("consilium/1" NUL kind NUL payload)."""
    return hashlib.sha256(b"consilium/1\0" + kind.encode() + b"\0" + payload).digest()


@lru_cache
def type_hash(declaration: str) -> bytes:
    return keccak(declaration.encode())


def _digest(declaration: str, types: Sequence[str], values: Sequence[object]) -> bytes:
    return keccak(encode(["bytes32", *types], [type_hash(declaration), *values]))


CTX_TYPE = (
    "Ctx(uint256 chainId,address registry,address ledger,bytes32 study,bytes32 analysis,bytes32 specHash,"
    "bytes32 codeHash,uint32 round,uint32 release,uint32 attempt,bytes32 prevSeal,bytes32 stateCommit,"
    "uint8 mode,uint64 rho,uint64 delta,bytes32 noise)"
)
_CTX_ABI = [field.split()[0] for field in CTX_TYPE[4:-1].split(",")]


@dataclass(frozen=True)
class Ctx:
    """The context of one attempt; ``rho`` in 1e-9 zCDP, ``delta`` in 1e-18, addresses as 20 bytes."""

    chain_id: int
    registry: bytes
    ledger: bytes
    study: bytes
    analysis: bytes
    spec_hash: bytes
    code_hash: bytes
    round: int
    release: int
    attempt: int
    prev_seal: bytes
    state_commit: bytes
    mode: int
    rho: int
    delta: int
    noise: bytes

    def digest(self) -> bytes:
        return _digest(CTX_TYPE, _CTX_ABI, astuple(self))


USE_TYPE = "Use(bytes32 dataset,uint32 version,uint32 epoch,bool leaveSiteOut)"
USES_TYPE = "Uses(Use[] uses)" + USE_TYPE
USE_ABI = "(bytes32,uint32,uint32,bool)"


@dataclass(frozen=True, order=True)
class Use:
    """One dataset as it is used: its cohort version and the epoch of its consent."""

    dataset: bytes
    version: int
    epoch: int
    leave_site_out: bool = False


def uses_hash(uses: Sequence[Use]) -> bytes:
    """``uses`` ascending by dataset."""
    return _digest(USES_TYPE, [f"{USE_ABI}[]"], [[astuple(u) for u in uses]])


PLAN_TYPE = "Plan(bytes32 ctxHash,bytes32 usesHash,bytes32 readyRoot,bytes32 inputsRoot,uint64 lockBy)"


def plan_hash(ctx_hash: bytes, uses: bytes, ready: bytes, inputs: bytes, lock_by: int) -> bytes:
    return _digest(PLAN_TYPE, ["bytes32"] * 4 + ["uint64"], [ctx_hash, uses, ready, inputs, lock_by])


RECEIPTS_TYPE = "Receipts(address[] orgs,bytes32[] uploadHashes)"
LOCK_TYPE = "Lock(bytes32 planHash,bytes32 receiptsRoot)"


def receipts_root(orgs: Sequence[bytes], upload_hashes: Sequence[bytes]) -> bytes:
    """Both ascending by organisation."""
    return _digest(RECEIPTS_TYPE, ["address[]", "bytes32[]"], [list(orgs), list(upload_hashes)])


def lock_id(plan: bytes, receipts: bytes) -> bytes:
    return _digest(LOCK_TYPE, ["bytes32", "bytes32"], [plan, receipts])


# EIP-712 ---------------------------------------------------------------------------------------------

DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
RECEIPT_TYPE = "Receipt(bytes32 planHash,address org,bytes32 uploadHash)"
SEAL_TYPE = (
    "Seal(bytes32 lockId,bytes32 planHash,bytes32 receiptsRoot,bytes32 stateBefore,bytes32 stateAfter,"
    "bytes32 resultHash,uint64 rho,uint64 delta,bytes32 method,bytes32 params,bytes32 codeHash,bytes32 prevSeal)"
)
_SEAL_ABI = [field.split()[0] for field in SEAL_TYPE[5:-1].split(",")]


def domain_separator(name: str, chain_id: int, contract: bytes) -> bytes:
    """EIP-712 domain, version "1"; ``name`` is the contract's."""
    return _digest(
        DOMAIN_TYPE,
        ["bytes32", "bytes32", "uint256", "address"],
        [keccak(name.encode()), keccak(b"1"), chain_id, contract],
    )


def typed_digest(separator: bytes, struct_hash: bytes) -> bytes:
    return keccak(b"\x19\x01" + separator + struct_hash)


def ledger_domain(ctx: Ctx) -> bytes:
    return domain_separator("AttestationLedger", ctx.chain_id, ctx.ledger)


def receipt_digest(domain: bytes, plan: bytes, org: bytes, upload: bytes) -> bytes:
    return typed_digest(domain, _digest(RECEIPT_TYPE, ["bytes32", "address", "bytes32"], [plan, org, upload]))


@dataclass(frozen=True)
class Seal:
    """What every participant signs about a round; its EIP-712 digest is the seal's id and the chain's tip."""

    lock_id: bytes
    plan_hash: bytes
    receipts_root: bytes
    state_before: bytes
    state_after: bytes
    result_hash: bytes
    rho: int
    delta: int
    method: bytes
    params: bytes
    code_hash: bytes
    prev_seal: bytes

    def digest(self, domain: bytes) -> bytes:
        return typed_digest(domain, _digest(SEAL_TYPE, _SEAL_ABI, astuple(self)))


# sha256 family ---------------------------------------------------------------------------------------


def analysis_id(name: str) -> bytes:
    return tagged("analysis", name.encode())


def hellos_hash(payloads: Sequence[bytes]) -> bytes:
    """Payloads of the signed hellos, ascending by organisation."""
    return tagged("hellos", *payloads)


def ready_root(payloads: Sequence[bytes]) -> bytes:
    """Payloads of the signed ready headers, ascending by organisation."""
    return tagged("ready-root", *payloads)


def inputs_root(orgs: Sequence[bytes], commitments: Sequence[bytes]) -> bytes:
    return tagged("inputs-root", *(o + c for o, c in zip(orgs, commitments, strict=True)))


def upload_hash(ciphertext_digest: bytes, rho_box: bytes) -> bytes:
    """``ciphertext_digest`` is the plain sha256 of the ciphertext."""
    return tagged("upload", ciphertext_digest, rho_box)


def g_hash(ctx_hash: bytes, org: bytes, g: bytes) -> bytes:
    return tagged("g", ctx_hash, org, g)


def mask_hash(ctx_hash: bytes, org: bytes, self_mask: bytes) -> bytes:
    return tagged("mask", ctx_hash, org, self_mask)


def state_commit(salt: bytes, state: bytes) -> bytes:
    return tagged("state", salt, state)


def result_hash(salt: bytes, total: bytes, randomness: bytes, accepted: bytes = b"") -> bytes:
    """``total``: little-endian uint64 of each opened field; ``randomness``: 32 big-endian bytes.

    ``accepted``: what a committee's sum is made of, one byte for each hospital of the lock; else empty.
    """
    return tagged("result", salt, total, randomness, *([accepted] if accepted else []))


def genesis_salt(spec_hash: bytes) -> bytes:
    return tagged("genesis-salt", spec_hash)


def committee_release(study: bytes, round_: int, release: int) -> bytes:
    """Names what a committee opens once: a retry of the same set keeps it under another lock."""
    return tagged("committee-release", study, round_.to_bytes(4, "big"), release.to_bytes(4, "big"))


def committee_session(lock: bytes, number: int) -> bytes:
    """Names one meeting of the three members."""
    return tagged("committee-session", lock, number.to_bytes(4, "big"))
