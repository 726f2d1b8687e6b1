"""Letters over real Flower processes: order, hostile apps and messages, and what SIGKILL does to them."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from flwr.app import ConfigRecord, Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supernode.nodestate import NodeStateFactory

from consilium_errors import Misuse, Unavailable
from coordinator.transport import gate as gates
from coordinator.transport import grid as grids
from coordinator.transport.grid import Grid
from participants.transport import node as nodes
from participants.transport.line import Settings
from tests.transport.world import COORDINATOR, Flow, World, org, until


def test_letters_travel_both_ways_in_order(world: World) -> None:
    flow = Flow(world)
    flow.send(20)
    flow.send(2, size=2_500_000)
    flow.send(5)
    flow.finish()


def test_a_letter_to_nobody_is_the_callers_mistake(world: World) -> None:
    for mailbox, to in ((world.coordinator, b"\x99" * 20), (world.hospitals[0], org(1))):
        with pytest.raises(Misuse) as caught:
            mailbox.post(to, b"x")
        assert caught.value.code == "transport.stranger"


def test_equal_letters_are_not_equal_on_the_wire(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = _watch_bodies(monkeypatch, "push-object")
    flow = Flow(world)
    secret = b"the same words" * 1000
    for _ in range(2):
        for hospital in world.hospitals:
            hospital.post(COORDINATOR, secret)
        until(lambda: len(world.coordinator.fetch(COORDINATOR)) == 2)
        for letter in world.coordinator.fetch(COORDINATOR):
            assert letter.body == secret
            world.coordinator.acknowledge(COORDINATOR, letter.number)
    objects = [hashlib.sha256(body).digest() for body in pushed if secret in body]
    assert len(objects) == len(set(objects)) == 4
    flow.finish()


def _watch_bodies(monkeypatch: pytest.MonkeyPatch, name: str) -> list[bytes]:
    """Bodies that pass the gate to one path."""
    seen: list[bytes] = []
    ask = gates.Gate._ask

    async def watched(self: gates.Gate, path: str, body: bytes, headers: Any) -> web.Response:
        if path.endswith(name):
            seen.append(body)
        return await ask(self, path, body, headers)

    monkeypatch.setattr(gates.Gate, "_ask", watched)
    return seen


def test_replayed_requests_change_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sits behind TLS plays old requests again, whole exchanges in their order, while new ones run."""
    ask = gates.Gate._ask
    seen: list[tuple[str, bytes, Any]] = []
    old: list[tuple[str, bytes, Any]] = []
    again = {"push-messages", "push-object", "pull-object", "confirm-message-received", "get-run"}

    async def replaying(self: gates.Gate, path: str, body: bytes, headers: Any) -> web.Response:
        answer = await ask(self, path, body, headers)
        if path.rsplit("/", 1)[1] in again:
            seen.append((path, body, headers))
        for request in [old.pop(0) for _ in range(min(3, len(old)))]:
            await ask(self, *request)
        return answer

    monkeypatch.setattr(gates.Gate, "_ask", replaying)
    for _ in range(4):
        flow = Flow(world)
        flow.send(3)
        flow.finish()
        old[:], seen[:] = list(seen), []
    assert len(old) > 10


# a hostile coordinator --------------------------------------------------------------------------------------


