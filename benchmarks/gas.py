"""Gas of consent and of rounds in steady state: ``python -m benchmarks.gas [--json]``.

Measured on a real anvil with the checked-in artifacts. *Steady state*: every slot that a call writes has been
written before, as it is from the second round on. One dataset for each organisation. The headline
``lock_attest@n`` is a later round of an exact analysis, the one that charges nothing; ``dp_lock_attest@n`` a
charged dp round; ``first_*`` the first round of a study; ``recover`` the first one of a lock, which has no slot to
reuse.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

from coincurve import PrivateKey
from eth_hash.auto import keccak

from benchmarks.report import Measure, publish
from consent_contracts import abi
from consent_contracts.laptop import Anvil
from consent_contracts.rpc import Rpc, data, quantity
from protos import digests
from protos.digests import DP, EXACT, ZERO32, Ctx, Seal, Use

SIZES = (3, 10, 50)
GOALS = {
    "grant": 115_000,
    "revoke": 45_000,
    "lock_attest@3": 270_000,
    "lock_attest@10": 540_000,
    "lock_attest@50": 2_200_000,
}
RHO, DELTA = 1_000_000, 10**9
YEAR, WINDOW = 365 * 86_400, 600
REGISTRY, LEDGER = abi.contract(abi.REGISTRY), abi.contract(abi.LEDGER)


def word(text: str) -> bytes:
    return keccak(text.encode())


def address(name: str) -> bytes:
    return word(name)[12:]


@dataclass(frozen=True)
class Hospital:
    """An organisation with one dataset and its agent key."""

    org: bytes
    key: PrivateKey
    dataset: bytes

    @classmethod
    def numbered(cls, number: int) -> Hospital:
        org = address(f"hospital {number}")
        dataset = keccak(bytes(12) + org + word("nonce"))
        return cls(org, PrivateKey(word(f"agent {number}")), dataset)

    @property
    def agent(self) -> bytes:
        return keccak(self.key.public_key.format(compressed=False)[1:])[12:]

    def sign(self, digest: bytes) -> bytes:
        raw = self.key.sign_recoverable(digest, hasher=None)
        return raw[:64] + bytes([27 + raw[64]])


class Node:
    """Sends from any account: anvil impersonates it."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        rpc.call("anvil_autoImpersonateAccount", True)
        self.chain_id = rpc.chain_id()

    def now(self) -> int:
        return int(self._rpc.block("latest")["timestamp"])

    def fund(self, account: bytes) -> None:
        self._rpc.call("anvil_setBalance", "0x" + account.hex(), hex(10**21))

    def post(self, sender: bytes, to: bytes | None, calldata: bytes) -> str:
        request = {"from": "0x" + sender.hex(), "data": "0x" + calldata.hex(), "gas": hex(25_000_000)}
        if to is not None:
            request["to"] = "0x" + to.hex()
        return str(self._rpc.call("eth_sendTransaction", request))

    def send(self, sender: bytes, to: bytes | None, calldata: bytes) -> tuple[int, bytes]:
        """Gas used, and the address of a new contract (else empty)."""
        digest = self.post(sender, to, calldata)
        self._rpc.call("evm_mine")
        receipt = self._rpc.call("eth_getTransactionReceipt", digest)
        if receipt is None or quantity(receipt["status"]) != 1:
            raise RuntimeError("a transaction of the benchmark was refused")
        created = receipt["contractAddress"]
        return quantity(receipt["gasUsed"]), data(created, 20) if created else b""

    def wait(self, seconds: int) -> None:
        self._rpc.call("evm_increaseTime", seconds)
        self._rpc.call("evm_mine")


@dataclass
class World:
    """Both contracts, with everybody admitted and every dataset registered."""

    node: Node
    hospitals: list[Hospital] = field(
        default_factory=lambda: [Hospital.numbered(i) for i in range(max(SIZES))]
    )
    registry: bytes = b""
    ledger: bytes = b""
    admin: bytes = address("admin")
    sponsor: bytes = address("sponsor")
    coordinator: bytes = address("coordinator")

    def build(self) -> World:
        for account in (self.admin, self.sponsor, self.coordinator, *(h.org for h in self.hospitals)):
            self.node.fund(account)
        _, self.registry = self.node.send(self.admin, None, REGISTRY.deployment(self.admin, 86_400))
        _, self.ledger = self.node.send(self.admin, None, LEDGER.deployment(self.registry))
        roles = {"LEDGER": self.ledger, "SPONSOR": self.sponsor, "COORDINATOR": self.coordinator}
        for role, account in roles.items():
            self.call(self.admin, "grantRole", word(role), account)
        for h in self.hospitals:
            self.call(self.admin, "grantRole", word("HOSPITAL"), h.org)
        for h in self.hospitals:
            self.call(h.org, "setAgent", h.agent)
            self.call(
                h.org,
                "registerDataset",
                word("nonce"),
                *(word(w) for w in ("root", "schema", "terms", "cohort")),
            )
            self.call(h.org, "setBudget", h.dataset, 10**12, 10**15, 100)
        return self

    def call(self, sender: bytes, function: str, *args: object) -> int:
        return self.node.send(sender, self.registry, REGISTRY.encode(function, *args))[0]

    def grant(self, h: Hospital, study: bytes) -> int:
        terms = (h.dataset, study, 0b111, 1, ZERO32, self.node.now() + YEAR, 10**12, 10**15, 100)
        return self.call(h.org, "grant", terms)


