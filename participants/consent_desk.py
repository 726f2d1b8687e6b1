"""The consent desk: what the steward's own key does on the chain. It stays offline between uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from consent_contracts import duo
from consent_contracts.chain import dataset_id
from consent_contracts.contracts import Contracts, GrantTerms


@dataclass(frozen=True)
class Terms:
    """What a hospital permits: DUO codes with their values, how long, and at what price.

    Attributes:
        codes: GA4GH DUO permissions and modifiers.
        values: values of codes that need one, as ``{"DUO:0000007": "MONDO:0004992"}``.
        expiry: unix seconds.
        rho_cap: 1e-9 zCDP. delta_cap: 1e-18. exact_cap: releases.
    """

    codes: tuple[str, ...]
    values: Mapping[str, str]
    expiry: int
    rho_cap: int = 0
    delta_cap: int = 0
    exact_cap: int = 0


class ConsentDesk:
    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts

    @property
    def org(self) -> bytes:
        return self._contracts.sender.address

    def delegate(self, agent: bytes) -> None:
        """Let the hospital's agent key sign receipts and seals."""
        self._contracts.set_agent(agent)

    def register(
        self, nonce: bytes, *, root: bytes, schema_hash: bytes, terms_hash: bytes, cohort_root: bytes
    ) -> bytes:
        """Register a frozen dataset by its commitments; returns its id."""
        self._contracts.register_dataset(nonce, root, schema_hash, terms_hash, cohort_root)
        return dataset_id(self.org, nonce)

    def budget(self, dataset: bytes, *, rho: int, delta: int, exact: int) -> None:
        """Cap what all studies together may spend of a dataset."""
        self._contracts.set_budget(dataset, rho, delta, exact)

    def grant(self, datasets: Iterable[bytes], study: bytes, terms: Terms) -> None:
        allowed, conditions, scope = duo.consent_terms(terms.codes, terms.values)
        for dataset in datasets:
            self._contracts.grant(
                GrantTerms(
                    dataset=dataset,
                    study=study,
                    allowed=allowed,
                    conditions=conditions,
                    scope=scope,
                    expiry=terms.expiry,
                    rho_cap=terms.rho_cap,
                    delta_cap=terms.delta_cap,
                    exact_cap=terms.exact_cap,
                )
            )

    def revoke(self, datasets: Iterable[bytes], study: bytes) -> None:
        for dataset in datasets:
            self._contracts.revoke(dataset, study)
