"""Rounds of stock Flower: its SuperLink, SuperNodes, FedAvg and client, with its own defaults, on one machine.

Without TLS and node authentication, which Flower leaves off by default; one run in processes of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from benchmarks.federation import ROOT, free_ports
from consilium_errors import Unavailable

APP = Path(__file__).parent / "stock_flower"
_QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


def rounds(
    folder: Path, hospitals: int, parameters: int, count: int, timeout_s: float = 600.0
) -> list[float]:
    """Seconds of ``count`` rounds after a first one.

    Raises:
        Unavailable: ``benchmark.ended``, ``benchmark.timeout``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (port, *node_ports), times = free_ports(1 + hospitals), folder / "times"
    (folder / "config.toml").write_text(
        f'[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    environment = {**os.environ, **_QUIET, "FLWR_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    # Flower starts its helpers by name.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', '')}"
    with ExitStack() as stack:

        def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
            return stack.enter_context(_process(folder / f"{name}.log", environment, *arguments))

        start(
            "superlink",
            "flower-superlink",
            "--insecure",
            "--port",
            str(port),
            "--disable-runtime-dependency-installation",
        )
        _wait_for(port, timeout_s)
        for number, node_port in enumerate(node_ports):
            start(
                f"node{number}",
                "flower-supernode",
                "--insecure",
                "--superlink",
                f"127.0.0.1:{port}",
                "--port",
                str(node_port),
            )
        config = f'parameters={parameters} rounds={count + 1} hospitals={hospitals} times="{times}"'
        run = start("run", "flwr", "run", str(APP), "bench", "--run-config", config)
        deadline = time.monotonic() + timeout_s
        while len(found := _times(times)) < count + 2:
            if time.monotonic() > deadline or run.poll():
                said = (folder / "superlink.log").read_text()[-1000:] + (folder / "run.log").read_text()[
                    -1000:
                ]
                raise Unavailable("benchmark.timeout", f"stock Flower did not come to its end: {said}")
            time.sleep(0.1)
    return [b - a for a, b in pairwise(found)][1:]


class _process:  # noqa: N801  # reads as the function that it is
    """A command with everything it starts, until the block ends."""

    def __init__(self, log: Path, environment: Mapping[str, str], *arguments: str) -> None:
        command = [str(Path(sys.executable).parent / arguments[0]), *arguments[1:]]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stdout=output, stderr=output, start_new_session=True
            )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, how)
                self._process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _times(path: Path) -> list[float]:
    return [float(line) for line in path.read_text().split()] if path.exists() else []


def _wait_for(port: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise Unavailable("benchmark.timeout", "the SuperLink did not come up")
