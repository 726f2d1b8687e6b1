"""The consent gate once more, in plain Python, written from the rules and not from the contract.

`Registry.apply` takes the registry's events in the order of the chain and answers with the rules that an
event breaks. An event's effect is applied even then, so that one fault does not hide the next.

A dataset may be used for a study at time t iff: nothing is paused; the study is open; consent was granted
and not revoked since; t < expiry; all the study's purposes are allowed; all conditions are satisfied; no
patient withdrew since the cohort was made; its steward is a hospital. The use names the consent's epoch and
the cohort's version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_hash.auto import keccak

from consent_contracts.index import Event
from protos.evm_abi import encode

ADMIN = bytes(32)
NOBODY, ZERO = bytes(20), bytes(32)
EXACT, DP = 1, 2
ROLES = {
    ADMIN: "admin",
    **{keccak(name.encode()): name.lower() for name in ("REGISTRAR", "HOSPITAL", "SPONSOR")},
    **{keccak(name.encode()): name.lower() for name in ("COORDINATOR", "REGULATOR", "LEDGER")},
}

Broken = list[str]


@dataclass
class Dataset:
    steward: bytes
    version: int = 1
    withdrawn: set[bytes] = field(default_factory=set)
    applied: int = 0
    rho: list[int] = field(default_factory=lambda: [0, 0])  # cap, spent
    delta: list[int] = field(default_factory=lambda: [0, 0])
    exact: list[int] = field(default_factory=lambda: [0, 0])


@dataclass
class Consent:
    granted: bool = False
    epoch: int = 0
    allowed: int = 0
    conditions: int = 0
    expiry: int = 0
    rho: list[int] = field(default_factory=lambda: [0, 0])
    delta: list[int] = field(default_factory=lambda: [0, 0])
    exact: list[int] = field(default_factory=lambda: [0, 0])


@dataclass
class Study:
    """Terms as registered, by the contract's field names."""

    sponsor: bytes
    terms: Mapping[str, Any]
    closed: bool = False

    def price(self, analysis: bytes) -> Mapping[str, Any] | None:
        return next((a for a in self.terms["analyses"] if a["id"] == analysis), None)


