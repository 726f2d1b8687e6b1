"""Everything of Flower's insides that a hospital touches, here and in `line`; pinned to flwr 1.41.

``python -m participants.transport.node settings.json`` is the hospital's node: Flower's SuperNode loop with our
agent in the place where Flower would start whatever code it was sent. Differences from ``flower-supernode``:

* A client certificate is shown, the server's is checked against the consortium's authority alone, redirects are
  not followed, answers have a size.
* Only the one known app, which holds no code, is accepted (by hash, before it is parsed), and it is not run:
  there is no SuperExec, no runtime API, no listening port.
* Letters are answered while others wait; idle waits are short, because the coordinator's gate holds the line.
* After a crash the node signs itself off first; otherwise it would be refused until its old self is forgotten.
* Of a failure the server hears one of our codes, never an exception's text.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import flwr.supernode.fleet_http_connection as connection
import flwr.supernode.start_client_internal as supernode
import structlog
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app import Error as FlowerError
from flwr.common.constant import ISOLATION_MODE_PROCESS, ErrorCode
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_object_id, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents, pull_objects
from flwr.supercore.object_store import ObjectStore, ObjectStoreFactory
from flwr.supercore.run import RunNotRunningException
from flwr.supernode.nodestate import NodeState, NodeStateFactory

from consilium_errors import Error, Hostile, Misuse
from participants.transport.agent import Agent
from participants.transport.line import (
    Settings,
    check_version,
    client_class,
    load_node_key,
    patient,
    sign_off,
    trouble,
    wait_for_gate,
)
from participants.transport.mailbox import bells
from protos.exchange import CHUNK, MOST
from protos.fab import FAB_HASH
from protos.spool import Spool

log = structlog.get_logger(__name__)

MESSAGE_TYPE: Final = "query.letters"
IDLE_S: Final = 0.05
REPLY_POLL_S: Final = 0.01
_MOST_OBJECTS: Final = 2 + MOST // CHUNK + 2


# questions ------------------------------------------------------------------------------------------------


class _FlowerQuestion:
    """A question of the coordinator, as the agent sees it."""

    def __init__(self, message: Message, payload: bytes, insert: Callable[[Message], None]) -> None:
        self.payload = payload
        self._message, self._insert = message, insert

    def answer(self, payload: bytes) -> None:
        chunks = [payload[i : i + CHUNK] for i in range(0, len(payload), CHUNK)]
        content = RecordDict({str(i): ConfigRecord({"b": chunk}) for i, chunk in enumerate(chunks)})
        self._insert(Message(content, reply_to=self._message))

    def refuse(self, code: str) -> None:
        self._insert(Message(FlowerError(ErrorCode.UNKNOWN, code), reply_to=self._message))


class _Whole:
    """A node's state to the thread that sends: an answer is seen when all of it is stored.

    Flower's ``_insert_message`` stores a message first and its objects then; its own SuperNode never looks between.
    """

    def __init__(self, state: NodeState, inserting: threading.Lock) -> None:
        self._state, self._inserting = state, inserting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def get_messages_legacy(self, **which: Any) -> Any:
        with self._inserting:
            return self._state.get_messages_legacy(**which)


class Desk:
    """Stands where the SuperNode waits for its ClientApp: hands questions to the agent, answers to the SuperNode."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._sending: threading.Thread | None = None
        self._inserting = threading.Lock()

    def __call__(self, state: NodeState, object_store: ObjectStore, **line: Any) -> None:
        """In place of the SuperNode's ``_push_messages``, once for each message that it stored."""
        if self._sending is None:
            self._sending = threading.Thread(
                target=_or_die(
                    partial(
                        _send_for_ever,
                        state=_Whole(state, self._inserting),
                        object_store=object_store,
                        **line,
                    )
                ),
                name="answers",
                daemon=True,
            )
            self._sending.start()

        def insert(message: Message) -> None:
            with self._inserting:
                supernode._insert_message(message, state=state, store=object_store)

        for stored in state.get_messages_legacy(is_reply=False):
            self._hand_over(stored, object_store, insert)
        state.task_store.clear()  # type: ignore[attr-defined]  # tasks wait for a ClientApp that never comes

    def _hand_over(self, stored: Message, store: ObjectStore, insert: Callable[[Message], None]) -> None:
        question = _FlowerQuestion(stored, b"", insert)
        try:
            question.payload = _payload(stored, store)
        except Hostile as error:
            log.warning("question refused", code=error.code)
            question.refuse(error.code)
            return
        finally:
            store.delete(stored.metadata.message_id)
        self._agent.asked(question)


def _payload(stored: Message, store: ObjectStore) -> bytes:
    """The bytes of a question.

    Raises:
        Hostile: ``transport.message_type``; ``transport.question`` for anything but records of one bytes value
            each; several are named 0, 1, ….
    """
    if stored.metadata.message_type != MESSAGE_TYPE:
        raise Hostile("transport.message_type", "the agent answers letters only")
    message_id = stored.metadata.message_id
    try:
        tree = store.get_object_tree(message_id)
        if leaf := _only_leaf(tree):
            chunks = [_record(leaf, store.get(leaf) or b"")]
        else:
            contents = {
                node.object_id: store.get(node.object_id) or b"" for node in iterate_object_tree(tree)
            }
            message = inflate_object_from_contents(message_id, contents)
            content = message.content if isinstance(message, Message) else RecordDict()
            chunks = [content.config_records[str(i)]["b"] for i in range(len(content))]
    except Exception:  # whatever Flower's parsers raise on hostile bytes
        raise Hostile("transport.question", "not a question of a coordinator") from None
    joined = [chunk for chunk in chunks if isinstance(chunk, bytes)]
    if len(joined) != len(chunks) or not joined:
        raise Hostile("transport.question", "not a question of a coordinator")
    return b"".join(joined)


