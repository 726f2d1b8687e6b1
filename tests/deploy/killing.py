"""A trial over Flower whose processes are killed with SIGKILL at chosen steps of chosen rounds."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from consent_contracts.chain import Chain
from consent_contracts.index import Event, Index
from consent_contracts.laptop import Anvil
from tests.deploy.trial import Trial, free_ports

#: What the coordinator's log says at each step of a round, in order.
STEPS = ("begun", "hellos", "plan", "lock", "locked", "sum", "sealed", "attest")
NODE, SUPERLINK = "participants.transport.node", "coordinator.transport.server"
_PROXY = """
import sys, threading
from consent_contracts.proxy import Proxy
with Proxy(sys.argv[1], port=int(sys.argv[2])):
    threading.Event().wait()
"""


class Kill(NamedTuple):
    """``victim``: hub, superlink, chain, rpc, a site (its process), or ``node:`` and a site (its node).

    ``pause_s``: until it is started again; SuperLink and nodes are started by their parents.
    """

    round: int
    step: str
    victim: str
    pause_s: float = 0.0


@dataclass
class Upstream:
    """The chain node, with its state on disk, and one RPC proxy for all, each a process of its own."""

    folder: Path

    def __post_init__(self) -> None:
        self.ports = free_ports(2)
        self.anvil = Anvil(state=self.folder / "chain.json", history=False, port=self.ports[0])
        self.anvil.start()
        self.proxy = self.start_proxy()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def start_proxy(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _PROXY, self.anvil.url, str(self.ports[1])]
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.ports[1]), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return process
        raise TimeoutError

    def kill_chain(self, pause_s: float) -> None:
        """Nobody sends meanwhile (the coordinator is stopped): a node that forgets transactions is no chain.

        anvil writes its state every second over the old one, so that it may die within; what it wrote before is
        put back then. Empty blocks since are lost, and the hospitals have seen them as final.
        """
        state, killed = self.folder / "chain.json", time.time() + 1.0
        while state.stat().st_mtime < killed or (kept := _whole(state)) is None:
            time.sleep(0.02)
        self.anvil.stop(signal.SIGKILL)
        state.write_bytes(kept)
        time.sleep(pause_s)
        self.anvil.start()

    def close(self) -> None:
        self.proxy.kill()
        self.proxy.wait()
        self.anvil.stop()


def _whole(path: Path) -> bytes | None:
    content = path.read_bytes()
    try:
        json.loads(content)
    except ValueError:
        return None
    return content


class Killer:
    """Follows one study in the coordinator's log and kills when it comes to a planned step."""

    def __init__(self, trial: Trial, upstream: Upstream, study: bytes, plan: Sequence[Kill]) -> None:
        self.trial, self.upstream, self._study = trial, upstream, study.hex()[:8]
        self.left, self.done = list(plan), list[Kill]()
        self._read = self._round = 0

    def follow(self, over: Callable[[], bool], timeout_s: float) -> None:
        """Until the study is over; all kills must have come by then."""
        deadline, ask = time.monotonic() + timeout_s, 0.0
        while True:
            for step in self._steps():
                self._at(step)
            assert time.monotonic() < deadline, (self.left, self.trial.log("hub")[-3000:])
            if time.monotonic() >= ask:
                if over():
                    return
                ask = time.monotonic() + 0.5
            time.sleep(0.01)

    def _steps(self) -> Iterator[str]:
        text = self.trial.log("hub")
        whole = text[self._read : text.rfind("\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            found = json.loads(line)
            progress = found.get("progress", "") if found.get("study") == self._study else ""
            if progress.startswith("round ") and " attempt " in progress:
                self._round = int(progress.split()[1])
                yield "begun"
            elif progress in STEPS:
                yield progress

    def _at(self, step: str) -> None:
        for kill in [k for k in self.left if (k.round, k.step) == (self._round, step)]:
            self.left.remove(kill)
            self._kill(kill)
            self.done.append(kill)

    def _kill(self, kill: Kill) -> None:
        victim, trial = kill.victim, self.trial
        if victim == "chain":
            os.kill(trial.pid("hub"), signal.SIGSTOP)
            try:
                self.upstream.kill_chain(kill.pause_s)
            finally:
                os.kill(trial.pid("hub"), signal.SIGCONT)
        elif victim == "rpc":
            self.upstream.proxy.kill()
            self.upstream.proxy.wait()
            time.sleep(kill.pause_s)
            self.upstream.proxy = self.upstream.start_proxy()
        elif victim == "superlink":
            kill_child(trial.pid("hub"), SUPERLINK)
        elif victim.startswith("node:"):
            kill_child(trial.pid(victim.removeprefix("node:")), NODE)
        else:
            trial.stop(victim, signal.SIGKILL)
            time.sleep(kill.pause_s)
            trial.serve(victim)


def kill_child(parent: int, module: str) -> None:
    """SIGKILL of the child that runs a module; nothing if it is just being started again."""
    for pid in children(parent):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if module.encode() in command:
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def check_chain(trial: Trial, study: bytes, rounds: int) -> None:
    """One charged lock and one seal for each round, nothing else; every dataset paid once for each analysis."""
    chain = Chain([trial.rpc], trial.made.addresses)
    try:
        index = Index(chain)
        index.sync()
        ours = [event for event in index.events if event.args.get("study") == study]
        assert not [e for e in ours if e.name == "Abandoned"]
        locked, attested = (_named(ours, name) for name in ("Locked", "Attested"))
        assert [e.args["ctx"]["round"] for e in locked] == list(range(1, rounds + 1))
        assert all(e.args["charged"] for e in locked)
        orgs = sorted(trial.made.organisations[site] for site in trial.sites)
        assert all(sorted(e.args["orgs"]) == orgs for e in locked)
        assert [e.args["seal"]["lockId"] for e in attested] == [e.args["lockId"] for e in locked]
        assert all(not e.args["absent"] for e in attested)
        assert chain.head(study).attested == rounds
    finally:
        chain.close()


def _named(events: list[Event], name: str) -> list[Event]:
    return [event for event in events if event.name == name]
