"""What takes its time: a coordinator that is killed, a node that is refused, a slow line, a whole study."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consilium_errors import Misuse
from participants.transport.mailbox import NodeConfig, NodeMailbox
from tests.transport.pki import Authority
from tests.transport.slow_line import SlowLine
from tests.transport.world import COORDINATOR, Flow, World, drain, org, until

ROOT = Path(__file__).parents[2]


# a line that does not come up is named at home --------------------------------------------------------------


@pytest.fixture
def node_of(world: World, tmp_path: Path) -> Iterator[list[NodeMailbox]]:
    started: list[NodeMailbox] = []
    yield started
    for mailbox in started:
        mailbox.stop()


def _config(world: World, folder: Path, **changes: object) -> NodeConfig:
    kit = world.kits[0]
    values = {
        "folder": folder / "n",
        "server": world.server,
        "ca": world.authority.ca,
        "certificate": kit.certificate,
        "key": kit.key,
        "node_key": world.keys[0].private,
        "org": org(0),
        "coordinator": COORDINATOR,
    }
    return NodeConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_a_kit_that_points_to_nothing_is_a_mistake(world: World, tmp_path: Path) -> None:
    with pytest.raises(Misuse) as caught:
        NodeMailbox(_config(world, tmp_path, node_key=tmp_path / "none"))
    assert caught.value.code == "transport.file"
    assert caught.value.remedy


def test_what_keeps_a_node_out_is_named(world: World, tmp_path: Path, node_of: list[NodeMailbox]) -> None:
    other = Authority(tmp_path / "other", "other")
    sponsor = world.kit("posing", org(0), "sponsor")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        free = nobody.getsockname()[1]
    cases = {
        "transport.tls": {"ca": other.ca},
        "transport.gate_away": {"server": f"127.0.0.1:{free}"},
        "gate.role": {"certificate": sponsor.certificate, "key": sponsor.key},
        "gate.node_key": {"node_key": world.keys[1].private},
        "transport.node_key": {"node_key": world.kits[0].key},
    }
    for number, (code, changes) in enumerate(cases.items()):
        mailbox = NodeMailbox(_config(world, tmp_path / str(number), **changes))
        node_of.append(mailbox)
        mailbox.start()
        until(lambda mailbox=mailbox, code=code: mailbox.trouble() == code)  # type: ignore[misc]
        mailbox.child.stop()


# SIGKILL of the coordinator ---------------------------------------------------------------------------------


class Coordinator:
    """The process of `coordinator_process`, and what it noted."""

    def __init__(self, world: World, folder: Path) -> None:
        self.folder = folder
        (folder / "out").mkdir(parents=True)
        link = world.link
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            self.port = nobody.getsockname()[1]
        config = {
            "folder": str(folder / "c"),
            "port": self.port,
            "ca": str(link.ca),
            "certificate": str(link.certificate),
            "key": str(link.key),
            "me": link.me.hex(),
            "node_keys": {name.hex(): key.decode() for name, key in link.node_keys.items()},
        }
        (folder / "config.json").write_text(json.dumps(config))
        self._sent = 0
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        log = (self.folder / "log").open("ab")
        command = [sys.executable, "-m", "tests.transport.coordinator_process"]
        command += [str(self.folder / "config.json"), str(self.folder)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        return self.process

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def post(self, to: bytes, body: bytes) -> None:
        self._sent += 1
        path = self.folder / f"{self._sent:06}"
        path.write_bytes(to + body)
        path.replace(self.folder / "out" / path.name)

    def came(self) -> list[str]:
        """Each letter once, by its number, as a receiver that remembers numbers sees them."""
        path = self.folder / "came"
        lines = path.read_text().splitlines() if path.exists() else []
        return list({line.split()[0]: line.split(maxsplit=1)[1] for line in lines}.values())


@pytest.mark.slow
def test_a_coordinator_killed_again_and_again(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    coordinator = Coordinator(world, tmp_path / "p")
    hospital: NodeMailbox | None = None
    try:
        hospital = NodeMailbox(_config(world, tmp_path, server=f"127.0.0.1:{coordinator.port}"))
        hospital.start()
        down: list[bytes] = []
        sent = 0
        for pause in (0.0, 1.0, 3.0):
            for _ in range(5):
                sent += 1
                hospital.post(COORDINATOR, b"up %d" % sent)
                coordinator.post(org(0), b"down %d" % sent)
            until(lambda most=sent - 3: len(coordinator.came()) >= most)  # type: ignore[misc]
            coordinator.kill()
            time.sleep(pause)
            coordinator.start()
        until(lambda: bool(down.extend(drain(hospital, org(0))) or len(down) >= sent))
        until(lambda: len(coordinator.came()) >= sent)
        assert coordinator.came() == [f"up {n}" for n in range(1, sent + 1)]
        # The tester's own hand-over of files is at least once; the transport keeps order and adds nothing.
        assert list(dict.fromkeys(down)) == [b"down %d" % n for n in range(1, sent + 1)]
    finally:
        coordinator.kill()
        if hospital is not None:
            hospital.stop()
        world.close()


@pytest.mark.nightly
@pytest.mark.slow
def test_a_node_that_is_refused_for_a_minute_gets_in_at_last(world: World) -> None:
    """Without the note of its former self it cannot sign off, and is refused until that is forgotten."""
    child = world.hospitals[0].child
    starts = child.starts
    (world.hospitals[0].config.folder / "node.id").unlink()
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    flow = Flow(world)
    flow.send(3)
    took = flow.finish(240)
    assert child.starts >= starts + 2  # it was refused, and tried again
    print(f"\nin again after {took:.0f} s and {child.starts - starts} starts")


# a slow hospital --------------------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.slow
def test_a_slow_hospital_delays_only_itself(tmp_path: Path) -> None:
    world = World(tmp_path, 2)
    line: SlowLine | None = None
    try:
        world.coordinator.start()
        line = SlowLine(world.coordinator.gate.address, 10_000)
        slow = NodeMailbox(_config(world, tmp_path, server=f"127.0.0.1:{line.port}"))
        world.hospitals.append(slow)
        world._stack.callback(slow.stop)
        slow.start()
        fast = world.add(1)
        world.settle()
        big = os.urandom(120_000)
        slow.post(COORDINATOR, big)
        world.coordinator.post(org(0), big)
        came: list[bytes] = []
        times = []
        began = time.monotonic()
        while time.monotonic() - began < 8:
            world.coordinator.post(org(1), b"quick")
            times.append(until(lambda: drain(fast, org(1)) == [b"quick"]))
            came += drain(world.coordinator, COORDINATOR)
        assert big not in came  # it takes twelve seconds, so that this test can fail
        assert max(times) < 10
        until(lambda: bool(came.extend(drain(world.coordinator, COORDINATOR)) or big in came), 200)
        until(lambda: drain(slow, org(0)) == [big], 200)
        took = time.monotonic() - began
        print(f"\n120 kB each way at 10 kB/s: {took:.0f} s; the other's letters meanwhile {max(times):.2f} s")
    finally:
        world.close()
        if line is not None:
            line.close()
