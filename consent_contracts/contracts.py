"""The write side: one short method for each transaction, by who may send it.

``once`` names an effect that may happen again (a grant, a change of agent): the same name is sent at most
once, no name means a new effect each time. Where the contract itself knows the effect (a dataset's nonce, a
lock's id) the name is made from that.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from eth_hash.auto import keccak

from consent_contracts import abi
from consent_contracts.chain import Addresses
from consent_contracts.sender import Mined, Sender
from consilium_errors import Misuse
from crypto.identity import AgentKey
from protos import digests
from protos.evm_abi import encode

ROLES = ("REGISTRAR", "HOSPITAL", "SPONSOR", "COORDINATOR", "REGULATOR", "LEDGER")

GRANT_TYPE = (
    "Grant(bytes32 dataset,bytes32 study,uint64 allowed,uint64 conditions,bytes32 scope,uint40 expiry,"
    "uint64 rhoCap,uint64 deltaCap,uint24 exactCap,uint32 epoch,uint64 deadline)"
)
REVOKE_TYPE = "Revoke(bytes32 dataset,bytes32 study,uint32 epoch)"
WITHDRAW_TYPE = "Withdraw(bytes32 dataset,bytes32 leaf)"


def role_id(role: str) -> bytes:
    if role not in ROLES:
        raise Misuse("roles.unknown", f"no role {role}", remedy=f"one of {', '.join(ROLES)}")
    return keccak(role.encode())


@dataclass(frozen=True)
class AnalysisTerms:
    """Price of one release of an analysis; all zero in exact mode."""

    id: bytes
    rho: int = 0
    delta: int = 0
    noise: bytes = digests.ZERO32


@dataclass(frozen=True)
class StudyTerms:
    """What a sponsor registers. Seconds; ``roster`` ascending; ``collusion`` + 2 <= ``min_sites``."""

    spec_hash: bytes
    coordinator: bytes
    purposes: int
    satisfies: int
    scope: bytes
    mode: int
    min_sites: int
    collusion: int
    window: int
    sponsor_key: bytes
    roster: tuple[bytes, ...]
    analyses: tuple[AnalysisTerms, ...]


@dataclass(frozen=True)
class GrantTerms:
    """A consent. ``expiry`` is the first second without it; caps bound all that the study ever spends."""

    dataset: bytes
    study: bytes
    allowed: int
    conditions: int
    scope: bytes
    expiry: int
    rho_cap: int
    delta_cap: int
    exact_cap: int


def _struct(declaration: str, values: Sequence[object]) -> bytes:
    types = [f.split()[0] for f in declaration[declaration.index("(") + 1 : -1].split(",")]
    return keccak(encode(["bytes32", *types], [digests.type_hash(declaration), *values]))


def _registry_digest(addresses: Addresses, struct: bytes) -> bytes:
    domain = digests.domain_separator(abi.REGISTRY, addresses.chain_id, addresses.registry)
    return digests.typed_digest(domain, struct)


def grant_digest(addresses: Addresses, terms: GrantTerms, epoch: int, deadline: int) -> bytes:
    """What a steward signs (EIP-712); ``epoch`` is the consent's current one."""
    return _registry_digest(addresses, _struct(GRANT_TYPE, [*astuple(terms), epoch, deadline]))


def revoke_digest(addresses: Addresses, dataset: bytes, study: bytes, epoch: int) -> bytes:
    return _registry_digest(addresses, _struct(REVOKE_TYPE, [dataset, study, epoch]))


def withdraw_leaf(key: bytes, commitment: bytes) -> bytes:
    """A patient's leaf under the cohort's root (OpenZeppelin's double hash)."""
    return keccak(keccak(encode(["address", "bytes32"], [key, commitment])))


def withdraw_digest(addresses: Addresses, dataset: bytes, leaf: bytes) -> bytes:
    return _registry_digest(addresses, _struct(WITHDRAW_TYPE, [dataset, leaf]))


def sign_grant(key: AgentKey, addresses: Addresses, terms: GrantTerms, *, epoch: int, deadline: int) -> bytes:
    return key.sign(grant_digest(addresses, terms, epoch, deadline))


def sign_revoke(key: AgentKey, addresses: Addresses, dataset: bytes, study: bytes, *, epoch: int) -> bytes:
    return key.sign(revoke_digest(addresses, dataset, study, epoch))


