"""Of a message with one record only that record is fetched, on both sides; altered on its way it is refused."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, RecordDict
from flwr.app.message import Message
from flwr.supercore.inflatable.inflatable_object import get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import ObjectUnavailableError
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.task_identity import TaskIdentity

from consilium_errors import Hostile
from coordinator.transport import gate, grid
from participants.transport import node


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[int, Message]:
    """Messages of one and of two records."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    records = {str(i): ConfigRecord({"b": bytes([65 + i])}) for i in range(2)}
    return {
        n: Message(RecordDict(dict(list(records.items())[:n])), dst_node_id=1, message_type=node.MESSAGE_TYPE)
        for n in (1, 2)
    }


@pytest.mark.parametrize("count", [1, 2])
def test_a_node_fetches_what_it_reads(said: dict[int, Message], count: int) -> None:
    message, asked = said[count], list[str]()
    tree, contents = get_object_tree(message), _contents(message)
    store = ObjectStoreFactory().store()
    pull = node._Pull()
    pull.leaf = node._only_leaf(tree)

    def fetch(object_id: str) -> bytes:
        asked.append(object_id)
        if object_id not in contents:
            raise ObjectUnavailableError
        return contents[object_id]

    for object_id, content in pull(store.preregister(1, tree), pull_object_fn=fetch).items():
        store.put(object_id, content)
    message.metadata.__dict__["_message_id"] = message.object_id
    assert node._payload(message, store) == b"AB"[:count]
    assert len(asked) == {1: 1, 2: len(list(iterate_object_tree(tree)))}[count]


def test_an_altered_record_is_refused_on_both_sides(said: dict[int, Message]) -> None:
    tree, contents = get_object_tree(said[1]), _contents(said[1])
    leaf = grid.only_leaf(tree)
    assert leaf == node._only_leaf(tree) != ""
    honest = grid.Pending("q", said[1].object_id, "", set(), leaf, {leaf: contents[leaf]})
    assert grid._payload(honest) == b"A"
    altered = contents[leaf].replace(b"A", b"B")
    assert altered != contents[leaf]
    with pytest.raises(Hostile) as caught:
        grid._payload(grid.Pending("q", said[1].object_id, "", set(), leaf, {leaf: altered}))
    assert caught.value.code == "transport.answer"
    with pytest.raises(ValueError, match="another object"):
        node._record(leaf, altered)


def test_the_gate_tells_of_an_answer_when_all_of_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    line, stored = gate._Line(), b"\x08\x01"
    monkeypatch.setattr(gate, "objects_to_push", lambda body: len(body))
    assert line.meaning(gate.PUSH, bytes(3)) == ""
    assert [line.meaning(gate.PUSH_OBJECT, stored) for _ in range(3)] == ["", "", "spoke"]
    assert line.meaning(gate.PUSH, b"") == "spoke"  # nothing of it is new to the SuperLink
    assert line.meaning(gate.PUSH, bytes(10)) == ""
    told = [line.meaning(gate.PUSH_OBJECT, stored) for _ in range(10)]
    assert (told.count("spoke"), told[-1]) == (3, "spoke")
    assert line.meaning(gate.PUSH_OBJECT, b"") == "cut_off"
    assert line.meaning(gate.ACTIVATE, stored) == "began"


def _contents(message: Message) -> dict[str, bytes]:
    found, todo = {}, [message]
    while todo:
        each = todo.pop()
        found[each.object_id] = each.deflate()
        todo += list((each.children or {}).values())
    return found
