"""Write the kits: one folder for each organisation, everything in it for its one command.

Running it again adds what is missing and renews configuration and pages; no key and no certificate that is there
is replaced. The folder that results holds secrets of every organisation: hand each its own, then delete the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from consent_contracts.chain import Addresses
from consilium_errors import Misuse
from crypto import envelopes, keyfiles
from crypto.identity import AgentKey
from crypto.mpc.handshake import host_of
from deploy.provision import accounts, files, onchain, pages
from deploy.provision.authority import Authority
from deploy.provision.config import Consortium, Organisation

HPKE_ROLES = ("sponsor", "regulator", "committee")
#: Who has a wire to the coordinator's mailbox.
WIRED = ("hospital", "committee")
NODES = "nodes"
REGULATORS = "regulators"


@dataclass(frozen=True)
class Provisioned:
    """What was made. ``left``: what an administrator of the contracts must still do by hand."""

    folder: Path
    addresses: Addresses
    organisations: Mapping[str, bytes]
    left: tuple[str, ...]

    def kit(self, name: str) -> Path:
        return self.folder / name


def provision(consortium: Consortium, out: Path, *, base: Path = Path()) -> Provisioned:
    """Make or complete the kits of a consortium in ``out`` (0700).

    Args:
        base: where relative key files of consortium.toml start.

    Raises:
        Misuse: ``kit.folder``, ``account.*``, ``kit.other_account``. Hostile: ``chain.wrong_id``.
        Unavailable: a node is away, the disk is full.
    """
    files.folder(out)
    authority = Authority.create(out / "authority", consortium.name, consortium.authority.own_days)
    orgs = {o.name: _identity(o, files.folder(out / o.name), base) for o in consortium.organisation}
    if len(set(orgs.values())) != len(orgs):
        raise Misuse("consortium.invalid", "two organisations have the same account", "give each its own")
    admin = consortium.chain.admin
    addresses, left = onchain.settle(
        consortium.chain,
        None if admin is None else _admin(admin, out / "authority", base),
        out / "authority",
        [(o.role.upper(), orgs[o.name]) for o in consortium.organisation if o.role != "committee"],
    )
    for organisation in consortium.organisation:
        _papers(authority, consortium, organisation, orgs[organisation.name], out / organisation.name)
    hub = next(o.name for o in consortium.organisation if o.role == "coordinator")
    _hub(
        authority,
        out / hub,
        {o.name: orgs[o.name] for o in consortium.organisation if o.role in WIRED},
        out,
    )
    _regulators(consortium, orgs, out)
    for organisation in consortium.organisation:
        kit = out / organisation.name
        text = pages.config(consortium, organisation, orgs, addresses)
        files.write(kit / "consilium.toml", text)
        if organisation.role == "committee":
            (kit / "revoked.pem").write_bytes((authority.folder / "revoked.pem").read_bytes())
        files.write(kit / "README.md", pages.readme(consortium, organisation, orgs[organisation.name]))
    return Provisioned(out, addresses, orgs, tuple(left))


def _identity(organisation: Organisation, kit: Path, base: Path) -> bytes:
    """The organisation's address; its account's key lies in the kit unless it stays at home."""
    if organisation.address is not None:
        return organisation.address
    path = kit / "account.key"
    named = organisation.account or "new"
    if not path.exists():
        files.write_new(path, accounts.key_of(named, base).secret)
    found = AgentKey.from_bytes(keyfiles.load(path)).address
    if named != "new" and accounts.key_of(named, base).address != found:
        raise Misuse(
            "kit.other_account",
            f"{kit} was made for another account than {named}",
            "restore consortium.toml, or provision into another folder",
        )
    return found


def _admin(account: str, authority: Path, base: Path) -> AgentKey:
    if account != "new":
        return accounts.key_of(account, base)
    return AgentKey.load_or_create(authority / "admin.key")


def hosts(consortium: Consortium) -> list[str]:
    """Under which names the coordinator answers."""
    named = [consortium.coordinator.api, consortium.coordinator.fleet]
    return sorted({endpoint.rpartition(":")[0] for endpoint in named})


def _papers(authority: Authority, consortium: Consortium, its: Organisation, org: bytes, kit: Path) -> None:
    files.write(kit / "ca.pem", authority.pem)
    if not (kit / "tls.pem").exists() or not (kit / "tls.key").exists():
        names = hosts(consortium) if its.role == "coordinator" else []
        if its.role == "committee":
            names = [host_of(org)]
        papers = authority.issue(its.name, its.role, org, names, consortium.authority.days)
        files.write(kit / "tls.key", papers.key)
        files.write(kit / "tls.pem", papers.certificate)
    if its.role == "hospital":
        AgentKey.load_or_create(kit / "agent.key")
    if its.role in WIRED and not (kit / "node.key").exists():
        _node(kit)
    if its.role in HPKE_ROLES:
        import secrets

        keyfiles.load_or_create(kit / "hpke.key", lambda: secrets.token_bytes(32))


def _node(kit: Path) -> None:
    """The key by which Flower's SuperLink knows a node, in OpenSSH's form, as Flower reads it.

    P-256: every request is signed, and P-384 takes six times as long.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    files.write(kit / "node.pub", public + b"\n")
    files.write(kit / "node.key", secret)


def _hub(authority: Authority, kit: Path, wired: Mapping[str, bytes], out: Path) -> None:
    """What the coordinator must know of others: who is revoked, and each one's node key."""
    files.write(kit / "revoked.pem", (authority.folder / "revoked.pem").read_bytes())
    nodes = files.folder(kit / NODES)
    for name, org in wired.items():
        files.write(nodes / f"0x{org.hex()}.pub", (out / name / "node.pub").read_bytes())


def _regulators(consortium: Consortium, orgs: Mapping[str, bytes], out: Path) -> None:
    """To whom hospitals may seal the sums of a bundle: each regulator's HPKE public key."""
    keys = {
        f"0x{orgs[o.name].hex()}.pub": envelopes.public_of(keyfiles.load(out / o.name / "hpke.key"))
        for o in consortium.organisation
        if o.role == "regulator"
    }
    for hospital in (o.name for o in consortium.organisation if o.role == "hospital"):
        folder = files.folder(out / hospital / REGULATORS)
        for name, key in keys.items():
            files.write(folder / name, key)


def fingerprints(out: Path) -> Iterator[tuple[str, str]]:
    """Name of each kit and SHA-256 of its certificate, to read to each other over the telephone."""
    for path in sorted(out.glob("*/tls.pem")):
        yield path.parent.name, hashlib.sha256(path.read_bytes()).hexdigest()