def _hostile_fab(marker: Path) -> bytes:
    """An app that writes a file as soon as anything imports, installs or runs it."""
    harm = f"open({str(marker)!r}, 'w').write('ran')\n"
    project = (
        '[project]\nname = "harm"\nversion = "1.0.0"\nlicense = "Apache-2.0"\ndependencies = []\n'
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[tool.flwr.app]\npublisher = "consilium"\n'
        '[tool.flwr.app.components]\nserverapp = "harm.app:app"\nclientapp = "harm.app:app"\n'
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("pyproject.toml", project)
        for name in ("harm/__init__.py", "harm/app.py", "setup.py", "conftest.py", "sitecustomize.py"):
            bundle.writestr(name, harm)
    return buffer.getvalue()


def _hostile_grid(world: World, fab: bytes, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """A second run, of another app, in the hands of a hostile coordinator."""
    monkeypatch.setattr(grids, "FAB", fab)
    monkeypatch.setattr(grids, "FAB_HASH", hashlib.sha256(fab).hexdigest())
    grid = Grid(world.coordinator.superlink.socket, world.coordinator.superlink.secret)
    identity = grids.TaskIdentity.task_id, grids.TaskIdentity.run_id, grids.TaskIdentity.node_id
    grid.open()
    monkeypatch.undo()
    grid._hostile_identity = identity  # type: ignore[attr-defined]
    return grid


def _node(world: World, index: int) -> int:
    _, nodes, _ = world.coordinator._run.get()
    return nodes[org(index)]


def _log(world: World, index: int) -> str:
    return (world.folder / f"h{index}" / "node.log").read_text()


def test_code_that_is_sent_is_never_run(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    mine = grids.TaskIdentity.task_id, grids.TaskIdentity.run_id, grids.TaskIdentity.node_id
    hostile = _hostile_grid(world, _hostile_fab(marker), monkeypatch)
    node = _node(world, 0)
    try:
        for kind in ("query.letters", "train", "evaluate", "query"):
            content = RecordDict({"0": ConfigRecord({"b": b"x"})})
            hostile._open_run.push_messages([Message(content, dst_node_id=node, message_type=kind, ttl=600)])
        world.coordinator.gate.ring(org(0))
        until(lambda: "transport.foreign_app" in _log(world, 0))
    finally:
        grids.TaskIdentity.task_id, grids.TaskIdentity.run_id, grids.TaskIdentity.node_id = mine
        hostile.close()
    flow = Flow(world)
    flow.send(3)
    flow.finish()
    assert not marker.exists()
    assert not list((world.folder / "h0").rglob("*.py"))  # nothing was unpacked either


@pytest.mark.parametrize("claimed", [grids.FAB_HASH, "0" * 64])
def test_a_swapped_app_is_refused_before_it_is_parsed(tmp_path: Path, claimed: str) -> None:
    """A SuperLink that answers the known hash with other bytes, or names another: the real loop, one step."""
    message = make_message(
        metadata=Metadata(7, "id", 1, 9, "", "", time.time(), 600.0, "query.letters"),
        content=RecordDict({"0": ConfigRecord({"b": b"x"})}),
    )
    message.metadata.__dict__["_message_id"] = message.object_id
    state = NodeStateFactory(store := ObjectStoreFactory()).state()
    state.set_node_id(9)
    run = Run.create_empty(7)
    run.fab_hash = claimed
    settings = Settings(*[""] * 6, str(tmp_path / "id"), str(tmp_path / "trouble"), "", "")
    took = nodes._guarded_pull(
        settings,
        nodes._Pull(),
        state=state,
        object_store=store.store(),
        node_config={},
        receive=lambda: (message, get_object_tree(message)),
        get_run=lambda run_id: run,
        get_fab=lambda fab_hash, run_id: Fab(fab_hash, b"not even a bundle", {}),
        pull_object=lambda run_id, object_id: b"",
        confirm_message_received=lambda run_id, object_id: None,
        trusted_entities=None,
    )
    assert took is None
    assert state.get_run(7) is None
    assert state.get_messages_legacy() == []


def test_messages_that_are_not_letters_are_answered_with_a_code(world: World) -> None:
    grid, nodes, _ = world.coordinator._run.get()
    http = grid._open_run
    bad = [
        (RecordDict({"0": ConfigRecord({"b": b"junk"})}), "query.letters", "wire.malformed"),
        (RecordDict({"0": ConfigRecord({"b": "text"})}), "query.letters", "transport.question"),
        (
            RecordDict({"1": ConfigRecord({"b": b"x"})}),
            "query.letters",
            "wire.malformed",
        ),  # its name is not read
        (
            RecordDict({n: ConfigRecord({"b": n.encode()}) for n in "12"}),
            "query.letters",
            "transport.question",
        ),
        (RecordDict({}), "query.letters", "transport.question"),
        (RecordDict({"0": ConfigRecord({"b": b"x"})}), "train", "transport.message_type"),
    ]
    for content, kind, code in bad:
        question = Message(content, dst_node_id=nodes[org(0)], message_type=kind, ttl=600)
        (sent,) = http.push_messages([question])
        world.coordinator.gate.ring(org(0))
        found: list[grids.Pending] = []
        until(lambda sent=sent, found=found: bool(found.extend(grid.answers([sent])) or found))  # type: ignore[misc]
        assert found[0].code == code
    flow = Flow(world)
    flow.send(2)
    flow.finish()


def test_a_question_too_large_for_an_honest_one_is_dropped(world: World) -> None:
    grid, nodes, _ = world.coordinator._run.get()
    many = RecordDict({str(i): ConfigRecord({"b": b"%d" % i}) for i in range(50)})
    grid._open_run.push_messages(
        [Message(many, dst_node_id=nodes[org(1)], message_type="query.letters", ttl=600)]
    )
    world.coordinator.gate.ring(org(1))
    until(lambda: "transport.objects" in _log(world, 1))
    flow = Flow(world)
    flow.send(2)
    flow.finish()


# SIGKILL ----------------------------------------------------------------------------------------------------


def _kill(pid: int | None) -> None:
    assert pid
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["superlink", "node"])
def test_sigkill_loses_and_repeats_nothing(world: World, victim: str) -> None:
    flow = Flow(world)
    flow.send(10, size=20_000)
    flow.collect()
    child = world.coordinator.superlink.child if victim == "superlink" else world.hospitals[0].child
    starts = child.starts
    _kill(child.pid)
    flow.send(10, size=20_000)
    took = flow.finish()
    until(lambda: child.starts > starts)
    flow.send(3)
    flow.finish()
    print(f"\n{victim} killed: whole again after {took:.1f} s")


def test_a_lost_run_is_replaced_without_anybody_noticing(world: World) -> None:
    from flwr.proto.control_pb2 import StopRunRequest

    grid, _, generation = world.coordinator._run.get()
    grid._control.StopRun(StopRunRequest(run_id=grid._run_id))
    flow = Flow(world)
    flow.send(5)
    flow.finish()
    assert world.coordinator._run.generation > generation


def test_an_unreachable_superlink_is_unavailable(tmp_path: Path) -> None:
    grid = Grid(tmp_path / "none.sock", b"secret")
    with pytest.raises(Unavailable) as caught:
        grid.admit([b"key"])
    assert caught.value.code == "transport.superlink"
    grid.close()
