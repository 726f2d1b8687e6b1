"""A coordinator's real server over the laptop council: real TLS, real chain, hospitals in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from analytics.study import StudySpec
from consent_contracts.chain import Chain
from consent_contracts.laptop import dev_key
from coordinator.client import Consilium, Sponsor
from coordinator.client.connection import Connection
from coordinator.server import Server, ServerConfig
from crypto import keyfiles
from crypto.certificates import Role
from deploy.council import COORDINATOR, REGULATOR, SPONSOR, Council, MadeData, Seat
from protos.consilium.v1 import services_pb2_grpc as rpc
from tests.api.pki import Authority, Papers
from tests.conftest import tiny_spec, tiny_table

SITES = ("a", "b", "c", "d")


class Stand:
    def __init__(self, folder: Path, rpc_url: str, **config: Any) -> None:
        self._stack = ExitStack()
        self.folder = folder
        (folder / "council").mkdir(mode=0o700)
        self.council = Council(
            folder / "council",
            rpc_url,
            {name: MadeData(tiny_table(i), sums=("fhe", "clear")) for i, name in enumerate(SITES)},
        )
        self._stack.callback(self.council.close)
        self.authority = Authority()
        self.revoked = folder / "revoked.pem"
        self.revoked.write_bytes(self.authority.revocations())
        own = self.authority.issue("coordinator", self.council.coordinator.me)
        made = ServerConfig("127.0.0.1:0", **own.files(folder / "kit"), revoked=self.revoked)
        self.config = replace(made, **config)
        self.server = self._stack.enter_context(Server(self.council.coordinator, self.config))

    # who calls -------------------------------------------------------------------------------------------

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def org(self, role: Role, site: str = "a") -> bytes:
        if role == "hospital":
            return self.seat(site).desk.org
        account = {"sponsor": SPONSOR, "regulator": REGULATOR, "coordinator": COORDINATOR}[role]
        return self.council.sender(account).address

    def papers(self, role: Role, site: str = "a", **how: Any) -> Papers:
        return self.authority.issue(role, self.org(role, site), **how)

    def client(self, role: Role = "sponsor", site: str = "a", papers: Papers | None = None) -> Consilium:
        papers = papers or self.papers(role, site)
        account = Sponsor(
            self.council.contracts(SPONSOR),
            self.council.coordinator.me,
            {name: self.seat(name).desk.org for name in SITES},
            self.council.sponsor_secret,
        )
        client = Consilium.connect(
            self.target,
            ca=papers.ca,
            certificate=papers.certificate,
            key=papers.key,
            chain=Chain([self.council.rpc_url], self.council.addresses),
            account=account if role == "sponsor" else None,
        )
        self._stack.callback(client.close)
        return client

    def connection(self, papers: Papers) -> Connection:
        made = Connection(self.target, ca=papers.ca, certificate=papers.certificate, key=papers.key)
        self._stack.callback(made.close)
        return made

    def raw(self, papers: Papers, **options: Any) -> Any:
        """Stubs without our client's own care."""
        return rpc.StudyServiceStub(self.channel(papers, **options))

    def channel(self, papers: Papers, **options: Any) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(papers.ca, papers.key, papers.certificate)
        channel = grpc.secure_channel(self.target, credentials, options=list(options.items()))
        self._stack.callback(channel.close)
        return channel

    # hospitals -------------------------------------------------------------------------------------------

    def seat(self, name: str) -> Seat:
        return self.council.seats[name]

    def consent(self, study: bytes, spec: StudySpec, name: str) -> None:
        """The hospital's people say yes, and its steward grants on the chain."""
        seat = self.seat(name)
        self.wait(lambda: study in seat.hospital.offers())
        seat.datasets[spec.id] = self.council._dataset(seat, spec)
        seat.hospital.accept(study, (seat.datasets[spec.id],), 0)
        self.council.grant(seat, spec, study)

    def tick(self) -> bool:
        done = False
        for seat in self.council.seats.values():
            done |= seat.hospital.tick()
        return done

    def wait(self, until: Callable[[], bool], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline, "nothing happens any more"
            if not self.tick():
                time.sleep(0.01)

    def spec(self, name: str, **how: Any) -> StudySpec:
        return tiny_spec(name, SITES, sum_=how.pop("sum_", "clear"), **how)

    def kit(self, role: Role = "sponsor", site: str = "a") -> Path:
        """A kit folder, as an organisation is given it."""
        folder = self.folder / f"kit-{role}-{site}"
        self.papers(role, site).files(folder)
        where = self.council.addresses
        sites = "".join(f'{name} = "0x{self.seat(name).desk.org.hex()}"\n' for name in SITES)
        (folder / "consilium.toml").write_text(
            f"""schema = "consilium.kit/1"
role = "{role}"
organisation = "0x{self.org(role, site).hex()}"
[coordinator]
target = "{self.target}"
address = "0x{self.council.coordinator.me.hex()}"
[chain]
id = {where.chain_id}
rpc = ["{self.council.rpc_url}"]
registry = "0x{where.registry.hex()}"
ledger = "0x{where.ledger.hex()}"
since = {where.since}
[sites]
{sites}"""
        )
        if role == "sponsor":
            for name, secret in (
                ("account.key", dev_key(SPONSOR)),
                ("hpke.key", self.council.sponsor_secret),
            ):
                keyfiles.load_or_create(folder / name, lambda secret=secret: secret)  # type: ignore[misc]
        return folder

    def close(self) -> None:
        self._stack.close()