@dataclass
class Study:
    """One study of the first ``n`` hospitals; keeps the ledger's chain."""

    world: World
    mode: int
    n: int
    seals: list[bytes] = field(default_factory=list)
    state: bytes = word("state 0")

    def __post_init__(self) -> None:
        self.members = sorted(self.world.hospitals[: self.n], key=lambda h: h.org)
        self.spec = word(f"spec {self.mode} {self.n}")
        self.id = keccak(bytes(12) + self.world.sponsor + self.spec)
        self.price = (RHO, DELTA, word("noise")) if self.mode == DP else (0, 0, ZERO32)
        self.analysis = digests.analysis_id("irls")

    def register(self) -> None:
        roster = [h.org for h in self.members]
        head = (
            self.spec,
            self.world.coordinator,
            0b101,
            1,
            ZERO32,
            self.mode,
            3,
            1,
            WINDOW,
            word("sponsor key"),
        )
        terms = (*head, roster, [(self.analysis, *self.price)])
        self.world.call(self.world.sponsor, "registerStudy", terms)

    def round(self) -> tuple[int, int]:
        """Gas of lock and of attest."""
        locked, seal = self.lock()
        return locked, self.attest(seal)

    def lock(self) -> tuple[int, Seal]:
        """Gas, and the seal that it asks for."""
        w, number = self.world, len(self.seals) + 1
        ctx = Ctx(
            w.node.chain_id, w.registry, w.ledger, self.id, self.analysis, self.spec, word("code"), number, 1, 1,
            self.seals[-1] if self.seals else ZERO32, self.state, self.mode, *self.price,
        )  # fmt: skip
        uses = sorted(Use(h.dataset, 1, 1) for h in self.members)
        orgs = [h.org for h in self.members]
        uploads = [word(f"upload {number} {i}") for i in range(self.n)]
        ready, inputs, lock_by = word(f"ready {number}"), word(f"inputs {number}"), w.node.now() + 600
        plan = digests.plan_hash(ctx.digest(), digests.uses_hash(uses), ready, inputs, lock_by)
        domain, root = digests.ledger_domain(ctx), digests.receipts_root(orgs, uploads)
        sigs = [
            h.sign(digests.receipt_digest(domain, plan, h.org, up))
            for h, up in zip(self.members, uploads, strict=True)
        ]
        call = LEDGER.encode(
            "lock", _tuple(ctx), [_tuple(u) for u in uses], orgs, ready, inputs, lock_by, uploads, sigs
        )
        locked, _ = w.node.send(w.coordinator, w.ledger, call)
        seal = Seal(
            digests.lock_id(plan, root), plan, root, self.state, word(f"state {number}"), word(f"result {number}"),
            *self.price[:2], word("fhe"), word("params"), word("code"), ctx.prev_seal,
        )  # fmt: skip
        return locked, seal

    def attest(self, seal: Seal) -> int:
        w, orgs = self.world, [h.org for h in self.members]
        digest = seal.digest(digests.domain_separator(LEDGER.name, w.node.chain_id, w.ledger))
        call = LEDGER.encode("attest", self.id, _tuple(seal), orgs, [h.sign(digest) for h in self.members])
        attested, _ = w.node.send(w.coordinator, w.ledger, call)
        self.state = seal.state_after
        self.seals.append(digest)
        return attested

    def recover(self) -> int:
        """Gas of the first recovery of another lock, which stays."""
        w = self.world
        _, seal = self.lock()
        w.node.wait(WINDOW // 2)
        call = LEDGER.encode("recover", self.id, seal.lock_id, self.members[0].org)
        return w.node.send(w.coordinator, w.ledger, call)[0]


def _tuple(value: Ctx | Use | Seal) -> tuple[object, ...]:
    return tuple(value.__dict__.values())


def measure() -> dict[str, int]:
    found: dict[str, int] = {}
    with Anvil() as anvil:
        world = World(Node(Rpc(anvil.url))).build()
        for mode, prefix in ((EXACT, ""), (DP, "dp_")):
            for n in SIZES:
                study = Study(world, mode, n)
                study.register()
                granted = [world.grant(h, study.id) for h in study.members]
                found.setdefault("grant", granted[-1])
                rounds = [study.round() for _ in range(3)]
                found[f"first_{prefix}lock_attest@{n}"] = sum(rounds[0])
                found[f"{prefix}lock@{n}"], found[f"{prefix}attest@{n}"] = rounds[-1]
                found[f"{prefix}lock_attest@{n}"] = sum(rounds[-1])
        found["recover"] = study.recover()
        last = study.members[-1]
        found["revoke"] = world.call(last.org, "revoke", last.dataset, study.id)
        found["regrant"] = world.grant(last, study.id)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.gas", description="gas of consent and of rounds")
    parser.add_argument("--json", action="store_true", help="a list of {name, value, unit}")
    as_json = parser.parse_args(argv).json
    found = [Measure(name, gas, "gas") for name, gas in measure().items()]
    publish(found, as_json=as_json, title="gas in steady state", goals=GOALS)


if __name__ == "__main__":
    main()
