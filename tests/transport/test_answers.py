"""The node's own threads around Flower's state: what one puts in, the other takes out whole."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode import start_client_internal as supernode
from flwr.supernode.nodestate import NodeStateFactory

from participants.transport import node


class Slow:
    """An object store that takes its time before it knows of a message's objects."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def preregister(self, run_id: int, tree: Any) -> Any:
        time.sleep(0.3)
        return self._store.preregister(run_id, tree)


class Prompt:
    """An agent that answers from a thread of its own, as the real one does when a letter is posted."""

    def asked(self, question: Any) -> None:
        threading.Thread(target=question.answer, args=(b"letter",)).start()


@pytest.fixture
def question(monkeypatch: pytest.MonkeyPatch) -> Message:
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    content = RecordDict({"0": ConfigRecord({"b": b"question"})})
    return Message(content, dst_node_id=1, message_type=node.MESSAGE_TYPE)


def test_an_answer_is_sent_only_when_all_of_it_is_stored(
    question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen half stored, it would end the sending thread, and the node with it in the midst of a study."""
    store = ObjectStoreFactory().store()
    state = NodeStateFactory(objectstore_factory=ObjectStoreFactory()).state()
    supernode._insert_message(question, state=state, store=store)
    sent, pushed, ended = threading.Event(), list[bytes](), list[int]()
    monkeypatch.setattr(node.os, "_exit", ended.append)

    def send(message: Message, tree: Any, duration: float) -> tuple[set[str], str]:
        sent.set()
        return {found.object_id for found in node.iterate_object_tree(tree)}, "session"

    def push(run_id: int, session: str, object_id: str, content: bytes) -> None:
        pushed.append(content)

    desk = node.Desk(Prompt())  # type: ignore[arg-type]
    monkeypatch.setattr(
        supernode, "time", type("Time", (), {"sleep": staticmethod(lambda s: time.sleep(0.01))})
    )
    desk(state, Slow(store), send=send, push_object=push)  # type: ignore[arg-type]
    deadline = time.monotonic() + 10
    while not (ended or b"letter" in b"".join(pushed)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not ended
    assert sent.is_set()
    assert b"letter" in b"".join(pushed)
