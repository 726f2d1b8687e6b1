"""The server's own life: it is stopped, killed and started again, and nobody notices but by waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from consent_contracts.laptop import dev_key
from consilium_errors import Unavailable
from coordinator.client import Consilium, Phase, Seal, StudyState
from coordinator.server import Server
from deploy.commands.screens import follow
from deploy.council import COORDINATOR
from protos import generate
from tests.api.stand import SITES, Stand

PROCESS = """
import sys
from pathlib import Path
from consent_contracts.chain import Addresses, Chain
from consent_contracts.code import code_hash
from consent_contracts.contracts import Contracts
from consent_contracts.sender import Sender, SqliteStore
from coordinator import logs
from coordinator.calls import ChainCalls
from coordinator.server import Server, ServerConfig
from coordinator.service import Coordinator
from coordinator.store import open_store
from crypto import keyfiles
from protos.mailbox import FileMailbox

folder, rpc, chain_id, registry, ledger, port = Path(sys.argv[1]), *sys.argv[2:]
logs.configure(sys.stderr)
addresses = Addresses(int(chain_id), bytes.fromhex(registry), bytes.fromhex(ledger))
sender = Sender(rpc, keyfiles.load(folder / "account.key"), SqliteStore(folder / "transactions.db"))
coordinator = Coordinator(
    sender.address,
    store=open_store(f"sqlite:///{folder / 'coordinator.db'}"),
    mailbox=FileMailbox(folder / "mail.db"),
    chain=Chain([rpc], addresses),
    calls=ChainCalls(Contracts(sender, addresses)),
    code_hash=code_hash(),
)
config = ServerConfig(
    f"127.0.0.1:{port}", folder / "ca.pem", folder / "tls.pem", folder / "tls.key", resend_s=None
)
with Server(coordinator, config) as server:
    print(server.port, server.ops_port, flush=True)
    server.wait()
coordinator.close()
"""


class Process:
    """A coordinator in a process of its own, over the stand's chain and contracts."""

    def __init__(self, stand: Stand, folder: Path) -> None:
        from crypto import keyfiles

        folder.mkdir(mode=0o700)
        self._stand, self._folder, self._port = stand, folder, 0
        stand.papers("coordinator").files(folder)
        keyfiles.load_or_create(folder / "account.key", lambda: dev_key(COORDINATOR))

    def start(self) -> str:
        where = self._stand.council.addresses
        words = [self._stand.council.rpc_url, where.chain_id, where.registry.hex(), where.ledger.hex()]
        self._log = (self._folder / "log.jsonl").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(self._folder), *map(str, words), str(self._port)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self.process.stdout is not None
        self._port = int(self.process.stdout.readline().split()[0])
        return f"127.0.0.1:{self._port}"

    def client(self, target: str) -> Consilium:
        papers = self._stand.papers("sponsor")
        return Consilium.connect(target, ca=papers.ca, certificate=papers.certificate, key=papers.key)

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


@pytest.fixture
def process(stand: Stand, tmp_path: Path) -> Iterator[Process]:
    made = Process(stand, tmp_path / "coordinator")
    yield made
    made.process.kill()
    made.process.wait()


@pytest.mark.slow
def test_a_killed_coordinator_is_taken_up_by_its_watchers(stand: Stand, process: Process) -> None:
    """SIGKILL while a client watches; a second one is stopped by SIGTERM, in good order."""
    spec = stand.spec("killed")
    study = stand.client().submit(spec).id
    target = process.start()
    client = process.client(target)
    client.offer(study, spec, stand.council.sponsor_key)
    events: list[object] = []
    watcher = threading.Thread(target=lambda: events.extend(client.watch(study)), daemon=True)
    watcher.start()
    time.sleep(0.5)
    assert process.end(signal.SIGKILL) == -9
    time.sleep(0.5)
    assert process.start() == target
    assert client.get(study).phase is Phase.OFFERED  # it was written down
    assert client.cancel(study).phase is Phase.CANCELLED
    watcher.join(30)
    assert not watcher.is_alive()
    last = events[-1]
    assert isinstance(last, StudyState)
    assert last.phase is Phase.CANCELLED
    assert process.end(signal.SIGTERM) == 0
    log = (process._folder / "log.jsonl").read_text()
    assert '"event": "stopped"' in log
    assert dev_key(COORDINATOR).hex() not in log
    with pytest.raises(Unavailable):
        client.get(study)


@pytest.mark.slow
def test_a_server_that_goes_away_for_a_while(stand: Stand) -> None:
    """In the middle of a study: a watcher sees every seal once, and the study ends."""
    spec = stand.spec("interrupted", rounds=2)
    study = stand.client().submit(spec)
    study.start()
    events: list[object] = []
    watcher = threading.Thread(target=lambda: events.extend(study.watch()), daemon=True)
    watcher.start()
    for name in SITES:
        stand.consent(study.id, spec, name)
    stand.wait(lambda: any(isinstance(e, Seal) for e in events))
    port = stand.server.port
    stand.server.stop(grace_s=0.2)
    time.sleep(0.3)
    stand.server = Server(stand.council.coordinator, replace(stand.config, listen=f"127.0.0.1:{port}"))
    stand.server.start()
    stand._stack.callback(stand.server.stop)
    stand.wait(lambda: not watcher.is_alive())
    assert [e.number for e in events if isinstance(e, Seal)] == [1, 2]


def test_live_progress_on_a_terminal(stand: Stand) -> None:
    screen = Console(file=StringIO(), force_terminal=True, width=100)
    study = stand.client().submit(stand.spec("live"))
    study.start()
    study.cancel()
    names = {stand.seat(name).desk.org: name for name in SITES}
    follow(study.watch(), names.__getitem__, screen)
    assert isinstance(screen.file, StringIO)
    assert "cancelled" in screen.file.getvalue()


def test_what_is_generated_is_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    shutil.copytree(generate.PROTOS, tmp_path / "protos" / "consilium")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "PROTOS", tmp_path / "protos" / "consilium")
    assert generate.stale() == []
    home = tmp_path / "protos" / "consilium" / "v1"
    stub = home / "services_pb2_grpc.py"
    stub.write_bytes(stub.read_bytes() + b"\n")
    (home / "gone_pb2.py").write_bytes(b"")
    (home / "services_pb2.pyi").unlink()
    found = {Path(name).name for name in generate.stale()}
    assert found == {"services_pb2_grpc.py", "gone_pb2.py", "services_pb2.pyi"}
