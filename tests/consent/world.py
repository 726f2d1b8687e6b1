"""A small council on a laptop chain: four hospitals, a sponsor, a coordinator, a regulator."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from consent_contracts.chain import Addresses, Chain, dataset_id, study_id
from consent_contracts.contracts import AnalysisTerms, Contracts, GrantTerms, StudyTerms
from consent_contracts.laptop import Anvil, deploy, dev_key
from consent_contracts.rpc import Rpc
from consent_contracts.sender import Sender
from crypto.identity import AgentKey
from protos import digests

GRU = 0b1110  # what the tests' consents allow
ADMIN, COORDINATOR, SPONSOR, REGULATOR, FIRST_HOSPITAL = range(5)
RHO, DELTA = 1_000_000, 10**9
_count = itertools.count(1)


def h(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass
class Hospital:
    contracts: Contracts
    agent: AgentKey
    dataset: bytes
    version: int = 1
    epochs: dict[bytes, int] = field(default_factory=dict)

    @property
    def org(self) -> bytes:
        return self.contracts.sender.address


@dataclass(frozen=True)
class Round:
    """One lock as it was sent, and what is needed to seal it."""

    ctx: digests.Ctx
    hospitals: tuple[Hospital, ...]
    uses: tuple[digests.Use, ...]
    ready_root: bytes
    inputs_root: bytes
    lock_by: int
    uploads: tuple[bytes, ...]

    @property
    def orgs(self) -> tuple[bytes, ...]:
        return tuple(x.org for x in self.hospitals)

    @property
    def plan_hash(self) -> bytes:
        return digests.plan_hash(
            self.ctx.digest(), digests.uses_hash(self.uses), self.ready_root, self.inputs_root, self.lock_by
        )

    @property
    def receipts_root(self) -> bytes:
        return digests.receipts_root(self.orgs, self.uploads)

    @property
    def lock_id(self) -> bytes:
        return digests.lock_id(self.plan_hash, self.receipts_root)

    def seal(self, state_after: bytes | None = None) -> digests.Seal:
        return digests.Seal(
            lock_id=self.lock_id,
            plan_hash=self.plan_hash,
            receipts_root=self.receipts_root,
            state_before=self.ctx.state_commit,
            state_after=h(f"state {self.ctx.round}") if state_after is None else state_after,
            result_hash=h("result"),
            rho=self.ctx.rho,
            delta=self.ctx.delta,
            method=h("fhe"),
            params=h("params"),
            code_hash=self.ctx.code_hash,
            prev_seal=self.ctx.prev_seal,
        )


class World:
    """``hospitals`` ascend by organisation."""

    def __init__(self, anvil: Anvil) -> None:
        self.url = anvil.url
        self.rpc = Rpc(anvil.url)
        self.admin = Sender(self.rpc, dev_key(ADMIN))
        self.addresses: Addresses = deploy(self.admin)
        self.coordinator, self.sponsor, self.regulator = (
            self.writer(i) for i in (COORDINATOR, SPONSOR, REGULATOR)
        )
        governor = Contracts(self.admin, self.addresses)
        for role, writer in (
            ("COORDINATOR", self.coordinator),
            ("SPONSOR", self.sponsor),
            ("REGULATOR", self.regulator),
        ):
            governor.grant_role(role, writer.sender.address)
        self.governor = governor
        self.hospitals = sorted((self._hospital(i) for i in range(4)), key=lambda x: x.org)

    def writer(self, index: int) -> Contracts:
        return Contracts(Sender(self.rpc, dev_key(index)), self.addresses)

    def chain(self, *urls: str) -> Chain:
        return Chain(urls or (self.url, self.url), self.addresses)

    def _hospital(self, i: int) -> Hospital:
        writer = self.writer(FIRST_HOSPITAL + i)
        self.governor.grant_role("HOSPITAL", writer.sender.address)
        agent = AgentKey.generate()
        writer.set_agent(agent.address)
        nonce = h(f"nonce {i}")
        writer.register_dataset(nonce, h("root"), h("schema"), h("terms"), h("cohort"))
        dataset = dataset_id(writer.sender.address, nonce)
        writer.set_budget(dataset, 10**12, 10**15, 1000)
        return Hospital(writer, agent, dataset)

    def study(
        self,
        *,
        mode: int = digests.EXACT,
        window: int = 600,
        names: Sequence[str] = ("a", "b"),
        spec_hash: bytes = b"",
        prices: Mapping[str, tuple[int, int, bytes]] | None = None,
    ) -> bytes:
        spec_hash = spec_hash or h(f"spec {next(_count)}")
        price = (0, 0, digests.ZERO32) if mode == digests.EXACT else (RHO, DELTA, h("noise"))
        terms = StudyTerms(
            spec_hash=spec_hash,
            coordinator=self.coordinator.sender.address,
            purposes=0b1000,
            satisfies=0b11,
            scope=h("scope"),
            mode=mode,
            min_sites=3,
            collusion=1,
            window=window,
            sponsor_key=h("sponsor"),
            roster=tuple(x.org for x in self.hospitals),
            analyses=tuple(
                AnalysisTerms(digests.analysis_id(n), *(prices or {}).get(n, price)) for n in names
            ),
        )
        self.sponsor.register_study(terms)
        return study_id(self.sponsor.sender.address, spec_hash)

    def grant_terms(self, hospital: Hospital, study: bytes, *, seconds: int = 3600) -> GrantTerms:
        return GrantTerms(
            dataset=hospital.dataset,
            study=study,
            allowed=GRU,
            conditions=0b1,
            scope=digests.ZERO32,
            expiry=int(time.time()) + seconds,
            rho_cap=10**9,
            delta_cap=10**12,
            exact_cap=20,
        )

    def grant(self, hospital: Hospital, study: bytes, *, seconds: int = 3600) -> None:
        hospital.contracts.grant(self.grant_terms(hospital, study, seconds=seconds))
        hospital.epochs[study] = hospital.epochs.get(study, 0) + 1

    def revoke(self, hospital: Hospital, study: bytes) -> None:
        hospital.contracts.revoke(hospital.dataset, study)
        hospital.epochs[study] += 1

    def granted(self, **terms: Any) -> bytes:
        study = self.study(**terms)
        for hospital in self.hospitals:
            self.grant(hospital, study)
        return study

    def plan(
        self,
        study: bytes,
        *,
        hospitals: Sequence[Hospital] | None = None,
        analysis: str = "a",
        inputs: str = "inputs",
        attempt: int = 1,
        release: int = 1,
        leave: bool = False,
        **other: Any,
    ) -> Round:
        """The next round's lock, from the chain as it is."""
        chain = self.chain(self.url)
        view, head = chain.study(study), chain.head(study)
        price = chain.analysis(study, digests.analysis_id(analysis))
        ctx = digests.Ctx(
            chain_id=self.addresses.chain_id,
            registry=self.addresses.registry,
            ledger=self.addresses.ledger,
            study=study,
            analysis=digests.analysis_id(analysis),
            spec_hash=view.spec_hash,
            code_hash=h("code"),
            round=head.attested + 1,
            release=release,
            attempt=attempt,
            prev_seal=head.tip,
            state_commit=head.state_commit if head.attested else h("genesis"),
            mode=view.mode,
            rho=price.rho,
            delta=price.delta,
            noise=price.noise,
        )
        chosen = tuple(self.hospitals if hospitals is None else hospitals)
        return Round(
            ctx=replace(ctx, **other),
            hospitals=chosen,
            uses=tuple(
                sorted(digests.Use(x.dataset, x.version, x.epochs.get(study, 0), leave) for x in chosen)
            ),
            ready_root=h(f"ready {attempt}"),
            inputs_root=h(inputs),
            lock_by=int(time.time()) + 600,
            uploads=tuple(h(f"upload {attempt} {x.org.hex()}") for x in chosen),
        )

    def lock(self, round_: Round) -> list[bytes]:
        """The receipts' signatures."""
        domain = digests.ledger_domain(round_.ctx)
        signatures = [
            x.agent.sign(digests.receipt_digest(domain, round_.plan_hash, x.org, upload))
            for x, upload in zip(round_.hospitals, round_.uploads, strict=True)
        ]
        self.coordinator.lock(
            round_.ctx,
            round_.uses,
            round_.orgs,
            round_.ready_root,
            round_.inputs_root,
            round_.lock_by,
            round_.uploads,
            signatures,
        )
        return signatures

    def attest(self, round_: Round, seal: digests.Seal | None = None, *, absent: int = 0) -> bytes:
        seal = round_.seal() if seal is None else seal
        seal_id = seal.digest(digests.ledger_domain(round_.ctx))
        signatures = [b"" if i < absent else x.agent.sign(seal_id) for i, x in enumerate(round_.hospitals)]
        self.coordinator.attest(round_.ctx.study, seal, round_.orgs, signatures)
        return seal_id

    def run(self, study: bytes, *analyses: str) -> list[Round]:
        rounds = []
        for analysis in analyses:
            rounds.append(self.plan(study, analysis=analysis))
            self.lock(rounds[-1])
            self.attest(rounds[-1])
        return rounds