class Contracts:
    """Both contracts, as one account writes to them. All methods raise as `Sender.send`."""

    def __init__(self, sender: Sender, addresses: Addresses) -> None:
        self.sender, self.addresses = sender, addresses

    def _registry(self, once: str, function: str, *args: object) -> Mined:
        calldata = abi.contract(abi.REGISTRY).encode(function, *args)
        return self.sender.send(f"{function}/{once or uuid.uuid4()}", self.addresses.registry, calldata)

    def _ledger(self, once: str, function: str, *args: object) -> Mined:
        calldata = abi.contract(abi.LEDGER).encode(function, *args)
        return self.sender.send(f"{function}/{once}", self.addresses.ledger, calldata)

    # administrator, registrar, regulator ----------------------------------------------------------------

    def grant_role(self, role: str, account: bytes, *, once: str = "") -> Mined:
        return self._registry(once, "grantRole", role_id(role), account)

    def revoke_role(self, role: str, account: bytes, *, once: str = "") -> Mined:
        return self._registry(once, "revokeRole", role_id(role), account)

    def pause(self, *, once: str = "") -> Mined:
        return self._registry(once, "pause")

    def unpause(self, *, once: str = "") -> Mined:
        return self._registry(once, "unpause")

    # hospital -------------------------------------------------------------------------------------------

    def set_agent(self, agent: bytes, *, once: str = "") -> Mined:
        return self._registry(once, "setAgent", agent)

    def register_dataset(
        self, nonce: bytes, root: bytes, schema_hash: bytes, terms_hash: bytes, cohort_root: bytes
    ) -> Mined:
        """The id is `chain.dataset_id` of the sender and the nonce."""
        return self._registry(
            nonce.hex(), "registerDataset", nonce, root, schema_hash, terms_hash, cohort_root
        )

    def set_budget(
        self, dataset: bytes, rho_cap: int, delta_cap: int, exact_cap: int, *, once: str = ""
    ) -> Mined:
        return self._registry(once, "setBudget", dataset, rho_cap, delta_cap, exact_cap)

    def replace_cohort(self, dataset: bytes, cohort_root: bytes, applied: int, *, once: str = "") -> Mined:
        """``applied``: how many withdrawals the new cohort leaves out; all."""
        return self._registry(once, "replaceCohort", dataset, cohort_root, applied)

    def grant(self, terms: GrantTerms, *, once: str = "") -> Mined:
        return self._registry(once, "grant", astuple(terms))

    def grant_by_sig(self, terms: GrantTerms, deadline: int, signature: bytes) -> Mined:
        return self._registry(_short(signature), "grantBySig", astuple(terms), deadline, signature)

    def revoke(self, dataset: bytes, study: bytes, *, once: str = "") -> Mined:
        return self._registry(once, "revoke", dataset, study)

    def revoke_by_sig(self, dataset: bytes, study: bytes, signature: bytes) -> Mined:
        return self._registry(_short(signature), "revokeBySig", dataset, study, signature)

    def withdraw(
        self,
        dataset: bytes,
        key: bytes,
        commitment: bytes,
        proof: Sequence[bytes] = (),
        signature: bytes = b"",
    ) -> Mined:
        """By the steward without proof and signature; by anyone with the patient's."""
        name = withdraw_leaf(key, commitment).hex()
        return self._registry(
            f"{dataset.hex()}/{name}", "withdraw", dataset, key, commitment, proof, signature
        )

    # sponsor --------------------------------------------------------------------------------------------

    def register_study(self, terms: StudyTerms) -> Mined:
        """The id is `chain.study_id` of the sender and the spec's hash."""
        return self._registry(terms.spec_hash.hex(), "registerStudy", astuple(terms))

    def close_study(self, study: bytes) -> Mined:
        return self._registry(study.hex(), "closeStudy", study)

    # coordinator ----------------------------------------------------------------------------------------

    def lock(
        self,
        ctx: digests.Ctx,
        uses: Sequence[digests.Use],
        orgs: Sequence[bytes],
        ready_root: bytes,
        inputs_root: bytes,
        lock_by: int,
        upload_hashes: Sequence[bytes],
        signatures: Sequence[bytes],
    ) -> Mined:
        """Uses ascend by dataset, the other lists by organisation. Signatures are Receipts."""
        plan = digests.plan_hash(ctx.digest(), digests.uses_hash(uses), ready_root, inputs_root, lock_by)
        lock_id = digests.lock_id(plan, digests.receipts_root(orgs, upload_hashes))
        members = [astuple(use) for use in uses]
        return self._ledger(
            lock_id.hex(),
            "lock",
            *(astuple(ctx), members, orgs, ready_root, inputs_root, lock_by, upload_hashes, signatures),
        )

    def attest(
        self, study: bytes, seal: digests.Seal, orgs: Sequence[bytes], signatures: Sequence[bytes]
    ) -> Mined:
        """``orgs`` as locked; an empty signature is an absence."""
        present = "".join("1" if signature else "0" for signature in signatures)
        return self._ledger(
            f"{seal.lock_id.hex()}/{present}", "attest", study, astuple(seal), orgs, signatures
        )

    def recover(self, study: bytes, lock_id: bytes, org: bytes) -> Mined:
        """Lets the peers of ``org`` show their shares; from half of the study's window on, and for good."""
        return self._ledger(f"{lock_id.hex()}/{org.hex()}", "recover", study, lock_id, org)

    def abandon(self, study: bytes, lock_id: bytes) -> Mined:
        return self._ledger(lock_id.hex(), "abandon", study, lock_id)


def _short(signature: bytes) -> str:
    return keccak(signature).hex()
