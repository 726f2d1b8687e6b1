"""Kits: what is in them, who may read it, what the certificates say, renewal and revocation."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from consent_contracts.rpc import Rpc
from consilium_errors import Misuse, Refused
from crypto import certificates, envelopes, keyfiles
from crypto.certificates import Revocations, check_own, member_of
from crypto.identity import AgentKey
from deploy.kit import CoordinatorKit, HospitalKit
from deploy.mailboxes import node_keys
from deploy.provision import Consortium, provision, renew, revoke
from deploy.provision.authority import Authority
from deploy.provision.onchain import has_role
from deploy.reviewing import regulator_key
from tests.deploy.trial import FIRST_HOSPITAL, SITES, address, consortium

NAMES = ("hub", "sponsor", "regulator", *SITES)


@pytest.fixture(scope="module")
def text(chain_url: str) -> str:
    return consortium(chain_url)


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory, text: str) -> Path:
    """Made once, read only."""
    out = tmp_path_factory.mktemp("provision") / "kits"
    provision(Consortium.load(text), out)
    return out


@pytest.fixture
def authority(home: Path) -> Authority:
    return Authority.create(home / "authority", "trial", 3650)


def test_nobody_else_reads_any_of_it(kits: Path) -> None:
    assert kits.stat().st_mode & 0o777 == 0o700
    found = list(kits.rglob("*"))
    assert {p.parent.name for p in found if p.name == "tls.key"} == set(NAMES)
    for path in found:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_each_has_the_keys_of_its_role_and_no_other(kits: Path) -> None:
    keys = {name: {p.name for p in (kits / name).glob("*.key")} for name in NAMES}
    assert keys["hub"] == {"tls.key", "account.key"}
    assert keys["sponsor"] == keys["regulator"] == {"tls.key", "account.key", "hpke.key"}
    for site in SITES:
        assert keys[site] == {"tls.key", "account.key", "agent.key", "node.key"}
    envelopes.public_of(keyfiles.load(kits / "sponsor" / "hpke.key"))
    private = [p.read_bytes() for p in kits.rglob("*.key") if p.parent.name != "authority"]
    assert len(set(private)) == len(private), "two kits share a key"


def test_hospitals_know_to_whom_they_may_seal_sums(kits: Path) -> None:
    public = envelopes.public_of(keyfiles.load(kits / "regulator" / "hpke.key"))
    for site in SITES:
        assert regulator_key(HospitalKit.load(kits / site)) == public
    with pytest.raises(Misuse) as caught:
        regulator_key(HospitalKit.load(kits / "h01"), kits / "nothing.pub")
    assert caught.value.code == "kit.regulator"


@pytest.mark.parametrize("name", NAMES)
def test_a_certificate_speaks_for_its_organisation(kits: Path, name: str) -> None:
    kit = kits / name
    member = check_own(*[(kit / n).read_bytes() for n in ("ca.pem", "tls.pem", "tls.key")])
    document = tomllib.loads((kit / "consilium.toml").read_text())
    assert (member.role, f"0x{member.org.hex()}") == (document["role"], document["organisation"])
    left = member.not_after - datetime.now(UTC)
    assert timedelta(days=395) < left < timedelta(days=398)


def test_only_the_coordinator_answers_as_a_server(kits: Path) -> None:
    ca = x509.load_pem_x509_certificate((kits / "authority" / "ca.pem").read_bytes())
    for name in NAMES:
        pem = (kits / name / "tls.pem").read_bytes()
        own = x509.load_pem_x509_certificate(pem)
        uses = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert (ExtendedKeyUsageOID.SERVER_AUTH in uses) == (name == "hub")
        assert ExtendedKeyUsageOID.CLIENT_AUTH in uses
        PolicyBuilder().store(Store([ca])).build_client_verifier().verify(own, [])
    hub = x509.load_pem_x509_certificate((kits / "hub" / "tls.pem").read_bytes())
    subject = x509.IPAddress(ip_address("127.0.0.1"))
    PolicyBuilder().store(Store([ca])).build_server_verifier(subject).verify(hub, [])
    other = x509.IPAddress(ip_address("127.0.0.2"))
    with pytest.raises(VerificationError):
        PolicyBuilder().store(Store([ca])).build_server_verifier(other).verify(hub, [])


def test_the_authority_signs_members_only(kits: Path) -> None:
    ca = x509.load_pem_x509_certificate((kits / "authority" / "ca.pem").read_bytes())
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert not any("ca.key" in p.name for name in NAMES for p in (kits / name).rglob("*"))


def test_node_keys_reach_the_coordinator(kits: Path) -> None:
    found = node_keys(CoordinatorKit.load(kits / "hub"))
    assert set(found) == {address(FIRST_HOSPITAL + i) for i in range(len(SITES))}
    for i, site in enumerate(SITES):
        private = load_ssh_private_key((kits / site / "node.key").read_bytes(), None)
        assert private.public_key() == load_ssh_public_key(found[address(FIRST_HOSPITAL + i)])
        assert private.key_size == 256  # type: ignore[union-attr]


def test_the_chain_knows_every_role(kits: Path, chain_url: str) -> None:
    its = HospitalKit.load(kits / "h01").config
    addresses = its.chain.addresses()
    for name in NAMES:
        document = tomllib.loads((kits / name / "consilium.toml").read_text())
        org = bytes.fromhex(document["organisation"][2:])
        assert has_role(Rpc(chain_url), addresses, document["role"].upper(), org)
    assert not has_role(Rpc(chain_url), addresses, "SPONSOR", its.organisation)


def test_provisioning_again_replaces_nothing(text: str, home: Path) -> None:
    first = provision(Consortium.load(text), home / "kits")
    kits = home / "kits"
    before = {p: p.read_bytes() for p in kits.rglob("*") if p.is_file() and ".db" not in p.name}
    (kits / "h02" / "tls.pem").unlink()
    second = provision(Consortium.load(text), kits)
    assert second.addresses == first.addresses
    renewed = {kits / "h02" / "tls.pem", kits / "h02" / "tls.key"}
    assert {p for p, content in before.items() if p.read_bytes() != content} == renewed
    check_own(*[(home / "kits" / "h02" / n).read_bytes() for n in ("ca.pem", "tls.pem", "tls.key")])


def test_an_address_only_organisation_has_no_account_key(text: str, home: Path) -> None:
    org = AgentKey.generate().address
    edited = text.replace(f'account = "dev:{FIRST_HOSPITAL}"', f'address = "0x{org.hex()}"')
    made = provision(Consortium.load(edited), home / "kits")
    assert made.organisations["h01"] == org
    assert not (home / "kits" / "h01" / "account.key").exists()
    assert "--account FILE" in (home / "kits" / "h01" / "README.md").read_text()


def test_without_an_administrator_the_roles_are_left(text: str, home: Path) -> None:
    made = provision(Consortium.load(text), home / "kits")
    there = made.addresses
    named = f'contracts = {{ registry = "0x{there.registry.hex()}", ledger = "0x{there.ledger.hex()}" }}'
    edited = text.replace('contracts = "deploy"', named).replace('admin = "dev:0"\n', "")
    edited = edited.replace('account = "dev:2"', 'account = "new"')
    second = provision(Consortium.load(edited), home / "others")
    assert [line.split(",")[0] for line in second.left] == ["grantRole(SPONSOR"]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (lambda t: t.replace('role = "coordinator"', 'role = "hospital"'), "exactly one coordinator"),
        (lambda t: t.replace("id = 31337", "id = 1"), "development accounts are public"),
        (lambda t: t.replace('name = "h02"', 'name = "h01"'), "a name of its own"),
        (lambda t: t.replace('account = "dev:5"', ""), "account or an address"),
        (lambda t: t.replace('admin = "dev:0"', ""), "chain.admin"),
        (lambda t: t.replace('name = "h02"', 'name = "../h02"'), "organisation.4.name"),
        (lambda t: t.replace("[chain]", "[chain]\ncolour = 1"), "chain.colour"),
        (lambda t: t + "[[", "not TOML"),
        (lambda t: t.replace('account = "dev:5"', 'account = "dev:4"'), "same account"),
    ],
)
def test_faults_of_the_file_are_named(text: str, home: Path, how: Callable[[str], str], says: str) -> None:
    with pytest.raises(Misuse) as caught:
        provision(Consortium.load(how(text)), home / "kits")
    assert caught.value.code == "consortium.invalid"
    assert says in str(caught.value)


def test_an_open_folder_is_refused(text: str, home: Path) -> None:
    (home / "kits").mkdir(mode=0o755)
    with pytest.raises(Misuse) as caught:
        provision(Consortium.load(text), home / "kits")
    assert caught.value.code == "kit.folder"


# renewal ------------------------------------------------------------------------------------------------


def _kit(authority: Authority, home: Path, **how: datetime) -> Path:
    kit = home / "h01"
    kit.mkdir(mode=0o700)
    papers = authority.issue("h01", "hospital", b"\1" * 20, ["council.example", "10.0.0.1"], 30, **how)
    (kit / "ca.pem").write_bytes(authority.pem)
    (kit / "tls.pem").write_bytes(papers.certificate)
    (kit / "tls.key").write_bytes(papers.key)
    return kit


def test_renewal_keeps_the_name_and_changes_the_key(authority: Authority, home: Path) -> None:
    kit = _kit(authority, home, at=datetime.now(UTC) - timedelta(days=60))
    files = [kit / n for n in ("ca.pem", "tls.pem", "tls.key")]
    with pytest.raises(Misuse) as caught:
        check_own(*[f.read_bytes() for f in files])
    assert caught.value.code == "certificate.expired"
    old = x509.load_pem_x509_certificate(files[1].read_bytes())
    member = renew(kit, authority)
    assert (member.role, member.org) == ("hospital", b"\1" * 20)
    new = x509.load_pem_x509_certificate(files[1].read_bytes())
    check_own(*[f.read_bytes() for f in files])
    assert new.public_key() != old.public_key()
    alternative = x509.SubjectAlternativeName
    assert set(new.extensions.get_extension_for_class(alternative).value) == set(
        old.extensions.get_extension_for_class(alternative).value
    )
    assert (kit / "tls.pem.old").read_bytes() == old.public_bytes(serialization.Encoding.PEM)
    for path in kit.glob("tls.*"):
        assert path.name.endswith(".old") or path.stat().st_mode & 0o777 == 0o600


def test_a_foreign_kit_is_not_renewed(authority: Authority, home: Path) -> None:
    stranger = Authority.create(home / "stranger", "stranger", 10)
    kit = _kit(stranger, home)
    with pytest.raises(Misuse) as caught:
        renew(kit, authority)
    assert caught.value.code == "certificate.foreign"


def test_a_revoked_member_is_known_everywhere(authority: Authority, home: Path) -> None:
    kit = _kit(authority, home)
    lost = member_of((kit / "tls.pem").read_bytes())
    listed = Revocations(authority.folder / "revoked.pem", authority.pem)
    listed.check(lost)
    renew(kit, authority)
    revoke("h01", authority, keep=kit / "tls.pem")
    with pytest.raises(Refused) as caught:
        listed.check(lost)
    assert caught.value.code == "certificate.revoked"
    listed.check(member_of((kit / "tls.pem").read_bytes()))
    revoke("h01", authority)
    with pytest.raises(Refused):
        listed.check(member_of((kit / "tls.pem").read_bytes()))
    with pytest.raises(Misuse) as unknown:
        revoke("h0", authority)
    assert unknown.value.code == "certificate.unknown"


def test_an_authority_is_opened_not_made_twice(authority: Authority) -> None:
    again = Authority.create(authority.folder, "other", 1)
    assert again.pem == authority.pem
    (authority.folder / "ca.pem").write_bytes(b"-----BEGIN")
    with pytest.raises(Misuse) as caught:
        Authority.open(authority.folder)
    assert caught.value.code == "authority.malformed"


def test_a_kit_of_another_role_is_named(kits: Path) -> None:
    with pytest.raises(Misuse) as caught:
        HospitalKit.load(kits / "hub")
    assert caught.value.code == "kit.role"
    with pytest.raises(Misuse) as caught:
        CoordinatorKit.load(kits / "h01")
    assert caught.value.code == "kit.role"
    assert certificates.uri("hospital", b"\1" * 20).startswith("consilium://hospital/0x01")
