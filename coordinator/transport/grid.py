"""Flower's insides as the coordinator uses them, here and in `server`; pinned to flwr 1.41.

`Grid` holds one run open in this process, where Flower would start a ServerApp, and sends and fetches messages. The
run's app holds no code (`protos.fab`), and nothing that a node returns is executed or unpickled.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import flwr
import httpx
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import fab_to_proto, run_from_proto
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, StartRunRequest
from flwr.proto.fleet_pb2 import PushMessagesResponse
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree, PullObjectRequest
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_object_id, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError, inflate_object_from_contents
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClient, ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid

from consilium_errors import Error, Hostile, Misuse, Unavailable
from protos.exchange import CHUNK, MOST
from protos.fab import FAB, FAB_HASH

# Flower paints its own lines on standard error; in our log they are to be lines like others.
logging.getLogger("flwr").handlers.clear()
logging.getLogger("flwr").propagate = True

VERSION: Final = "1.41."
MESSAGE_TYPE: Final = "query.letters"
#: A run whose holder is silent for longer is over; Flower allows 60 s.
HEARTBEAT_S: Final = 10.0
#: A question that is not answered in this time is given up; longer than the slowest transfer of one frame.
QUESTION_S: Final = 900.0
C = TypeVar("C", bound=ProtobufClient)
_ADDRESS = "superlink"
_CALL_S = 60.0
_MOST_OBJECTS = 2 + MOST // CHUNK + 2
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"


class RunLost(Unavailable):
    """The run is over, or the SuperLink knows nothing of it: open another."""

    def __init__(self, why: str) -> None:
        super().__init__("transport.run_lost", why, "nothing to do: another run is opened by itself")


class Reply(NamedTuple):
    """What came of one question: the bytes of the answer, or a code."""

    question: str
    payload: bytes | None
    code: str


@dataclass
class Pending:
    """An answer that is announced; its objects come in one by one. ``leaf``: the only one with bytes of ours."""

    question: str
    answer: str
    code: str
    missing: set[str]
    leaf: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)


def check_version() -> None:
    """Raises Misuse ``transport.flower_version`` unless it is the Flower whose insides we know."""
    if not flwr.__version__.startswith(VERSION):
        raise Misuse(
            "transport.flower_version",
            f"flwr {flwr.__version__} is installed, this adapter knows {VERSION}*",
            "install flwr==1.41.*",
        )


class _OneRun(HttpGrid):
    """Flower's grid over the SuperLink's socket. It asks once, and stays closed when it is closed.

    Flower's own would ask on for ever, and a thread that still asks after the close would connect anew, by name.
    Its way with a token that is refused is SIGINT to its own process, which is ours.
    """

    def __init__(self, token: str, over_socket: Callable[[ProtobufClient], None]) -> None:
        super().__init__(_ADDRESS, insecure=True, token=token)
        self._retry_invoker = None  # type: ignore[assignment]
        self._over_socket, self._ended = over_socket, False

    def _connect(self) -> None:
        """Raises RunLost once the run is closed."""
        if self._ended:
            raise RunLost("the run was given up")
        super()._connect()
        self._over_socket(self._runtime_client)

    def close(self) -> None:
        self._ended = True
        super().close()


class Grid:
    """One open run, over the SuperLink's socket. Thread-safe after `open`.

    Args:
        socket: of the SuperLink. ``secret``: what its runtime API demands of whoever takes a task.

    Methods raise Unavailable ``transport.superlink`` when the SuperLink is away, and `RunLost`.
    """

    def __init__(self, socket: Path, secret: bytes) -> None:
        check_version()
        self._socket, self._secret = socket, secret
        self._control = self._client(ControlHttpClient, "flwr CLI")
        self._http: HttpGrid | None = None
        self._run_id = 0
        self._closed = threading.Event()

    def _client(self, kind: type[C], component: str, *extra: ProtobufClientInterceptor) -> C:
        client = kind.from_server_address(
            _ADDRESS, True, None, [RuntimeVersionHttpInterceptor(component_name=component), *extra]
        )
        self._over_socket(client)
        return client

    def _over_socket(self, client: ProtobufClient) -> None:
        client._client.close()
        client._client = httpx.Client(transport=httpx.HTTPTransport(uds=str(self._socket)), timeout=_CALL_S)

    # nodes --------------------------------------------------------------------------------------------

    def admit(self, public_keys: Iterable[bytes]) -> dict[bytes, int]:
        """Register the nodes' public keys (PEM) where they are new. Key → node id."""
        with _calls():
            known = {
                bytes(n.public_key): n.node_id for n in self._control.ListNodes(ListNodesRequest()).nodes_info
            }
            wanted = list(public_keys)
            for key in wanted:
                if key not in known:
                    request = RegisterNodeRequest(public_key=key)
                    known[key] = self._control.RegisterNode(request).node_id
        return {key: int(known[key]) for key in wanted}

    # the run ------------------------------------------------------------------------------------------

    def open(self, timeout_s: float = 30.0) -> None:
        """Start a run and hold it; an older one held by a process before us ends by itself."""
        with _calls():
            fab = fab_to_proto(Fab(FAB_HASH, FAB, {}))
            self._run_id = self._control.StartRun(StartRunRequest(fab=fab)).run_id
            token = self._take_task(self._run_id, timeout_s)
            self._http = http = _OneRun(token, self._over_socket)
            task = http._runtime_client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = task.task_id, task.run.run_id
        TaskIdentity.node_id = task.context.node_id
        http.set_run(run_from_proto(task.run))
        threading.Thread(target=self._beat, args=(http,), name="run-heartbeat", daemon=True).start()

    def _take_task(self, run_id: int, timeout_s: float) -> str:
        """The token of the run's task. Tasks of runs that nobody holds any more are taken and left to expire."""
        auth = SuperExecAuthHttpInterceptor(
            master_secret=self._secret, protected_methods=frozenset({_ACQUIRE})
        )
        client = self._client(RuntimeHttpClient, "SuperExec", auth)
        deadline = time.monotonic() + timeout_s
        try:
            while time.monotonic() < deadline:
                found = client.AcquireTask(AcquireTaskRequest(supported_task_types=["flwr-serverapp"]))
                if found.token and found.task.run_id == run_id:
                    return str(found.token)
                if not found.token:
                    time.sleep(0.02)
        finally:
            client.close()
        raise RunLost("the new run's task did not appear")

    def _beat(self, http: HttpGrid) -> None:
        while not self._closed.wait(HEARTBEAT_S):
            try:
                http._runtime_client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
            except (httpx.HTTPError, RuntimeError, ValueError, RunLost):
                continue  # the next question says what is wrong

    def close(self) -> None:
        self._closed.set()
        if self._http is not None:
            self._http.close()
        self._control.close()

    # questions and answers ----------------------------------------------------------------------------

    def ask(self, node_id: int, payload: bytes) -> str:
        """Leave a question for a node; returns its id. Unavailable ``transport.node_away`` if it is not there."""
        chunks = [payload[i : i + CHUNK] for i in range(0, len(payload), CHUNK)]
        content = RecordDict({str(i): ConfigRecord({"b": chunk}) for i, chunk in enumerate(chunks)})
        message = Message(content, dst_node_id=node_id, message_type=MESSAGE_TYPE, ttl=QUESTION_S)
        with _calls():
            ids = list(self._open_run.push_messages([message]))
        if not ids or not ids[0]:
            raise Unavailable("transport.node_away", "the node is not connected, or was never")
        return ids[0]

    def answers(self, questions: Iterable[str]) -> list[Pending]:
        """Answers that are announced for some of the questions."""
        http = self._open_run
        with _calls():
            found = http._runtime_client.PullMessages(PullAppMessagesRequest(message_ids=list(questions)))
        return [
            self._announced(message, tree)
            for message, tree in zip(found.messages_list, found.message_object_trees, strict=True)
        ]

    def _announced(self, message: ProtoMessage, tree: ObjectTree) -> Pending:
        code, objects = "", {node.object_id for node in iterate_object_tree(tree)}
        if message.HasField("error"):
            code = _node_code(message.error.reason)
        elif len(objects) > _MOST_OBJECTS:
            code = "transport.objects"
        leaf = only_leaf(tree)
        wanted = {leaf} if leaf else objects
        return Pending(message.metadata.reply_to_message_id, message.metadata.message_id, code, wanted, leaf)

    def collect(self, pending: Pending) -> Reply | None:
        """Fetch what has come of an announced answer; None while some of it is still on its way."""
        if pending.code:
            return Reply(pending.question, None, pending.code)
        http = self._open_run
        for object_id in sorted(pending.missing):
            request = PullObjectRequest(node=http.node, run_id=self._run_id, object_id=object_id)
            with _calls():
                found = http._runtime_client.PullObject(request)
            if not found.object_found:
                return Reply(pending.question, None, "transport.cut_off")
            if not found.object_available:
                return None
            pending.objects[object_id] = found.object_content
            pending.missing.remove(object_id)
        with _calls():
            http._runtime_client.ConfirmMessageReceived(
                ConfirmMessageReceivedRequest(
                    node=http.node, run_id=self._run_id, message_object_id=pending.answer
                )
            )
        try:
            return Reply(pending.question, _payload(pending), "")
        except Hostile as error:
            return Reply(pending.question, None, error.code)

    @property
    def _open_run(self) -> HttpGrid:
        if self._http is None:
            raise RunLost("no run is open")
        return self._http