def _record(object_id: str, content: bytes) -> object:
    if get_object_id(content) != object_id:
        raise ValueError("another object")
    return ConfigRecord.inflate(content)["b"]


def _only_leaf(tree: ObjectTree) -> str:
    """Id of a message's one record, all that need be fetched of it; empty where there are several."""
    if len(tree.children) != 1 or len(tree.children[0].children) != 1:
        return ""
    leaf = tree.children[0].children[0]
    return "" if leaf.children else str(leaf.object_id)


def _or_die(work: Callable[[], None]) -> Callable[[], None]:
    """A thread without which the process is of no use takes it along; it is started again."""

    def run() -> None:
        try:
            work()
        except BaseException:
            traceback.print_exc()  # into the node's own log
            sys.stderr.flush()
        finally:
            os._exit(70)

    return run


_push_messages = supernode._push_messages
_pull_and_store = supernode._pull_and_store_message


def _send_for_ever(**line: Any) -> None:
    while True:
        _push_messages(**line)


# the SuperNode's loop -------------------------------------------------------------------------------------


def _note_node_id(settings: Settings, state: NodeState) -> None:
    """We are in: remember as whom, to sign off after a crash."""
    path, mine = Path(settings.node_id_file), str(state.get_node_id())
    if not path.exists() or path.read_text() != mine:
        path.write_text(mine)
    trouble(settings, "")


class _Pull:
    """Flower's ``pull_objects``, but of a message with one record that alone: each shell around it costs a request."""

    def __init__(self) -> None:
        self.leaf = ""

    def __call__(self, object_ids: list[str], **how: Any) -> dict[str, bytes]:
        wanted = [each for each in object_ids if not self.leaf or each == self.leaf]
        return pull_objects(wanted, initial_backoff=0.02, backoff_cap=1.0, max_time=600.0, **how)


def _guarded_pull(settings: Settings, pull: _Pull, **line: Any) -> int | None:
    """In place of ``_pull_and_store_message``: only small questions of the one known app come through."""
    _note_node_id(settings, line["state"])
    receive, get_fab = line["receive"], line["get_fab"]

    def receive_small() -> tuple[Message, ObjectTree] | None:
        found: tuple[Message, ObjectTree] | None = receive()
        pull.leaf = _only_leaf(found[1]) if found is not None else ""
        if found is not None and sum(1 for _ in iterate_object_tree(found[1])) > _MOST_OBJECTS:
            log.warning("question dropped", code="transport.objects")
            raise RunNotRunningException
        return found

    def get_known_fab(fab_hash: str, run_id: int) -> Fab:
        if fab_hash != FAB_HASH:
            log.warning("question dropped", code="transport.foreign_app")
            raise RunNotRunningException
        fab: Fab = get_fab(fab_hash, run_id)
        if hashlib.sha256(fab.content).hexdigest() != FAB_HASH:
            log.warning("question dropped", code="transport.foreign_app")
            raise RunNotRunningException
        return fab

    return _pull_and_store(**{**line, "receive": receive_small, "get_fab": get_known_fab})


#: Flower waits 3 s after an empty pull and .5 s for an answer; both are hard-coded.
_WAITS = {3: IDLE_S, 0.5: REPLY_POLL_S}


def _short_sleep(seconds: float) -> None:
    time.sleep(_WAITS.get(seconds, seconds))


def _replace(module: types.ModuleType, name: str, value: object) -> None:
    """Raises Misuse ``transport.flower_version`` where Flower no longer has what is to be replaced."""
    if not hasattr(module, name):
        raise Misuse("transport.flower_version", f"{module.__name__} has no {name}", "install flwr==1.41.*")
    setattr(module, name, value)


def run(settings: Settings) -> None:
    """Serve until killed; any end but a kill is an error, and the process is started again."""
    check_version()
    key = load_node_key(Path(settings.node_key))
    wait_for_gate(settings)
    spool = Spool(Path(settings.spool), bytes.fromhex(settings.org))
    came, posted = bells(Path(settings.spool).parent)
    agent = Agent(spool, bytes.fromhex(settings.coordinator), came=came.ring)
    threading.Thread(target=_or_die(partial(agent.run, posted.wait)), name="agent", daemon=True).start()
    sign_off(settings, key)
    _replace(connection, "FleetHttpClient", client_class(settings))
    _replace(connection, "make_simple_http_retry_invoker", patient(settings))
    _replace(supernode, "time", types.SimpleNamespace(sleep=_short_sleep, time=time.time))
    pull = _Pull()
    _replace(supernode, "pull_objects", pull)
    _replace(supernode, "_push_messages", Desk(agent))
    _replace(supernode, "_pull_and_store_message", partial(_guarded_pull, settings, pull))
    store = ObjectStoreFactory()
    supernode.start_client_internal(
        state_factory=NodeStateFactory(objectstore_factory=store),
        server_address=settings.server,
        node_config={},
        root_certificates=settings.ca,
        insecure=False,
        authentication_keys=(key, key.public_key()),
        isolation=ISOLATION_MODE_PROCESS,
    )


def main() -> None:
    from consilium_children import end_with_parent

    os.umask(0o077)
    end_with_parent()
    settings = Settings.load(Path(sys.argv[1]))
    try:
        run(settings)
    except Error as error:
        trouble(settings, error.code)
        raise SystemExit(error.diagnostics()) from None


if __name__ == "__main__":
    main()
