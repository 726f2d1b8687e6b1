"""The coordinator's mailbox over Flower: SuperLink, gate, one run, and one worker for each hospital.

A worker asks its hospital (`protos.exchange`): one question is always out there waiting for letters, a second
follows when there is something to say. It sleeps until a letter is posted or the gate reports the node. One run
carries all studies; when it is lost, whoever notices first opens another, and what was on its way is sent again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from consilium_errors import Error, Hostile, Misuse, Unavailable
from coordinator.transport.gate import Event, Gate
from coordinator.transport.grid import QUESTION_S, Grid, Pending, Reply, RunLost
from coordinator.transport.superlink import SuperLink
from crypto.certificates import Revocations
from protos.exchange import Correspondence
from protos.mailbox import Letter
from protos.spool import Spool

log = structlog.get_logger(__name__)

#: Workers look by themselves this often, should the gate's word be lost.
LOOK_S: Final = 2.0
AWAY_S: Final = 1.0
#: While an answer comes in; the gate reports each part, this is for the last one's commit.
COMING_S: Final = 0.05
#: Longer than Flower waits for one part of an answer (180 s).
STALLED_S: Final = 200.0


@dataclass(frozen=True)
class LinkConfig:
    """The coordinator's side.

    Args:
        folder: private; spool, SuperLink's database, socket, secret and log.
        listen: host and port of the gate.
        ca, certificate, key: PEM files of the gate's TLS; the authority is the consortium's.
        me: the coordinator's address (20 bytes).
        node_keys: hospital's address → public key of its node (PEM SubjectPublicKeyInfo or OpenSSH).
        revocations: the authority's revocation list (PEM), or None.
    """

    folder: Path
    listen: tuple[str, int]
    ca: Path
    certificate: Path
    key: Path
    me: bytes
    node_keys: Mapping[bytes, bytes]
    revocations: Path | None = None


class FlowerMailbox:
    """A `protos.mailbox.Mailbox`; letters to hospitals go over Flower, letters from them are fetched as ``me``.

    Raises:
        Misuse: ``transport.node_key``, ``transport.flower_version``.
    """

    def __init__(self, config: LinkConfig) -> None:
        self.config = config
        keys = {org: pem_of(key) for org, key in config.node_keys.items()}
        self.superlink = SuperLink(config.folder)
        self.spool = Spool(config.folder / "spool.db", config.me)
        revoked = config.revocations and Revocations(config.revocations, config.ca.read_bytes())
        self.gate = Gate(
            config.listen,
            self.superlink.socket,
            ca=config.ca,
            certificate=config.certificate,
            key=config.key,
            node_keys=keys,
            revocations=revoked or None,
            told=self._told,
        )
        self._run = _Run(self.superlink, self.gate, keys)
        self._came = threading.Event()
        self._workers = {org: _Worker(org, self.spool, self._run, self.gate, self._came.set) for org in keys}

    def start(self) -> None:
        """Raises Unavailable ``transport.gate``, ``transport.superlink``."""
        self.superlink.start()
        self.superlink.wait_ready()
        self.gate.start()
        for worker in self._workers.values():
            worker.start()

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.stop()
        self.gate.stop()
        self._run.close()
        self.superlink.stop()
        self.spool.close()

    # the mailbox --------------------------------------------------------------------------------------

    def post(self, to: bytes, body: bytes) -> None:
        """Raises Misuse ``transport.stranger`` for an organisation without a node."""
        if to not in self._workers:
            raise Misuse("transport.stranger", "no such hospital", "add its node key to the roster")
        self.spool.post(to, body)
        self._workers[to].wake()

    def fetch(self, to: bytes, most: int = 64) -> list[Letter]:
        return self.spool.fetch(to, most)

    def acknowledge(self, to: bytes, number: int) -> None:
        self.spool.acknowledge(to, number)

    def wait(self, timeout_s: float) -> None:
        self._came.wait(timeout_s)
        self._came.clear()

    def _told(self, event: Event) -> None:
        worker = self._workers[event.org]
        if event.kind in ("began", "cut_off"):
            worker.began()
        worker.spoke()

    def connected(self) -> dict[bytes, float | None]:
        """Hospital → seconds since it was last heard, None before the first time."""
        return {org: worker.heard_ago() for org, worker in self._workers.items()}


class _Run:
    """The open run, shared by the workers; `generation` counts the runs."""

    def __init__(self, superlink: SuperLink, gate: Gate, keys: Mapping[bytes, bytes]) -> None:
        self._superlink, self._gate, self._keys = superlink, gate, dict(keys)
        self._lock = threading.Lock()
        self._grid: Grid | None = None
        self._nodes: dict[bytes, int] = {}
        self.generation = 0

    def get(self) -> tuple[Grid, Mapping[bytes, int], int]:
        """The run, opened if need be. Raises Unavailable."""
        with self._lock:
            if self._grid is None:
                self._superlink.wait_ready(5.0)
                grid = Grid(self._superlink.socket, self._superlink.secret)
                try:
                    nodes = grid.admit(self._keys.values())
                    grid.open()
                except Error:
                    grid.close()
                    raise
                self._gate.open(True)
                self._nodes = {org: nodes[key] for org, key in self._keys.items()}
                self._grid, self.generation = grid, self.generation + 1
                log.info("run opened", generation=self.generation)
            return self._grid, self._nodes, self.generation

    def lost(self, generation: int) -> None:
        with self._lock:
            if self._grid is not None and generation == self.generation:
                log.warning("run lost", generation=generation)
                self._gate.open(False)
                self._grid.close()
                self._grid = None

    def close(self) -> None:
        with self._lock:
            if self._grid is not None:
                self._grid.close()
            self._grid = None


@dataclass
class _Asked:
    """A question that is out; ``coming`` is its answer once that is announced."""

    exchange: int
    since: float = field(default_factory=time.monotonic)  # or since its answer last grew
    coming: Pending | None = None


class _Worker:
    """All that goes on with one hospital, in one thread."""

    def __init__(self, org: bytes, spool: Spool, run: _Run, gate: Gate, came: Callable[[], None]) -> None:
        self._org, self._run, self._gate, self._came = org, run, gate, came
        self._letters = Correspondence(spool, org)
        self._asked: dict[str, _Asked] = {}
        self._generation = 0
        self._signal, self._stopping = threading.Event(), threading.Event()
        self._began, self._spoke = threading.Event(), threading.Event()
        self._looked = float("-inf")
        self._last_heard: float | None = None
        self._thread = threading.Thread(target=self._work, name=f"hospital-{org.hex()[:8]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._signal.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def wake(self) -> None:
        self._signal.set()

    def spoke(self) -> None:
        """An answer may be there."""
        self._spoke.set()
        self._signal.set()

    def began(self) -> None:
        """The node was started anew, or an answer of it broke off: what it had been asked is forgotten."""
        self._began.set()

    def heard_ago(self) -> float | None:
        return None if self._last_heard is None else time.monotonic() - self._last_heard

    def _work(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            self._signal.wait(pause)
            self._signal.clear()
            if self._stopping.is_set():
                return
            try:
                pause = self._once()
            except RunLost as error:
                log.warning("exchange failed", code=error.code, reason=str(error))
                self._run.lost(self._generation)
                pause = 0.1
            except Unavailable as error:
                log.info("hospital waits", code=error.code)
                if error.code == "transport.superlink":
                    self._run.lost(self._generation)  # it keeps nothing: whatever comes up knows no run
                pause = AWAY_S
            except Exception as error:  # a worker must outlive what nobody foresaw
                log.error("exchange failed", error=type(error).__name__, exc_info=True)
                self._run.lost(self._generation)
                pause = AWAY_S

    def _once(self) -> float:
        """Deal with what there is; returns how long to sleep unless woken."""
        grid, nodes, generation = self._run.get()
        if generation != self._generation or self._began.is_set():
            self._began.clear()
            self._generation = generation
            self._asked.clear()
            self._letters.forget_flights()
        self._look(grid)
        while len(self._asked) < 2 and (not self._asked or self._letters.has_news()):
            self._ask(grid, nodes[self._org])
        if any(asked.coming for asked in self._asked.values()):
            return COMING_S
        patience = self._letters.patience()
        return LOOK_S if patience is None else min(LOOK_S, patience + 0.001)

    def _look(self, grid: Grid) -> None:
        """For answers, whole or in parts."""
        silent = [question for question, asked in self._asked.items() if asked.coming is None]
        if silent and (self._spoke.is_set() or time.monotonic() - self._looked >= LOOK_S):
            self._spoke.clear()
            self._looked = time.monotonic()
            for pending in grid.answers(silent):
                if pending.question in self._asked:
                    asked = self._asked[pending.question]
                    asked.coming, asked.since = pending, time.monotonic()
        for asked in list(self._asked.values()):
            if asked.coming is not None:
                self._collect(grid, asked, asked.coming)
        self._give_up_old()

    def _collect(self, grid: Grid, asked: _Asked, coming: Pending) -> None:
        missing = len(coming.missing)
        reply = grid.collect(coming)
        if reply is not None:
            self._answered(asked, reply)
        elif len(coming.missing) < missing:
            asked.since = time.monotonic()

    def _ask(self, grid: Grid, node: int) -> None:
        exchange = secrets.randbits(62)
        awaited = tuple(asked.exchange for asked in self._asked.values())
        frame = self._letters.frame(exchange, awaited)
        try:
            question = grid.ask(node, frame)
        except Unavailable:
            self._letters.forget_flights()
            raise
        self._asked[question] = _Asked(exchange)
        self._gate.ring(self._org)

    def _answered(self, asked: _Asked, reply: Reply) -> None:
        """An answer is here, or will never be: what went with its question has arrived by now or is lost."""
        del self._asked[reply.question]
        self._gate.settled(self._org)
        try:
            if reply.payload is None:
                log.info("no answer", code=reply.code, org=self._org.hex())
                return
            self._last_heard = time.monotonic()
            frame = self._letters.take(reply.payload)
            if frame.pieces:
                self._came()
            if frame.exchange != asked.exchange:
                log.warning("answer to another question", org=self._org.hex())
        except Hostile as error:
            log.warning("answer dropped", code=error.code, org=self._org.hex())
        finally:
            self._letters.answered(asked.exchange)

    def _give_up_old(self) -> None:
        """Questions without an answer, and answers that stopped half way."""
        now = time.monotonic()
        for question, asked in list(self._asked.items()):
            if now - asked.since > (QUESTION_S if asked.coming is None else STALLED_S):
                del self._asked[question]
                self._gate.settled(self._org)
                self._letters.answered(asked.exchange)


def pem_of(key: bytes) -> bytes:
    """A node's public key as Flower compares it: PEM.

    Raises:
        Misuse: ``transport.node_key`` unless it is a public key on a NIST curve, PEM or OpenSSH.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        loaded = form.load_ssh_public_key(key) if key.startswith(b"ecdsa-") else form.load_pem_public_key(key)
    except ValueError:
        loaded = None
    if not isinstance(loaded, ec.EllipticCurvePublicKey):
        raise Misuse("transport.node_key", "a node key is an elliptic curve key (P-256)", "provision")
    return loaded.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