def objects_to_push(body: bytes) -> int:
    """How many objects the SuperLink waits for, by its answer to a node's push of a message."""
    return len(PushMessagesResponse.FromString(body).objects_to_push)


def only_leaf(tree: ObjectTree) -> str:
    """Id of a message's one record, all that need be fetched of it; empty where there are several."""
    if len(tree.children) != 1 or len(tree.children[0].children) != 1:
        return ""
    leaf = tree.children[0].children[0]
    return "" if leaf.children else str(leaf.object_id)


def _payload(pending: Pending) -> bytes:
    """The bytes of an answer.

    Raises:
        Hostile: ``transport.answer`` for anything but records of one bytes value each; several are
            named 0, 1, ….
    """
    objects, leaf = pending.objects, pending.leaf
    if any(len(content) > CHUNK + 4096 for content in objects.values()):
        raise Hostile("transport.answer", "an object that is too long")
    try:
        if leaf and get_object_id(objects[leaf]) == leaf:
            chunks = [ConfigRecord.inflate(objects[leaf])["b"]]
        else:
            message = inflate_object_from_contents(pending.answer, objects)
            content = message.content if isinstance(message, Message) else RecordDict()
            chunks = [content.config_records[str(i)]["b"] for i in range(len(content))]
    except Exception:  # whatever Flower's parsers raise on hostile bytes
        raise Hostile("transport.answer", "not an answer of our agent") from None
    joined = [chunk for chunk in chunks if isinstance(chunk, bytes)]
    if len(joined) != len(chunks) or not joined:
        raise Hostile("transport.answer", "not an answer of our agent")
    return b"".join(joined)


def _node_code(reason: str) -> str:
    """A node's word on why it failed: one of our codes, or just that it did."""
    try:
        return Error(reason[:64], "").code
    except ValueError:
        return "transport.node"


@contextmanager
def _calls() -> Iterator[None]:
    """Flower's and httpx's errors as ours."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise RunLost(f"the SuperLink answered {error.response.status_code}") from None
    except (httpx.HTTPError, OSError) as error:
        raise Unavailable("transport.superlink", f"the SuperLink is away: {type(error).__name__}") from None
    except ObjectPushError:
        raise RunLost("the SuperLink dropped a question half way") from None
    except (RuntimeError, ValueError) as error:
        raise RunLost(f"unexpected answer of the SuperLink: {type(error).__name__}") from None


def new_secret() -> bytes:
    return secrets.token_hex(32).encode()
