from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from analytics.study import StudySpec
from consilium_errors import Refused
from participants.config import HospitalConfig
from participants.policy import Facts, decide
from tests.participants.hospitals import EXAMPLES, HOSPITAL, lung

PEERS = tuple(bytes(19) + bytes([last]) for last in (0xB0, 0xC0, 0xD0))


def facts(spec: StudySpec, **changed: Any) -> Facts:
    usual = Facts(
        spec_hash=spec.spec_hash,
        purposes=0b0100,
        permitted=0b1110,
        peers=PEERS,
        rows=36,
        exact_left=5,
        exact_this_year=0,
    )
    return replace(usual, **changed)


def refused(code: str, spec: StudySpec, hospital: str = HOSPITAL, **changed: Any) -> None:
    with pytest.raises(Refused) as error:
        decide(HospitalConfig.load(hospital), spec, facts(spec, **changed))
    assert error.value.code == f"policy.{code}"


def test_a_study_within_the_rules_is_allowed() -> None:
    decide(HospitalConfig.load(HOSPITAL), lung(), facts(lung()))


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("spec", {"spec_hash": bytes(32)}),
        ("purpose", {"purposes": 0b0001}),
        ("purpose", {"purposes": 0b0101}),
        ("purpose", {"purposes": 0}),
        ("trusted_peers", {"peers": PEERS[:1]}),
        ("trusted_peers", {"peers": PEERS[:1] * 5}),
        ("trusted_peers", {"peers": PEERS[1:]}),
        ("min_rows", {"rows": 14}),
        ("row_cap", {"rows": 1001}),
        ("budget", {"exact_left": 1}),
        ("budget", {"exact_this_year": 19}),
    ],
)
def test_each_fact_that_breaks_a_rule(code: str, changed: dict[str, Any]) -> None:
    refused(code, lung(), **changed)


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        ("site", '"h01", ', '"h02", '),
        ("disease", "MONDO:0004992", "MONDO:0007254"),
        ("disease", 'disease = "MONDO:0004992", ', ""),
        ("commercial", "commercial = false", "commercial = true"),
        ("sum", 'sum = "fhe"', 'sum = "clear"'),
        ("min_cell", "min_cell = 5", "min_cell = 4"),
    ],
)
def test_each_plan_that_breaks_a_rule(code: str, old: str, new: str) -> None:
    refused(code, lung(**{old: new}))


@pytest.mark.parametrize(
    ("code", "table", "rule"),
    [
        ("min_sites", "disclosure", "min_sites = 4"),
        ("min_cell", "disclosure", "min_cell = 6"),
        ("min_rows", "disclosure", "min_rows = 37"),
        ("trusted_peers", "policy", "min_trusted = 3"),
        ("budget", "budget", "exact_releases_per_year = 1"),
    ],
)
def test_each_rule_of_a_stricter_hospital(code: str, table: str, rule: str) -> None:
    text = HOSPITAL.replace("[policy]", f"[policy]\n{rule}")
    refused(code, lung(), text if table == "policy" else f"{HOSPITAL}\n[{table}]\n{rule}\n")


def test_a_hospital_without_trusted_peers_takes_part_in_nothing() -> None:
    trusted = next(line for line in HOSPITAL.splitlines() if line.startswith("trusted"))
    refused("trusted_peers", lung(), HOSPITAL.replace(trusted, ""))


def test_commercial_and_clear_are_possible_when_the_hospital_says_so() -> None:
    text = HOSPITAL.replace("[policy]", '[policy]\ncommercial = true\nsums = ["fhe", "clear"]')
    spec = lung(**{"commercial = false": "commercial = true", 'sum = "fhe"': 'sum = "clear"'})
    decide(HospitalConfig.load(text), spec, facts(spec))


def test_a_hospital_without_a_list_of_diseases_takes_any() -> None:
    text = HOSPITAL.replace('diseases = ["MONDO:0004992"]', "")
    spec = lung(**{'disease = "MONDO:0004992", ': ""})
    decide(HospitalConfig.load(text), spec, facts(spec))


def test_analyses_that_were_paid_for_are_not_counted_again() -> None:
    spec = lung()
    decide(HospitalConfig.load(HOSPITAL), spec, facts(spec, exact_left=0, exact_this_year=20, opened=2))
    refused("budget", spec, exact_left=0, opened=1)


def test_only_a_trusted_committee_computes_on_our_shares() -> None:
    members = "\n".join(
        f'[[committee]]\nname = "m{i}"\norg = "0x{i:040x}"\nhpke = "{b64encode(bytes([i]) * 1216).decode()}"\n'
        for i in (1, 2, 3)
    )
    spec = StudySpec.load((EXAMPLES / "lung" / "study.toml").read_text().replace('"fhe"', '"mpc"') + members)
    trusting = HOSPITAL.replace("[policy]", '[policy]\nsums = ["fhe", "mpc"]')
    three = ", ".join(f'"0x{i:040x}"' for i in (1, 2, 3))
    refused("sum", spec)
    refused("committee", spec, trusting)
    for listed, allowed in ((three, True), (three[:90], False)):
        text = trusting.replace("[policy]", f"[policy]\ncommittee = [{listed}]")
        if allowed:
            decide(HospitalConfig.load(text), spec, facts(spec))
        else:
            refused("committee", spec, text)
