"""Both contracts on a real anvil, driven call by call; a refused call gives the name of its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from coincurve import PrivateKey
from eth_hash.auto import keccak

from consent_contracts import abi
from consent_contracts.rpc import Rpc, data, quantity
from protos import digests
from protos.digests import DP, ZERO32, Ctx, Seal, Use
from tests.contracts.model import COLLUSION, MIN_SITES, PRICES, PURPOSES, ROSTER, SATISFIES, WINDOW, Request

REGISTRY, LEDGER = abi.contract(abi.REGISTRY), abi.contract(abi.LEDGER)
ERRORS = {**REGISTRY.errors, **LEDGER.errors}
STEWARDS = [0, 1, 2, 3, 0]  # dataset → hospital: one brings two


def word(*parts: object) -> bytes:
    return keccak(repr(parts).encode())


def address(name: str) -> bytes:
    return word(name)[12:]


def account(key: PrivateKey) -> bytes:
    return keccak(key.public_key.format(compressed=False)[1:])[12:]


def signed(key: PrivateKey, digest: bytes) -> bytes:
    raw = key.sign_recoverable(digest, hasher=None)
    return raw[:64] + bytes([27 + raw[64]])


@dataclass
class Sent:
    """The lock that stands, as far as its seal needs it."""

    seal: Seal
    orgs: list[int]


@dataclass
class Side:
    """What the coordinator knows of one study."""

    mode: int
    id: bytes
    spec: bytes
    tip: bytes = ZERO32
    state: bytes = field(default_factory=lambda: word("genesis"))
    attested: int = 0
    sent: Sent | None = None


class Council:
    admin, sponsor, coordinator, regulator = (
        address(n) for n in ("admin", "sponsor", "coordinator", "regulator")
    )

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc
        rpc.call("anvil_autoImpersonateAccount", True)
        self.chain_id = rpc.chain_id()
        self.now = int(rpc.block("latest")["timestamp"]) + 10
        self.orgs = sorted(address(f"hospital {i}") for i in ROSTER)
        self.keys = [PrivateKey(word("agent", i)) for i in ROSTER]
        self.old_keys = list(self.keys)
        self.nonces = [word("nonce", d) for d in range(len(STEWARDS))]
        self.datasets = [
            keccak(bytes(12) + self.orgs[s] + n) for s, n in zip(STEWARDS, self.nonces, strict=True)
        ]
        for who in (self.admin, self.sponsor, self.coordinator, self.regulator, *self.orgs):
            rpc.call("anvil_setBalance", "0x" + who.hex(), hex(10**24))
        self.registry = self._create(REGISTRY.deployment(self.admin, 86_400))
        self.ledger = self._create(LEDGER.deployment(self.registry))
        self._found()

    def _found(self) -> None:
        roles = {"LEDGER": self.ledger, "SPONSOR": self.sponsor, "COORDINATOR": self.coordinator}
        for role, who in {**roles, "REGULATOR": self.regulator}.items():
            self.must(self.admin, "grantRole", keccak(role.encode()), who)
        for org, key in zip(self.orgs, self.keys, strict=True):
            self.must(self.admin, "grantRole", keccak(b"HOSPITAL"), org)
            self.must(org, "setAgent", account(key))
        for steward, nonce in zip(STEWARDS, self.nonces, strict=True):
            self.must(self.orgs[steward], "registerDataset", nonce, *(word(w) for w in "rstc"))
        self.studies = [self._study(mode) for mode in PRICES]

    def _study(self, mode: int) -> Side:
        spec = word("spec", mode)
        analyses = [(*self._analysis(mode, i),) for i in range(2)]
        terms = (
            spec, self.coordinator, PURPOSES, SATISFIES, ZERO32, mode, MIN_SITES, COLLUSION, WINDOW, word("key"),
            self.orgs, analyses,
        )  # fmt: skip
        self.must(self.sponsor, "registerStudy", terms)
        return Side(mode, keccak(bytes(12) + self.sponsor + spec), spec)

    def _analysis(self, mode: int, number: int) -> tuple[bytes, int, int, bytes]:
        noise = word("noise", number) if mode == DP else ZERO32
        return (digests.analysis_id(str(number)), *PRICES[mode][number], noise)

    # --- transactions -------------------------------------------------------------------------------------

    def _create(self, code: bytes) -> bytes:
        receipt, _ = self._mine(self.admin, None, code)
        return data(receipt["contractAddress"], 20)

    def _mine(self, sender: bytes, to: bytes | None, calldata: bytes) -> tuple[dict[str, Any], str]:
        request = {"from": "0x" + sender.hex(), "data": "0x" + calldata.hex(), "gas": hex(20_000_000)}
        if to is not None:
            request["to"] = "0x" + to.hex()
        self.rpc.call("evm_setNextBlockTimestamp", self.now)
        digest = str(self.rpc.call("eth_sendTransaction", request))
        self.rpc.call("evm_mine")
        self.now += 1
        return self.rpc.call("eth_getTransactionReceipt", digest), digest

    def send(self, sender: bytes, to: bytes, calldata: bytes) -> str:
        """Empty if it was done, else the error's name."""
        receipt, digest = self._mine(sender, to, calldata)
        if quantity(receipt["status"]) == 1:
            return ""
        trace = self.rpc.call("debug_traceTransaction", digest, {"tracer": "callTracer"})
        return ERRORS[data(trace["output"])[:4]].name

    def tell(self, sender: bytes, function: str, *args: object) -> str:
        return self.send(sender, self.registry, REGISTRY.encode(function, *args))

    def must(self, sender: bytes, function: str, *args: object) -> None:
        refused = self.tell(sender, function, *args)
        assert not refused, (function, refused)

    def view(self, contract: abi.Contract, function: str, *args: object) -> dict[str, Any]:
        to = self.registry if contract is REGISTRY else self.ledger
        return contract.decode(function, self.rpc.eth_call(to, contract.encode(function, *args)))

    # --- rounds -------------------------------------------------------------------------------------------

    def lock(self, r: Request, model_uses: Sequence[Use]) -> str:
        side = self.studies[r.study]
        analysis, rho, delta, noise = self._analysis(side.mode, r.analysis)
        ctx = Ctx(
            self.chain_id, self.registry, self.ledger, side.id, analysis, side.spec, word("code"), side.attested + 1,
            r.release, r.attempt, side.tip, side.state, side.mode, rho, delta, noise,
        )  # fmt: skip
        members = sorted({STEWARDS[d] for d in r.datasets})
        uses = sorted(model_uses)
        ctx, uses, members, lock_by = self._falsify(r.fault, ctx, uses, members)
        orgs, uploads = [self.orgs[m] for m in members], [word("up", r, m) for m in members]
        ready, inputs = word("ready", r), word("inputs", r.inputs)
        plan = digests.plan_hash(ctx.digest(), digests.uses_hash(uses), ready, inputs, lock_by)
        root, domain = digests.receipts_root(orgs, uploads), digests.ledger_domain(ctx)
        keys = list(self.old_keys if r.fault == "old agent" else self.keys)
        if r.fault == "signature":
            keys[members[-1]] = PrivateKey(word("stranger"))
        sigs = [
            signed(keys[m], digests.receipt_digest(domain, plan, self.orgs[m], up))
            for m, up in zip(members, uploads, strict=True)
        ]
        call = LEDGER.encode(
            "lock", vars(ctx), [vars(u) for u in uses], orgs, ready, inputs, lock_by, uploads, sigs
        )
        refused = self.send(self.sponsor if r.fault == "sender" else self.coordinator, self.ledger, call)
        if not refused:
            seal = Seal(
                digests.lock_id(plan, root), plan, root, side.state, word("state", plan), word("result"), rho, delta,
                word("fhe"), word("params"), word("code"), side.tip,
            )  # fmt: skip
            side.sent = Sent(seal, members)
        return refused

    def _falsify(
        self, fault: str, ctx: Ctx, uses: list[Use], members: list[int]
    ) -> tuple[Ctx, list[Use], list[int], int]:
        lock_by = self.now + 100
        if fault == "epoch":
            uses[0] = replace(uses[0], epoch=uses[0].epoch + 1)
        elif fault == "version":
            uses[0] = replace(uses[0], version=uses[0].version + 1)
        elif fault == "tip":
            ctx = replace(ctx, prev_seal=word("other"))
        elif fault == "round":
            ctx = replace(ctx, round=ctx.round + 1)
        elif fault == "rho":
            ctx = replace(ctx, rho=ctx.rho + 1)
        elif fault == "late":
            lock_by = self.now - 1
        elif fault == "unpaired":
            members = members[1:] + [m for m in range(4) if m not in members][:1] or members
            members = sorted(members)
        return ctx, uses, members, lock_by

    def attest(self, s: int, absent: Sequence[int]) -> str:
        side, sent = self.studies[s], self.studies[s].sent
        assert sent is not None
        domain = digests.domain_separator("AttestationLedger", self.chain_id, self.ledger)
        seal_id = sent.seal.digest(domain)
        sigs = [b"" if i in absent else signed(self.keys[m], seal_id) for i, m in enumerate(sent.orgs)]
        orgs = [self.orgs[m] for m in sent.orgs]
        refused = self.send(
            self.coordinator, self.ledger, LEDGER.encode("attest", side.id, vars(sent.seal), orgs, sigs)
        )
        if not refused:
            side.tip, side.state, side.attested = seal_id, sent.seal.state_after, side.attested + 1
        return refused

    def abandon(self, s: int) -> str:
        side = self.studies[s]
        lock = side.sent.seal.lock_id if side.sent else word("none")
        return self.send(self.sponsor, self.ledger, LEDGER.encode("abandon", side.id, lock))

    def recover(self, s: int, hospital: int, *, stranger: bool) -> str:
        side = self.studies[s]
        lock = side.sent.seal.lock_id if side.sent else word("none")
        org = self.orgs[hospital] if hospital in ROSTER else address("nobody")
        sender = self.orgs[0] if stranger else self.coordinator
        return self.send(sender, self.ledger, LEDGER.encode("recover", side.id, lock, org))

    def snapshot(self) -> tuple[Any, ...]:
        studies = [replace(side) for side in self.studies]
        return self.rpc.call("evm_snapshot"), self.now, list(self.keys), list(self.old_keys), studies

    def restore(self, kept: tuple[Any, ...]) -> None:
        assert self.rpc.call("evm_revert", kept[0])
        _, self.now, self.keys, self.old_keys, self.studies = kept
