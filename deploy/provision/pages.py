"""What stands in a kit besides keys: consilium.toml, and a page that says how to begin."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping

from consent_contracts.chain import Addresses
from deploy.provision.config import Consortium, Organisation

COMMANDS = {
    "hospital": "consilium participant serve",
    "coordinator": "consilium coordinator serve",
    "sponsor": "consilium study submit study.toml",
    "regulator": "consilium audit list",
    "committee": "consilium committee serve",
}


def config(consortium: Consortium, its: Organisation, orgs: Mapping[str, bytes], addresses: Addresses) -> str:
    """consilium.toml of one organisation, see `deploy.kit` and `coordinator.client.kit`."""
    hub = next(o for o in consortium.organisation if o.role == "coordinator")
    sites = {o.name: orgs[o.name] for o in consortium.organisation if o.role == "hospital"}
    chain = consortium.chain
    lines = [
        "# Made by `consilium provision`.",
        _line("schema", "consilium.kit/1"),
        _line("consortium", consortium.name),
        _line("name", its.name),
        _line("role", its.role),
        _line("organisation", orgs[its.name]),
        "",
        "[coordinator]",
        _line("target", consortium.coordinator.api),
        _line("fleet", consortium.coordinator.fleet),
        _line("address", orgs[hub.name]),
        "",
        "[chain]",
        _line("id", chain.id),
        _line("rpc", list(chain.rpc)),
        _line("registry", addresses.registry),
        _line("ledger", addresses.ledger),
        _line("since", addresses.since),
        _line("finality", chain.finality),
        "",
        "[sites]",
        *(_line(name, org) for name, org in sites.items()),
        "",
    ]
    if its.role in ("hospital", "coordinator", "committee"):
        lines += ["[transport]", _line("kind", consortium.transport.kind)]
        lines += [_line("path", consortium.transport.path)] * (consortium.transport.kind == "file")
        lines += ["", "[serve]", _line("state", "state"), _line("ops_port", _ops_port(consortium, its))]
    if its.role == "coordinator":
        own = consortium.coordinator
        lines += [
            _line("listen", own.listen or _listen(own.api)),
            _line("fleet_listen", own.fleet_listen or _listen(own.fleet)),
        ]
    members = {o.name: o for o in consortium.organisation if o.role == "committee"}
    if its.role == "coordinator" and members:
        lines += ["", "[members]", *(_line(name, orgs[name]) for name in members)]
    if its.role == "committee" and its.mesh is not None:
        lines += ["", "[committee]", _line("listen", _listen(its.mesh)), "", "[committee.peers]"]
        peers = {orgs[name]: o.mesh for name, o in members.items() if name != its.name}
        lines += [_line(f"0x{org.hex()}", mesh) for org, mesh in peers.items()]
    for path in its.data:
        lines += ["", "[[dataset]]", _line("config", path)]
    return "\n".join(lines).rstrip() + "\n"


def _ops_port(consortium: Consortium, its: Organisation) -> int:
    return its.ops_port or (consortium.coordinator.ops_port if its.role == "coordinator" else 0)


def _listen(endpoint: str) -> str:
    """On loopback for a loopback endpoint, else on every interface."""
    host, _, port = endpoint.rpartition(":")
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return f"127.0.0.1:{port}" if local else f"0.0.0.0:{port}"


def _line(key: str, value: object) -> str:
    if isinstance(value, bytes):
        value = f"0x{value.hex()}"
    # Of what may stand here, JSON's strings, lists and numbers are TOML's too.
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"


def readme(consortium: Consortium, its: Organisation, org: bytes) -> str:
    """The page of one kit."""
    parts = [
        f"# {consortium.name}: the kit of {its.name} ({its.role})",
        f"Organisation 0x{org.hex()}. Keep this folder to yourself (0700, files 0600) and back it up.",
        "Begin, in this folder:",
        f"    consilium doctor --kit .\n    {COMMANDS[its.role]} --kit .",
        *_ROLE[its.role],
        "Files: ca.pem (the consortium's authority), tls.pem and tls.key (who you are on the wire), consilium.toml.",
        _account(its),
        "Certificates end; `consilium doctor` warns a month before. The authority renews them:"
        f" consilium provision renew {its.name}",
    ]
    return "\n\n".join(parts) + "\n"


def _account(its: Organisation) -> str:
    if its.account is None:
        return (
            "Your account's key is not in this kit. Commands that send as the organisation take it by"
            " --account FILE (32 bytes, 0600)."
        )
    if its.account.startswith("dev:"):
        return "account.key is a public development key: for a chain on this laptop only."
    return "account.key sends transactions as the organisation; it needs a little of the chain's currency."


_ROLE: Mapping[str, tuple[str, ...]] = {
    "hospital": (
        "Before the first study: write a hospital.toml for your table, name it in consilium.toml as\n\n"
        '    [[dataset]]\n    config = "hospital.toml"\n\n'
        "and look at it with `consilium data check hospital.toml study.toml`. Name the peers that you trust under"
        " [policy] trusted; [sites] in consilium.toml lists everybody's address.",
        "When a study is offered:\n\n"
        "    consilium participant review --kit .\n"
        "    consilium participant approve STUDY --kit .     # or refuse STUDY",
        "agent.key signs for you in rounds (`consilium participant rotate-agent --kit .` replaces it), node.key is the"
        " wire's. state/ holds your vault key and everything remembered: losing it halts the studies you are in.",
    ),
    "coordinator": (
        "revoked.pem is the authority's list of revoked certificates; nodes/ the hospitals' wire keys; state/ the"
        " database. None of it is secret except tls.key and account.key.",
    ),
    "sponsor": ("hpke.key alone opens the results of your studies.",),
    "committee": (
        "`consilium committee init --kit .` prints what a study file says of you. You compute on shares: with one"
        " other member you could read every hospital's sums, so keep this kit from both.",
        "account.key signs what you compute, hpke.key opens the shares sealed to you, node.key is the wire's,"
        " revoked.pem the authority's list. state/ holds the vault key and the shares of rounds under way.",
    ),
    "regulator": ("hpke.key alone opens the sums in bundles: consilium audit verify --key hpke.key",),
}
