"""A consortium on one machine: kits as `consilium provision` writes them, tables, and real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from consent_contracts.laptop import dev_key
from crypto.identity import AgentKey
from deploy.provision import Consortium, provision
from deploy.provision.kits import Provisioned
from tests.conftest import tiny_spec

SITES = ("h01", "h02", "h03")
COORDINATOR, SPONSOR, REGULATOR, FIRST_HOSPITAL = 1, 2, 3, 4

CONSORTIUM = """
schema = "consilium.consortium/1"
name = "trial"

[coordinator]
api = "127.0.0.1:{api}"
fleet = "127.0.0.1:{fleet}"

[chain]
id = 31337
rpc = ["{rpc}", "{rpc}"]
contracts = "deploy"
admin = "dev:0"

[transport]
kind = "{transport}"
path = "../mail.db"

[[organisation]]
name = "hub"
role = "coordinator"
account = "dev:1"

[[organisation]]
name = "sponsor"
role = "sponsor"
account = "dev:2"

[[organisation]]
name = "regulator"
role = "regulator"
account = "dev:3"
"""

HOSPITAL = """
[[organisation]]
name = "{name}"
role = "hospital"
account = "dev:{account}"
data = ["hospital.toml"]
"""

TABLE = """
schema = "consilium.hospital/1"
site = "{site}"
[source]
kind = "csv"
path = "table.csv"
patient_id = "mrn"
[columns.age]
from = "AGE"
unit = "a"
[columns.bmi]
from = "BMI"
unit = "kg"
[policy]
purposes = ["DUO:0000042"]
sums = ["fhe", "mpc"]
approve = "{approve}"
trusted = [{trusted}]
committee = [{committee}]
"""


MEMBER = """
[[organisation]]
name = "{name}"
role = "committee"
account = "new"
mesh = "127.0.0.1:{port}"
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def consortium(
    rpc: str, transport: str = "file", sites: tuple[str, ...] = SITES, members: tuple[str, ...] = ()
) -> str:
    api, fleet, *mesh = free_ports(2 + len(members))
    text = CONSORTIUM.format(api=api, fleet=fleet, rpc=rpc, transport=transport)
    hospitals = (HOSPITAL.format(name=n, account=FIRST_HOSPITAL + i) for i, n in enumerate(sites))
    committee = (MEMBER.format(name=n, port=port) for n, port in zip(members, mesh, strict=True))
    return text + "".join([*hospitals, *committee])


def address(account: int) -> bytes:
    return AgentKey.from_bytes(dev_key(account)).address


def write_table(
    kit: Path,
    site: str,
    seed: int,
    approve: str,
    peers: list[bytes],
    rows: int = 40,
    committee: Sequence[bytes] = (),
) -> None:
    rng = np.random.default_rng(seed)
    values = zip(rng.uniform(20, 90, rows), rng.uniform(18, 40, rows), strict=True)
    lines = [f"p{i},{age:.3f},{bmi:.3f}" for i, (age, bmi) in enumerate(values)]
    trusted, members = (", ".join(f'"0x{org.hex()}"' for org in orgs) for orgs in (peers, committee))
    for name, text in {
        "table.csv": "\n".join(["mrn,AGE,BMI", *lines]) + "\n",
        "hospital.toml": TABLE.format(site=site, approve=approve, trusted=trusted, committee=members),
    }.items():
        (kit / name).write_text(text)
        (kit / name).chmod(0o600)


@dataclass
class Trial:
    """Kits with data; processes are started one by one and ended by `close`."""

    folder: Path
    rpc: str
    transport: str = "file"
    approve: str = "auto"
    sites: tuple[str, ...] = SITES
    members: tuple[str, ...] = ()
    made: Provisioned = field(init=False)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.config = Consortium.load(consortium(self.rpc, self.transport, self.sites, self.members))
        self.made = provision(self.config, self.folder / "kits")
        orgs = self.made.organisations
        for i, site in enumerate(self.sites):
            peers = [orgs[s] for s in self.sites if s != site]
            committee = [orgs[m] for m in self.members]
            write_table(self.kit(site), site, 100 + i, self.approve, peers, committee=committee)

    def kit(self, name: str) -> Path:
        return self.made.kit(name)

    def spec(self, name: str = "tiny", rounds: int = 1, committee: str = "") -> Path:
        """A study file; with ``committee``, what its members say of themselves, its sums are shared."""
        path = self.folder / f"{name}.toml"
        made = tiny_spec(name, self.sites, rounds, sum_="mpc" if committee else "fhe", more=committee)
        document = made.model_dump(mode="json", by_alias=True, exclude_none=True)
        document["variables"]["bmi"]["unit"] = "kg"  # a hospital converts no kg/m2
        path.write_text(_toml(document))
        return path

    # processes ----------------------------------------------------------------------------------------

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One `consilium` command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "deploy", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def serve(self, name: str) -> subprocess.Popen[bytes]:
        role = {"hub": "coordinator", **dict.fromkeys(self.members, "committee")}.get(name, "participant")
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "deploy", role, "serve", "--kit", str(self.kit(name))],
                stderr=log,
                stdout=log,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        self._running[name] = process
        return process

    def serve_all(self) -> None:
        for name in ("hub", *self.sites, *self.members):
            self.serve(name)
        self.wait(lambda: self.ready("hub") is not None, 300.0)

    def ready(self, name: str) -> Mapping[str, int] | None:
        """What the serving process wrote about itself."""
        path, process = self.kit(name) / "state" / "serving.json", self._running[name]
        assert process.poll() is None, self.log(name)
        found = json.loads(path.read_text()) if path.exists() else {}
        return found if found.get("pid") == process.pid else None

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def wait(self, until: Callable[[], bool], timeout_s: float = 90.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            for name, process in self._running.items():
                assert process.poll() is None, f"{name} ended\n{self.log(name)}"
            assert time.monotonic() < deadline, {n: self.log(n)[-2000:] for n in self._running}
            time.sleep(0.1)

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        process = self._running.pop(name)
        process.send_signal(how)
        return process.wait(timeout_s)

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()


def _toml(document: Mapping[str, object], prefix: str = "") -> str:
    """Enough TOML for a study: its tables are inline but the top level's keys."""
    return "\n".join(f"{key} = {_value(value)}" for key, value in document.items()) + "\n"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
