"""A consortium on this machine: its chain, a kit for each organisation, and one process for each that serves.

Nothing of it is special to the demo: kits are made by `deploy.provision`, processes are `consilium coordinator
serve` and `consilium participant serve`, Flower on loopback is their mailbox.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import tomli_w

from consent_contracts.laptop import Anvil
from consent_contracts.rpc import Rpc
from consilium_children import bound
from consilium_errors import Misuse, Unavailable
from deploy.demo import funds
from deploy.demo.files import hospital_file
from deploy.demo.line import Line
from deploy.provision import Consortium, files, provision
from deploy.provision.config import LAPTOP_CHAIN
from deploy.provision.kits import Provisioned
from participants.config import HospitalConfig

COORDINATOR, SPONSOR, REGULATOR = "coordinator", "sponsor", "regulator"
STOP_S, START_S = 15.0, 120.0


@dataclass(frozen=True)
class Seat:
    """One hospital at the table: its name and, for each of its datasets, the file that describes it."""

    name: str
    datasets: tuple[HospitalConfig, ...]


class Federation:
    """All of it, for as long as the ``with`` block lasts; nothing outlives this process, however it ends.

    Args:
        folder: kits, logs and the chain's state go here.
        rpc: a node; None: an anvil of our own.
        admin: the account that deploys and pays on ``rpc`` (``env:NAME``, ``file:PATH``); None: anvil's accounts.
        approve: hospital → "auto" or "manual", in place of what its files say.
    """

    def __init__(
        self,
        folder: Path,
        seats: Sequence[Seat],
        *,
        rpc: str | None = None,
        admin: str | None = None,
        approve: Callable[[str], str] = lambda name: "auto",
    ) -> None:
        self.folder, self.seats, self._approve = folder, tuple(seats), approve
        self._rpc, self._admin = rpc, admin
        self._stack = ExitStack()
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self.kits: Provisioned
        self.line: Line

    def __enter__(self) -> Federation:
        try:
            self.logs = files.folder(self.folder / "logs")
            self.rpc = self._rpc or self._stack.enter_context(self._anvil()).url
            self._provision()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def kit(self, name: str) -> Path:
        return self.kits.kit(name)

    @property
    def own_chain(self) -> bool:
        """Whether the chain is an anvil of ours, whose state is kept in chain.json."""
        return self._rpc is None

    @property
    def names(self) -> list[str]:
        return [seat.name for seat in self.seats]

    def _anvil(self) -> Anvil:
        return Anvil(state=self.folder / "chain.json", save_s=None)

    # kits ---------------------------------------------------------------------------------------------

    def _provision(self) -> None:
        chain = Rpc(self.rpc).chain_id()
        if chain != LAPTOP_CHAIN and self._admin is None:
            raise Misuse(
                "demo.admin",
                f"on chain {chain} somebody must deploy the contracts and pay for it",
                "name an account that has a little currency: --admin env:NAME, or file:PATH",
            )
        text = tomli_w.dumps(self._consortium(chain))
        path = self.folder / "consortium.toml"
        files.write(path, text)
        self.kits = provision(Consortium.load(path), self.folder / "kits")
        if self._admin is not None:
            funds.spread(self.rpc, self._admin, list(self.kits.organisations.values()), path.parent)
        for seat in self.seats:
            peers = [self.kits.organisations[name] for name in self.names if name != seat.name]
            for number, config in enumerate(seat.datasets):
                text = hospital_file(config, peers, self._approve(seat.name))
                files.write(self.kit(seat.name) / _dataset(number), text)
        self._reroute()

    def _consortium(self, chain: int) -> dict[str, object]:
        ports = free_ports(2)
        account = "new" if self._admin else "dev:{}"
        people = [(COORDINATOR, "coordinator"), (SPONSOR, "sponsor"), (REGULATOR, "regulator")]
        people += [(name, "hospital") for name in self.names]
        organisations: list[dict[str, object]] = [
            {"name": name, "role": role, "account": account.format(1 + i)}
            for i, (name, role) in enumerate(people)
        ]
        for seat in self.seats:
            its = next(o for o in organisations if o["name"] == seat.name)
            its["data"] = [_dataset(number) for number in range(len(seat.datasets))]
        return {
            "schema": "consilium.consortium/1",
            "name": "demo",
            "coordinator": {"api": f"127.0.0.1:{ports[0]}", "fleet": f"127.0.0.1:{ports[1]}"},
            "chain": {
                "id": chain,
                "rpc": [self.rpc],
                "contracts": "deploy",
                "admin": self._admin or "dev:0",
            },
            "transport": {"kind": "flower"},
            "organisation": organisations,
        }

    def _reroute(self) -> None:
        """The coordinator reaches the chain over a line that can be slow; its kit is as before at the end."""
        path = self.kit(COORDINATOR) / "consilium.toml"
        before = path.read_text(encoding="utf-8")
        self.line = Line(self.rpc, self.kits.addresses.ledger)
        self._stack.enter_context(self.line)
        files.write(path, before.replace(json.dumps(self.rpc), json.dumps(self.line.url)))
        self._stack.callback(files.write, path, before)

    # processes ----------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Start the coordinator and the hospitals; returns when the coordinator answers.

        Raises:
            Unavailable: ``demo.ended``, ``demo.no_start``.
        """
        self._serve(COORDINATOR, "coordinator")
        for name in self.names:
            self._serve(name, "participant")
        self.wait(lambda: all(map(self._ready, [COORDINATOR, *self.names])), START_S)

    def _serve(self, name: str, role: str) -> None:
        command = [sys.executable, "-m", "deploy", role, "serve", "--kit", str(self.kit(name))]
        with (self.logs / f"{name}.log").open("wb") as log:
            self._servers[name] = subprocess.Popen(  # noqa: S603
                bound(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                # One thread each: five processes on two cores only get into each other's way.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def _ready(self, name: str) -> bool:
        try:
            told = json.loads((self.kit(name) / "state" / "serving.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(told["pid"] == self._servers[name].pid)

    def check(self) -> None:
        """Raises Unavailable ``demo.ended`` if one of the processes has."""
        for name, process in self._servers.items():
            if process.poll() is not None:
                raise Unavailable(
                    "demo.ended", f"{name}'s process ended", f"see {self.logs / name}.log; make demo again"
                )

    def wait(self, until: Callable[[], bool], timeout_s: float) -> None:
        """Raises Unavailable ``demo.ended``, ``demo.no_start``."""
        deadline = time.monotonic() + timeout_s
        while not until():
            self.check()
            if time.monotonic() > deadline:
                raise Unavailable("demo.no_start", "the processes are too slow", f"see {self.logs}")
            time.sleep(0.1)

    def close(self) -> None:
        for process in self._servers.values():
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in self._servers.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._servers.clear()
        self._stack.close()


def _dataset(number: int) -> str:
    return f"hospital-{number + 1}.toml"


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
