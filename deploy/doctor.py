"""`consilium doctor`: what is wrong with this machine, and with a kit and its chain; and how to mend it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Protocol

from consent_contracts.code import code_hash
from consent_contracts.rpc import Rpc
from consilium_errors import Error
from coordinator.client.kit import Kit, KitConfig
from crypto import keyfiles
from crypto.identity import AgentKey
from deploy import checks
from deploy.checks import Finding, Level, failing, good, warning
from deploy.hospital import Home
from deploy.kit import CoordinatorKit, HospitalKit
from participants.datasets import Dataset

KEYS = {
    "hospital": ("agent.key",),
    "coordinator": ("account.key",),
    "sponsor": ("account.key", "hpke.key"),
    "regulator": ("hpke.key",),
    "committee": ("account.key", "hpke.key"),
}


def examine(kit: Path | None) -> list[Finding]:
    """Everything; without a kit the machine only. No fault keeps the other checks from being made."""
    findings = list(machine())
    return findings if kit is None else [*findings, *of_kit(kit)]


def report(findings: Sequence[Finding]) -> str:
    """Plain text: one line each, the remedy below what is not good."""
    marks = {Level.GOOD: "good", Level.WARNING: "WARN", Level.FAILING: "FAIL"}
    width = max(len(f.check) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{marks[f.level]}  {f.check:{width}}  {f.says}{f' [{f.code}]' if f.code else ''}")
        if f.remedy:
            lines.append(f"{'':{6 + width}}  → {f.remedy}")
    return "\n".join(lines)


def failed(findings: Sequence[Finding]) -> bool:
    return any(f.level is Level.FAILING for f in findings)


# machine --------------------------------------------------------------------------------------------------


def machine() -> Iterator[Finding]:
    yield _python(sys.version_info[:2])
    yield packages()
    yield good("code", f"participants of a round must all show {code_hash().hex()[:16]}")
    yield generators()
    yield checks.disk(Path.cwd())


def _python(version: tuple[int, int]) -> Finding:
    says = f"{version[0]}.{version[1]}"
    if version != (3, 11):
        return failing(
            "python",
            "version.python",
            f"{says}, expected 3.11",
            "make a virtual environment with Python 3.11",
        )
    return good("python", says)


class Fits(Protocol):
    """`packaging.specifiers.SpecifierSet.contains`."""

    def __call__(self, item: str, prereleases: bool | None = None) -> bool: ...


def packages() -> Finding:
    """``version.package`` for the first package that is not what this distribution asks for."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = metadata.requires("consilium") or []
    except metadata.PackageNotFoundError:
        return warning(
            "packages", "version.unknown", "consilium is not installed", "make setup, or pip install it"
        )
    seen = 0
    for line in wanted:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        fault = _package(requirement.name, str(requirement.specifier), requirement.specifier.contains)
        if fault is not None:
            return fault
        seen += 1
    return good("packages", f"{seen} as pinned")


def _package(name: str, wanted: str, fits: Fits) -> Finding | None:
    remedy = "install what requirements.lock says"
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return failing("packages", "version.package", f"{name} is missing", remedy)
    if not fits(found, prereleases=True):
        return failing("packages", "version.package", f"{name} {found}, expected {wanted}", remedy)
    return None


def generators() -> Finding:
    """``generators.none``, ``generators.unwritable``: the commitments' points, derived once."""
    from crypto.commitments.generators import default_cache_dir

    folder = default_cache_dir()
    count = len(list(folder.glob("pedersen-v1-*.g1"))) if folder.is_dir() else 0
    if count:
        return good("generators", f"{count} chunks in the cache")
    parent = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(parent, os.W_OK):
        return warning(
            "generators",
            "generators.unwritable",
            f"{folder} cannot be made: they are derived at each start",
            "make it writable, or set CONSILIUM_CACHE",
        )
    return warning(
        "generators", "generators.none", "not derived yet", "nothing: the first round takes seconds longer"
    )


# kit ------------------------------------------------------------------------------------------------------


def of_kit(folder: Path) -> Iterator[Finding]:
    try:
        config = Kit.load(folder).config
    except Error as error:
        yield checks.of("kit", error)
        return
    yield from checks.folder(folder)
    yield from checks.keys(folder, KEYS[config.role])
    yield checks.certificate(folder, config.role, config.organisation)
    yield from _chain(folder, config)
    if config.role == "hospital":
        yield from _hospital(folder)
    if config.role == "coordinator":
        yield from _coordinator(folder)