class Registry:
    """State after the events so far; ``place``: count and running hash of its journal there.

    Args:
        ledger: the only account that may consume consent.
    """

    def __init__(self, ledger: bytes) -> None:
        self._ledger = ledger
        self.roles: dict[str, set[bytes]] = {name: set() for name in ROLES.values()}
        self.agents: dict[bytes, bytes] = {}
        self.datasets: dict[bytes, Dataset] = {}
        self.studies: dict[bytes, Study] = {}
        self.consents: dict[tuple[bytes, bytes], Consent] = {}
        self.paused = False
        self.place = (0, ZERO)
        self._heir: bytes | None = None
        self._founded = False
        self._rules: dict[str, Callable[[Any], Broken]] = {
            "RoleSet": self._role,
            "AdminTransferBegun": self._transfer,
            "AdminTransferCancelled": self._no_transfer,
            "AdminDelaySet": lambda a: [],
            "PauseSet": self._pause,
            "AgentSet": self._agent,
            "DatasetRegistered": self._dataset,
            "CohortReplaced": self._cohort,
            "BudgetSet": self._budget,
            "PatientWithdrew": self._withdrawal,
            "StudyRegistered": self._study,
            "StudyClosed": self._closing,
            "ConsentGranted": self._grant,
            "ConsentRevoked": self._revocation,
            "Charged": self._charged,
        }

    def apply(self, event: Event) -> Broken:
        rule = self._rules.get(event.name)
        self.place = (event.seq, event.head)
        return [f"no rule for {event.name}"] if rule is None else rule(event.args)

    def is_(self, role: str, account: bytes) -> bool:
        return account in self.roles[role]

    # organisations --------------------------------------------------------------------------------------

    def _role(self, a: Mapping[str, Any]) -> Broken:
        name, account = ROLES.get(a["role"]), a["account"]
        if name is None:
            return ["an unknown role"]
        holders = self.roles[name]
        broken = _unless((account in holders) != a["granted"], "the role was so already")
        if name == "admin":
            broken += self._admin(account, a["granted"])
        if name == "ledger" and a["granted"]:
            broken += _unless(account == self._ledger and not holders, "a second ledger")
        (holders.add if a["granted"] else holders.discard)(account)
        return broken

    def _admin(self, account: bytes, granted: bool) -> Broken:
        lawful = not granted or not self._founded or account == self._heir
        broken = _unless(lawful, "an administrator who was not announced")
        broken += _unless(not granted or not self.roles["admin"], "a second administrator")
        broken += _unless(granted or self._heir is not None, "the administrator left unannounced")
        if granted:
            self._founded, self._heir = True, None
        return broken

    def _transfer(self, a: Mapping[str, Any]) -> Broken:
        self._heir = a["newAdmin"]
        return []

    def _no_transfer(self, a: Mapping[str, Any]) -> Broken:
        self._heir = None
        return []

    def _pause(self, a: Mapping[str, Any]) -> Broken:
        role = "regulator" if a["paused"] else "admin"
        broken = _unless(self.is_(role, a["by"]), f"not by the {role}")
        broken += _unless(self.paused != a["paused"], "it was so already")
        self.paused = a["paused"]
        return broken

    def _agent(self, a: Mapping[str, Any]) -> Broken:
        org, agent = a["org"], a["agent"]
        taken_away = agent == NOBODY and org in self.agents
        broken = _unless(self.is_("hospital", org) or taken_away, "an agent of no hospital")
        self.agents.pop(org, None)
        if agent != NOBODY:
            self.agents[org] = agent
        return broken

    # datasets -------------------------------------------------------------------------------------------

    def _dataset(self, a: Mapping[str, Any]) -> Broken:
        broken = _unless(not self.paused, "while paused")
        broken += _unless(self.is_("hospital", a["steward"]), "not by a hospital")
        broken += _unless(a["dataset"] not in self.datasets, "the dataset exists")
        self.datasets[a["dataset"]] = Dataset(a["steward"])
        return broken

    def _cohort(self, a: Mapping[str, Any]) -> Broken:
        dataset = self.datasets.get(a["dataset"])
        if dataset is None:
            return ["an unknown dataset"]
        broken = _unless(a["applied"] == len(dataset.withdrawn), "not all withdrawals are left out")
        broken += _unless(a["version"] == dataset.version + 1, "a version out of turn")
        dataset.applied, dataset.version = a["applied"], a["version"]
        return broken

    def _budget(self, a: Mapping[str, Any]) -> Broken:
        dataset = self.datasets.get(a["dataset"])
        if dataset is None:
            return ["an unknown dataset"]
        dataset.rho[0], dataset.delta[0], dataset.exact[0] = a["rhoCap"], a["deltaCap"], a["exactCap"]
        return []

    def _withdrawal(self, a: Mapping[str, Any]) -> Broken:
        dataset = self.datasets.get(a["dataset"])
        if dataset is None:
            return ["an unknown dataset"]
        broken = _unless(a["leaf"] not in dataset.withdrawn, "withdrawn twice")
        dataset.withdrawn.add(a["leaf"])
        return broken

    # studies --------------------------------------------------------------------------------------------

    def _study(self, a: Mapping[str, Any]) -> Broken:
        terms, sponsor = a["terms"], a["sponsor"]
        broken = _unless(not self.paused, "while paused")
        broken += _unless(self.is_("sponsor", sponsor), "not by a sponsor")
        broken += _unless(a["study"] not in self.studies, "the study exists")
        own_id = keccak(encode(["address", "bytes32"], [sponsor, terms["specHash"]]))
        broken += _unless(own_id == a["study"], "the id is not made of sponsor and spec")
        broken += self._terms(terms)
        self.studies[a["study"]] = Study(sponsor, terms)
        return broken

    def _terms(self, t: Mapping[str, Any]) -> Broken:
        roster = t["roster"]
        broken = _unless(self.is_("coordinator", t["coordinator"]), "the coordinator has no role")
        broken += _unless(t["purposes"] != 0, "no purpose")
        broken += _unless(t["mode"] in (EXACT, DP), "an unknown mode")
        broken += _unless(t["minSites"] >= 3, "fewer than three hospitals")
        broken += _unless(t["collusion"] + 2 <= t["minSites"], "too few honest hospitals would remain")
        broken += _unless(t["window"] > 0 and t["sponsorKey"] != ZERO, "no window or no sponsor's key")
        broken += _unless(list(roster) == sorted(set(roster)), "the roster is not ascending")
        broken += _unless(len(roster) >= t["minSites"], "the roster is too short")
        broken += _unless(all(self.is_("hospital", o) for o in roster), "the roster names no hospital")
        ids = [x["id"] for x in t["analyses"]]
        broken += _unless(bool(ids) and len(set(ids)) == len(ids), "no analyses, or one twice")
        return broken + [why for x in t["analyses"] for why in _price(x, t["mode"])]

    def _closing(self, a: Mapping[str, Any]) -> Broken:
        study = self.studies.get(a["study"])
        if study is None:
            return ["an unknown study"]
        broken = _unless(a["by"] == study.sponsor or self.is_("regulator", a["by"]), "by a stranger")
        broken += _unless(not study.closed, "closed twice")
        study.closed = True
        return broken

    # consents -------------------------------------------------------------------------------------------

    def _grant(self, a: Mapping[str, Any]) -> Broken:
        study, dataset = self.studies.get(a["study"]), self.datasets.get(a["dataset"])
        if study is None or dataset is None:
            return ["an unknown study or dataset"]
        broken = _unless(not self.paused, "while paused")
        broken += _unless(not study.closed, "the study is closed")
        broken += _unless(dataset.steward in study.terms["roster"], "its steward is not on the roster")
        broken += _unless(a["allowed"] != 0, "nothing is allowed")
        broken += _unless(a["scope"] in (ZERO, study.terms["scope"]), "another scope than the study's")
        consent = self.consents.setdefault((a["dataset"], a["study"]), Consent())
        broken += _unless(a["epoch"] == consent.epoch + 1, "an epoch out of turn")
        consent.granted, consent.epoch = True, a["epoch"]
        consent.allowed, consent.conditions, consent.expiry = a["allowed"], a["conditions"], a["expiry"]
        consent.rho[0], consent.delta[0], consent.exact[0] = a["rhoCap"], a["deltaCap"], a["exactCap"]
        return broken

    def _revocation(self, a: Mapping[str, Any]) -> Broken:
        consent = self.consents.setdefault((a["dataset"], a["study"]), Consent())
        broken = _unless(consent.granted, "nothing was granted")
        broken += _unless(a["epoch"] == consent.epoch + 1, "an epoch out of turn")
        consent.granted, consent.epoch = False, a["epoch"]
        return broken

    def _charged(self, a: Mapping[str, Any]) -> Broken:
        return _unless(a["ledger"] == self._ledger, "consumed by another than the ledger")

    # the gate -------------------------------------------------------------------------------------------

    def not_live(self, dataset_id: bytes, study_id: bytes, time: int) -> Broken:
        """Why this dataset may not be used; empty: it may."""
        study, dataset = self.studies.get(study_id), self.datasets.get(dataset_id)
        consent = self.consents.get((dataset_id, study_id))
        if study is None or dataset is None or consent is None or not consent.granted:
            return ["no consent"]
        broken = _unless(not self.paused, "paused")
        broken += _unless(not study.closed, "the study is closed")
        broken += _unless(time < consent.expiry, "consent expired")
        broken += _unless(study.terms["purposes"] & ~consent.allowed == 0, "a purpose is not allowed")
        broken += _unless(consent.conditions & ~study.terms["satisfies"] == 0, "a condition is not satisfied")
        broken += _unless(dataset.applied == len(dataset.withdrawn), "patients withdrew")
        return broken + _unless(self.is_("hospital", dataset.steward), "the steward is suspended")

    def gate(
        self, study: bytes, uses: Sequence[Mapping[str, Any]], orgs: Sequence[bytes], time: int
    ) -> Broken:
        """Rules that this exact set breaks."""
        ids = [u["dataset"] for u in uses]
        broken = _unless(self.is_("ledger", self._ledger), "the ledger may not consume consent")
        broken += _unless(ids == sorted(set(ids)), "datasets are not ascending")
        stewards = {self.datasets[i].steward for i in ids if i in self.datasets}
        broken += _unless(stewards == set(orgs), "the organisations are not the datasets' stewards")
        for use in uses:
            why = self.not_live(use["dataset"], study, time)
            consent, dataset = self.consents.get((use["dataset"], study)), self.datasets.get(use["dataset"])
            if consent is not None and dataset is not None:
                why += _unless(consent.epoch == use["epoch"], "a stale epoch")
                why += _unless(dataset.version == use["version"], "a stale cohort")
            broken += [f"0x{use['dataset'].hex()[:12]}: {w}" for w in why]
        return broken

    def charge(self, study: bytes, datasets: Sequence[bytes], mode: int, rho: int, delta: int) -> Broken:
        """Book one release; what was overdrawn."""
        amounts = {"exact": 1} if mode == EXACT else {"rho": rho, "delta": delta}
        broken: Broken = []
        for dataset in datasets:
            for holder in (self.datasets.get(dataset), self.consents.get((dataset, study))):
                for what, amount in amounts.items():
                    account = getattr(holder, what, [0, 0])
                    account[1] += amount
                    broken += _unless(account[1] <= account[0], f"0x{dataset.hex()[:12]}: {what} overdrawn")
        return broken


def _price(analysis: Mapping[str, Any], mode: int) -> Broken:
    free = not (analysis["rho"] or analysis["delta"] or analysis["noise"] != ZERO)
    priced = analysis["rho"] > 0 and analysis["noise"] != ZERO
    return _unless(free if mode == EXACT else priced, "an analysis whose price does not fit the mode")


def _unless(lawful: bool, rule: str) -> Broken:
    return [] if lawful else [rule]
