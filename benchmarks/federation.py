"""A consortium of real processes on one machine, from kits as `consilium provision` writes them, over Flower.

Coordinator, its SuperLink, and for each hospital its process and its node; the chain is an anvil. Times are read
from the coordinator's log: a round lasts from its word that one seal is final to its word on the next.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np

from analytics.study import StudySpec
from benchmarks.council import names
from consilium_errors import Unavailable
from coordinator.client import Consilium, Phase, StudyHandle
from deploy.provision import Consortium, provision

ROOT = Path(__file__).parents[1]
HUB, SPONSOR = "hub", "sponsor"
ROWS = 40
START_S, STOP_S = 180.0, 30.0
_CONSORTIUM = """
schema = "consilium.consortium/1"
name = "benchmark"
[coordinator]
api = "127.0.0.1:{api}"
fleet = "127.0.0.1:{fleet}"
[chain]
id = 31337
rpc = ["{rpc}", "{rpc}"]
contracts = "deploy"
admin = "dev:0"
[[organisation]]
name = "hub"
role = "coordinator"
account = "dev:1"
[[organisation]]
name = "sponsor"
role = "sponsor"
account = "dev:2"
"""
_HOSPITAL = """
[[organisation]]
name = "{name}"
role = "hospital"
account = "dev:{account}"
data = ["hospital.toml"]
"""
_TABLE = """
schema = "consilium.hospital/1"
site = "{site}"
[source]
kind = "csv"
path = "table.csv"
patient_id = "mrn"
[columns.age]
from = "AGE"
unit = "a"
[columns.weight]
from = "WEIGHT"
unit = "kg"
[columns.death]
from = "DIED"
map = {{ 1 = 1, 0 = 0 }}
[policy]
purposes = ["DUO:0000042"]
sums = ["fhe", "clear"]
approve = "auto"
trusted = [{trusted}]
"""


class Federation:
    """Kits in ``folder`` (0700); the processes run for as long as the ``with`` block lasts.

    Args:
        made: hospitals send made updates of any size instead of training (`benchmarks.role`), after
            ``work_s`` seconds of single-threaded work.

    Raises:
        Unavailable: ``benchmark.ended`` when a process ends, ``benchmark.timeout``.
    """

    def __init__(
        self, folder: Path, rpc: str, hospitals: int, *, made: bool = False, work_s: float = 0.0
    ) -> None:
        self.folder, self.sites = folder, names(hospitals)
        self._made, self._work_s = made, work_s
        api, fleet = free_ports(2)
        text = _CONSORTIUM.format(api=api, fleet=fleet, rpc=rpc)
        text += "".join(_HOSPITAL.format(name=n, account=4 + i) for i, n in enumerate(self.sites))
        self._kits = provision(Consortium.load(text), folder / "kits")
        orgs = self._kits.organisations
        for seed, site in enumerate(self.sites):
            trusted = ", ".join(f'"0x{orgs[s].hex()}"' for s in self.sites if s != site)
            self._write(site, "hospital.toml", _TABLE.format(site=site, trusted=trusted))
            self._write(site, "table.csv", _rows(seed))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def _write(self, site: str, name: str, text: str) -> None:
        path = self._kits.kit(site) / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    # processes ----------------------------------------------------------------------------------------

    def __enter__(self) -> Federation:
        try:
            for name in (HUB, *self.sites):
                self._start(name)
            self.wait(self._hub_ready, START_S)
        except BaseException:
            self.close()
            raise
        return self

    def _start(self, name: str) -> None:
        kit = str(self._kits.kit(name))
        role = "coordinator" if name == HUB else "participant"
        command = ["-m", "deploy", role, "serve", "--kit", kit]
        if self._made and name != HUB:
            command = ["-m", "benchmarks.role", "--kit", kit, "--work-s", str(self._work_s)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )

    def _hub_ready(self) -> bool:
        path = self._kits.kit(HUB) / "state" / "serving.json"
        return path.exists() and json.loads(path.read_text())["pid"] == self.processes[HUB].pid

    def wait(self, until: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise Unavailable("benchmark.ended", f"{name} ended: {self._tail(name)}")
            if time.monotonic() > deadline:
                raise Unavailable("benchmark.timeout", f"waited {timeout_s:.0f} s: {self._tail(HUB)}")
            time.sleep(0.1)

    def _tail(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-1000:]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def resident(self) -> dict[str, float]:
        """Role → most MB that one process of it holds now: ``coordinator``, ``superlink``, ``hospital``, ``node``,
        ``cipher`` (the child processes in which sums are decrypted)."""
        largest: dict[str, float] = {}
        for name, process in self.processes.items():
            own = "coordinator" if name == HUB else "hospital"
            for pid, command in _tree(process.pid):
                role = own if pid == process.pid else _child(command)
                largest[role] = max(largest.get(role, 0.0), _resident_mb(pid))
        return largest

    # studies ------------------------------------------------------------------------------------------

    @property
    def sponsor(self) -> Path:
        return self._kits.kit(SPONSOR)

    def rounds(self, spec: StudySpec, count: int, timeout_s: float) -> list[float]:
        """Seconds of rounds 2 to ``count`` of a study, which is cancelled then unless it is finished."""
        with Consilium.from_kit(self.sponsor) as sponsor:
            study = sponsor.submit(spec)
            study.start()
            before = len(self._sealed())
            self.wait(lambda: len(self._sealed()) >= before + count, timeout_s)
            _end(study)
        times = self._sealed()[before : before + count]
        return [(b - a).total_seconds() for a, b in pairwise(times)]

    def _sealed(self) -> list[datetime]:
        """When each round of any study was known to be sealed and final."""
        return [datetime.fromisoformat(line["timestamp"]) for line in self._steps("attested")]

    def _steps(self, word: str) -> Iterator[Mapping[str, str]]:
        for line in (self.folder / f"{HUB}.log").read_text().splitlines():
            if not line.startswith("{"):
                continue
            found = json.loads(line)
            progress = found.get("progress", "")
            if found.get("event") == "step" and progress.startswith("round ") and progress.endswith(word):
                yield found


def _end(study: StudyHandle) -> None:
    if study.get().phase not in (Phase.FINISHED, Phase.CANCELLED):
        study.cancel()


def _rows(seed: int) -> str:
    rng = np.random.default_rng(seed)
    values = zip(rng.uniform(20, 90, ROWS), rng.uniform(40, 120, ROWS), rng.integers(0, 2, ROWS), strict=True)
    lines = [f"p{i},{age:.3f},{weight:.3f},{died}" for i, (age, weight, died) in enumerate(values)]
    return "\n".join(["mrn,AGE,WEIGHT,DIED", *lines]) + "\n"


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _tree(pid: int) -> Iterator[tuple[int, str]]:
    """A process and all below it, with their command lines."""
    yield pid, _command(pid)
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for below in task.read_text().split():
            yield from _tree(int(below))


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _child(command: str) -> str:
    modules: Sequence[tuple[str, str]] = (
        ("coordinator.transport.server", "superlink"),
        ("participants.transport.node", "node"),
    )
    return next((role for module, role in modules if module in command), "cipher")


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