def _chain(folder: Path, config: KitConfig) -> Iterator[Finding]:
    its = config.chain
    yield from checks.nodes(its.rpc, its.addresses(), its.finality)
    rpc = Rpc(its.rpc[0], timeout=5.0)
    yield checks.clock(rpc)
    if (folder / "account.key").exists():
        yield _account(folder, config.organisation)
    if config.role == "committee":  # it sends no transactions, and the contracts do not know it
        return
    if (folder / "account.key").exists():
        yield checks.gas(rpc, config.organisation)
    yield _role(rpc, config)


def _account(folder: Path, org: bytes) -> Finding:
    try:
        found = AgentKey.from_bytes(keyfiles.load(folder / "account.key")).address
    except Error as error:
        return checks.of("account", error)
    if found != org:
        says = f"account.key is 0x{found.hex()}, the kit is 0x{org.hex()}'s"
        return failing("account", "account.foreign", says, "restore the kit's own account.key")
    return good("account", f"0x{org.hex()}")


def _role(rpc: Rpc, config: KitConfig) -> Finding:
    from deploy.provision.onchain import has_role

    try:
        known = has_role(rpc, config.chain.addresses(), config.role.upper(), config.organisation)
    except Error as error:
        return checks.of("role", error)
    if not known:
        says = f"the registry does not know this organisation as {config.role}"
        return failing("role", "chain.no_role", says, "ask the contracts' administrator to grant the role")
    return good("role", f"{config.role} in the registry")


def _hospital(folder: Path) -> Iterator[Finding]:
    try:
        kit = HospitalKit.load(folder)
        if kit.config.transport.kind == "flower":
            yield _node_key(folder)
        with Home(kit) as home:
            yield from _datasets(home.datasets.listed)
            yield _agent(home)
            yield _memory(home)
            yield checks.disk(kit.state)
    except Error as error:
        yield checks.of("hospital", error)


def _datasets(listed: Sequence[Dataset]) -> Iterator[Finding]:
    from participants.sources import read

    if not listed:
        yield warning(
            "datasets",
            "dataset.none",
            "no hospital.toml is named",
            "name one under [[dataset]] in consilium.toml",
        )
    for dataset in listed:
        name = f"dataset {dataset.name}"
        try:
            rows = read(dataset.config)
        except Error as error:
            yield checks.of(name, error)
            continue
        trusted, needed = dataset.config.policy.trusted_addresses, dataset.config.policy.min_trusted
        if len(trusted) < needed:
            says = f"{len(trusted)} trusted peers, {needed} are needed: every study would be refused"
            yield warning(
                name, "policy.trusted_peers", says, "name them under [policy] trusted in hospital.toml"
            )
        else:
            yield good(name, f"{rows.n} rows can be read")


def _agent(home: Home) -> Finding:
    from deploy import agents

    try:
        agents.check_delegated(home, home.chain())
    except Error as error:
        return checks.of("agent", error)
    return good("agent", "known to the chain")


def _memory(home: Home) -> Finding:
    """The store opens under the vault's key."""
    from participants.hospital import STUDIES
    from participants.store import open_store

    try:
        store = open_store(home.kit.store_url, home.vault)
        try:
            count = len(store.slots(STUDIES, "offer-"))
        finally:
            store.close()
    except Error as error:
        return checks.of("memory", error)
    return good("memory", f"opens under the vault's key; {count} studies were offered")


def _node_key(folder: Path) -> Finding:
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        load_ssh_private_key((folder / "node.key").read_bytes(), None)
    except (OSError, ValueError):
        return failing(
            "key node.key", "transport.node_key", "missing or damaged", "restore it, or provision again"
        )
    return good("key node.key", "present")


def _coordinator(folder: Path) -> Iterator[Finding]:
    from crypto.certificates import Revocations
    from deploy.mailboxes import node_keys

    try:
        kit = CoordinatorKit.load(folder)
        Revocations(folder / "revoked.pem", kit.ca.read_bytes())
        yield good("revocations", "the authority's list is here")
        if kit.config.transport.kind == "flower":
            yield good("wire keys", f"of {len(node_keys(kit))} hospitals")
        kit.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield checks.disk(kit.state)
    except Error as error:
        yield checks.of("coordinator", error)
