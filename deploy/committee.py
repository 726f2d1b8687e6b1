"""Committee members put together: what a study file says of one, and three of them on one machine."""

from __future__ import annotations

import base64
import secrets
import socket
from pathlib import Path

from crypto import envelopes, keyfiles
from crypto.identity import AgentKey
from crypto.mpc.handshake import Credentials, host_of
from deploy.provision.authority import Authority
from participants.committee.job import Bench

LAPTOP_DAYS = 30
MEMBERS = 3


def section(name: str, org: bytes, key: bytes) -> str:
    """[[committee]] of a study file.

    Args:
        key: HPKE public key.
    """
    return (
        f'[[committee]]\nname = "{name}"\norg = "0x{org.hex()}"\nhpke = "{base64.b64encode(key).decode()}"\n'
    )


def benches(folder: Path) -> list[Bench]:
    """Three members on loopback, under an authority of their own in ``folder``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = Authority.create(folder / "authority", "laptop committee", LAPTOP_DAYS)
    homes = [folder / f"m{i}" for i in range(1, MEMBERS + 1)]
    keys = []
    for home in homes:
        home.mkdir(mode=0o700, exist_ok=True)
        keys.append(AgentKey.load_or_create(home / "agent.key"))
    places = dict(zip((key.address for key in keys), _free_ports(MEMBERS), strict=True))
    return [_bench(home, key, authority, places) for home, key in zip(homes, keys, strict=True)]


def _bench(home: Path, key: AgentKey, authority: Authority, places: dict[bytes, tuple[str, int]]) -> Bench:
    if not (home / "tls.pem").exists():
        papers = authority.issue(home.name, "committee", key.address, [host_of(key.address)], LAPTOP_DAYS)
        (home / "tls.key").touch(mode=0o600)
        (home / "tls.key").write_bytes(papers.key)
        (home / "tls.pem").write_bytes(papers.certificate)
        (home / "ca.pem").write_bytes(authority.pem)
    return Bench(
        key=key.secret,
        hpke=keyfiles.load_or_create(home / "hpke.key", lambda: secrets.token_bytes(envelopes.SECRET_BYTES)),
        store_url=f"sqlite:///{home / 'committee.db'}",
        vault=home / "vault.key",
        credentials=Credentials(home / "ca.pem", home / "tls.pem", home / "tls.key"),
        listen=places[key.address],
        peers={org: place for org, place in places.items() if org != key.address},
    )


def _free_ports(n: int) -> list[tuple[str, int]]:
    """Ports that nobody listens on now."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    try:
        return [("127.0.0.1", server.getsockname()[1]) for server in servers]
    finally:
        for server in servers:
            server.close()
