"""The doctor finds each fault that is planted, by its code, and has a remedy for it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from consent_contracts.proxy import Proxy
from consent_contracts.rpc import Rpc
from crypto import certificates
from crypto.identity import AgentKey
from deploy import agents, checks, doctor
from deploy.checks import Level
from deploy.hospital import Home
from deploy.kit import HospitalKit
from deploy.provision.authority import Authority
from participants.store import open_store
from tests.deploy.trial import Trial

Harm = Callable[[Path], object]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, chain_url: str) -> Trial:
    folder = tmp_path_factory.mktemp("doctor")
    made = Trial(folder, chain_url)
    with Home(HospitalKit.load(made.kit("h01"))) as home:
        agents.delegate(home, home.chain())
        home.hospital(home.chain())
    return made


@pytest.fixture
def kits(trial: Trial, home: Path) -> Path:
    shutil.copytree(trial.folder / "kits", home / "kits")
    return home / "kits"


def codes(kit: Path) -> dict[str, str]:
    return {f.code: f.remedy for f in doctor.of_kit(kit) if f.code}


def text(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


@pytest.mark.parametrize("name", ["h01", "hub", "sponsor", "regulator"])
def test_nothing_is_wrong_with_a_fresh_kit(kits: Path, name: str) -> None:
    findings = list(doctor.of_kit(kits / name))
    assert {f.code for f in findings if f.level is Level.FAILING} == set(), doctor.report(findings)
    assert not doctor.failed(findings)
    assert {"kit", "certificate", "clock", "role", "finality"} <= {f.check for f in findings}


def _expired(kit: Path) -> None:
    authority = Authority.open(kit.parent / "authority")
    org = HospitalKit.load(kit).config.organisation
    papers = authority.issue("h01", "hospital", org, [], 30, at=certificates.now() - timedelta(days=60))
    (kit / "tls.pem").write_bytes(papers.certificate)
    (kit / "tls.key").write_bytes(papers.key)


def _ends(kit: Path) -> None:
    authority = Authority.open(kit.parent / "authority")
    org = HospitalKit.load(kit).config.organisation
    papers = authority.issue("h01", "hospital", org, [], 7)
    (kit / "tls.pem").write_bytes(papers.certificate)
    (kit / "tls.key").write_bytes(papers.key)


def _other_role(kit: Path) -> None:
    for name in ("tls.pem", "tls.key"):
        shutil.copy(kit.parent / "sponsor" / name, kit / name)


def _foreign(kit: Path) -> None:
    stranger = Authority.create(kit.parent / "stranger", "stranger", 30)
    papers = stranger.issue("h01", "hospital", HospitalKit.load(kit).config.organisation, [], 30)
    (kit / "tls.pem").write_bytes(papers.certificate)
    (kit / "tls.key").write_bytes(papers.key)


def _other_vault(kit: Path) -> None:
    from crypto.vault import Vault

    its = HospitalKit.load(kit)
    store = open_store(its.store_url, Vault.load_or_create(kit / "state" / "vault.key"))
    store.commit([("studies", "offer-" + "0" * 64, b"x")])
    store.close()
    (kit / "state" / "vault.key").write_bytes(bytes(range(32)))


HARMS: dict[str, Harm] = {
    "kit.folder": lambda kit: kit.chmod(0o750),
    "kit.permissions": lambda kit: (kit / "ca.pem").chmod(0o644),
    "key_file.permissions": lambda kit: (kit / "agent.key").chmod(0o640),
    "key_file.malformed": lambda kit: (kit / "agent.key").write_bytes(b"short"),
    "kit.no_key": lambda kit: (kit / "agent.key").unlink(),
    "certificate.missing": lambda kit: (kit / "tls.pem").unlink(),
    "certificate.malformed": lambda kit: (kit / "tls.pem").write_bytes(b"no"),
    "certificate.key": lambda kit: shutil.copy(kit.parent / "h02" / "tls.key", kit / "tls.key"),
    "certificate.expired": _expired,
    "certificate.ends": _ends,
    "certificate.role": _other_role,
    "certificate.foreign": _foreign,
    "kit.invalid": lambda kit: text(kit / "consilium.toml", 'role = "hospital"', 'role = "king"'),
    "kit.missing": lambda kit: (kit / "consilium.toml").unlink(),
    "chain.wrong_id": lambda kit: text(kit / "consilium.toml", "id = 31337", "id = 1"),
    "chain.wrong_code": lambda kit: text(kit / "consilium.toml", 'ledger = "0x', 'ledger = "0x' + "00" * 20 + '" #'),
    "rpc.unreachable": lambda kit: text(kit / "consilium.toml", 'rpc = ["http', 'rpc = ["http://127.0.0.1:9", "http'),
    "agent.not_delegated": lambda kit: (kit / "agent.key").write_bytes(AgentKey.generate().secret),
    "account.foreign": lambda kit: shutil.copy(kit.parent / "h02" / "account.key", kit / "account.key"),
    "chain.no_role": lambda kit: text(kit / "consilium.toml", "organisation = ", f'organisation = "0x{"7" * 40}" #'),
    "config.invalid": lambda kit: text(kit / "hospital.toml", "AGE", "AGE\"\ncolour = \"red"),
    "policy.trusted_peers": lambda kit: text(kit / "hospital.toml", "trusted = [", "trusted = [] #"),
    "vault.open": _other_vault,
}  # fmt: skip


@pytest.mark.parametrize("code", HARMS)
def test_each_planted_fault_is_found(kits: Path, code: str) -> None:
    HARMS[code](kits / "h01")
    found = codes(kits / "h01")
    assert code in found, found
    assert found[code], "no remedy"


def test_a_table_that_is_not_there(kits: Path) -> None:
    (kits / "h01" / "table.csv").unlink()
    assert any(code.startswith("source.") for code in codes(kits / "h01"))


def test_what_the_coordinator_needs_of_others(kits: Path) -> None:
    (kits / "hub" / "revoked.pem").write_bytes(b"none")
    assert "certificate.list" in codes(kits / "hub")
    (kits / "hub" / "account.key").unlink()
    assert "kit.no_key" in codes(kits / "hub")


def test_nodes_that_disagree(kits: Path, chain_url: str) -> None:
    class Liar(Proxy):
        def told(self, method: str, params: list[object], result: object) -> object:
            if method == "eth_getBlockByNumber" and isinstance(result, dict):
                return {**result, "hash": "0x" + "ab" * 32}
            return result

    with Liar(chain_url) as liar:
        config = HospitalKit.load(kits / "h01").config.chain
        found = list(checks.nodes([chain_url, liar.url], config.addresses(), "finalized"))
    assert "chain.rpcs_disagree" in {f.code for f in found}


def test_one_node_is_a_warning(kits: Path, chain_url: str) -> None:
    config = HospitalKit.load(kits / "h01").config.chain
    found = list(checks.nodes([chain_url], config.addresses(), "finalized"))
    assert {(f.code, f.level) for f in found if f.code} == {("chain.one_node", Level.WARNING)}


@pytest.mark.parametrize(
    ("shift", "code"), [(0.0, ""), (-100.0, "clock.behind"), (1000.0, "clock.ahead"), (5.0, "")]
)
def test_a_clock_that_is_wrong(chain_url: str, shift: float, code: str) -> None:
    assert checks.clock(Rpc(chain_url), lambda: time.time() + shift).code == code


@pytest.mark.parametrize(
    ("free", "code", "level"),
    [
        (10 << 30, "", Level.GOOD),
        (1 << 30, "disk.low", Level.WARNING),
        (1 << 20, "disk.full", Level.FAILING),
    ],
)
def test_a_disk_that_fills(home: Path, free: int, code: str, level: Level) -> None:
    found = checks.disk(home, lambda _: free)
    assert (found.code, found.level) == (code, level)


def test_an_account_that_runs_dry(chain_url: str, trial: Trial) -> None:
    assert checks.gas(Rpc(chain_url), trial.made.organisations["hub"]).code == ""
    assert checks.gas(Rpc(chain_url), AgentKey.generate().address).code == "gas.empty"
    poor = AgentKey.generate().address
    Rpc(chain_url).call("anvil_setBalance", "0x" + poor.hex(), hex(10**12))
    assert checks.gas(Rpc(chain_url), poor).code == "gas.low"


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The packages' versions as pip would tell them."""
    from importlib import metadata

    told: dict[str, str] = {}
    real = metadata.version

    def version(name: str) -> str:
        if told.get(name) == "":
            raise metadata.PackageNotFoundError(name)
        return told.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    return told


def test_packages_are_the_pinned_ones(versions: dict[str, str]) -> None:
    assert doctor.packages().code == ""
    versions["tenseal"] = "0.3.17"
    assert doctor.packages().code == "version.package"
    assert "tenseal 0.3.17" in doctor.packages().says
    versions["tenseal"] = ""
    assert "tenseal is missing" in doctor.packages().says


def test_the_report_names_code_and_remedy() -> None:
    findings = [checks.good("a", "fine"), checks.failing("b", "x.y", "broken", "mend it")]
    assert doctor.report(findings).splitlines() == [
        "good  a  fine",
        "FAIL  b  broken [x.y]",
        "         → mend it",
    ]
    assert doctor.failed(findings)
    assert not doctor.failed([checks.warning("c", "x.z", "hm", "look")])
