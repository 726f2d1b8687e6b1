"""The artifacts are what the sources compile to, and say what a client needs to check deployed code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consent_contracts import compile as contracts
from consilium_errors import Refused

LIMIT = 24_576  # EIP-170


@pytest.mark.slow
def test_artifacts_are_byte_equal() -> None:
    compiled = contracts.compile_contracts()
    for name, text in compiled.items():
        assert (contracts.ARTIFACTS / f"{name}.json").read_bytes() == text.encode(), (
            f"make contracts ({name})"
        )


@pytest.mark.parametrize("name", contracts.CONTRACTS)
def test_artifact_is_complete(name: str) -> None:
    artifact = json.loads((contracts.ARTIFACTS / f"{name}.json").read_text())
    code = bytes.fromhex(artifact["deployedBytecode"][2:])
    assert 0 < len(code) <= LIMIT
    assert artifact["solc"].startswith("0.8.37+")
    assert artifact["settings"] == contracts.SETTINGS
    assert artifact["immutableReferences"]
    for start, length in artifact["immutableReferences"]:
        assert code[start : start + length] == bytes(length)


@pytest.mark.parametrize("name", contracts.CONTRACTS)
def test_nothing_of_this_machine_is_in_an_artifact(name: str) -> None:
    text = (contracts.ARTIFACTS / f"{name}.json").read_text()
    assert str(Path.home()) not in text
    assert str(contracts.HERE) not in text


def test_every_journalled_event_starts_with_its_number() -> None:
    for name in contracts.CONTRACTS:
        artifact = json.loads((contracts.ARTIFACTS / f"{name}.json").read_text())
        ours = [
            e
            for e in artifact["abi"]
            if e["type"] == "event" and e["inputs"] and e["inputs"][0]["name"] == "seq"
        ]
        assert ours
        for event in ours:
            assert event["inputs"][0]["indexed"], event["name"]
            assert event["inputs"][0]["type"] == "uint64", event["name"]


def test_lock_file_names_no_host() -> None:
    lock = json.loads((contracts.HERE / "package-lock.json").read_text())
    for path, package in lock["packages"].items():
        assert "resolved" not in package, path
        assert not path or package["integrity"].startswith("sha512-"), path


def test_source_that_does_not_compile_is_refused() -> None:
    broken = {"language": "Solidity", "sources": {"x.sol": {"content": "contract {"}}, "settings": {}}
    with pytest.raises(Refused) as caught:
        contracts.solc(broken)
    assert caught.value.code == "contracts.solc"
