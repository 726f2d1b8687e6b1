"""What our adapters take from Flower's insides; each of these fails loudly on a Flower that has changed."""

from __future__ import annotations

import hashlib
import inspect
import io
import time
import zipfile

import flwr
import httpx
import pytest
from flwr.common.config import get_fab_config
from flwr.supercore import heartbeat, retry
from flwr.supercore.protobuf.client import ProtobufClient
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.superlink.main import create_app
from flwr.superlink.routers.control import middlewares
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from flwr.supernode import fleet_http_connection, start_client_internal

from consilium_errors import Misuse
from coordinator.transport import gate, grid, server
from participants.transport import node
from protos.fab import FAB, FAB_HASH
from tests.transport.world import World


def names(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_version_is_the_one_we_know() -> None:
    assert flwr.__version__.startswith("1.41.")
    grid.check_version()
    node.check_version()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flwr, "__version__", "1.42.0")
    for module in (grid, node):
        with pytest.raises(Misuse) as caught:
            module.check_version()
        assert caught.value.code == "transport.flower_version"


def test_what_we_replace_must_be_there() -> None:
    with pytest.raises(Misuse) as caught:
        node._replace(start_client_internal, "gone", None)
    assert caught.value.code == "transport.flower_version"


def test_the_supernodes_loop_is_the_one_we_hook_into() -> None:
    loop = inspect.getsource(start_client_internal.start_client_internal)
    assert "time.sleep(3)" in loop
    assert loop.count("_push_messages(") == loop.count("_pull_and_store_message(") == 1
    pull = inspect.getsource(start_client_internal._pull_and_store_message)
    assert pull.index("get_fab(") < pull.index("get_fused_config_from_fab(")
    assert "pull_objects(" in pull
    assert {"state", "receive", "get_fab"} <= set(names(start_client_internal._pull_and_store_message))
    assert names(start_client_internal._push_messages) == ["state", "object_store", "send", "push_object"]
    assert "time.sleep(0.5)" in inspect.getsource(start_client_internal._push_messages)
    assert names(start_client_internal._insert_message) == ["msg", "state", "store"]
    line = inspect.getsource(fleet_http_connection.http_request_response)
    assert "FleetHttpClient.from_server_address(" in line
    assert "make_simple_http_retry_invoker()" in line


def test_with_process_isolation_nothing_is_started() -> None:
    loop = inspect.getsource(start_client_internal.start_client_internal)
    assert loop.index("if isolation == ISOLATION_MODE_SUBPROCESS") < loop.index("subprocess.Popen")
    assert "import_module" not in inspect.getsource(start_client_internal)
    assert "install_from_fab" not in inspect.getsource(start_client_internal)


def test_the_superlink_authenticates_nodes_and_we_drop_only_idle_layers() -> None:
    layers = {getattr(layer.cls, "__name__", "") for layer in create_app().user_middleware}
    assert layers >= server._IDLE_LAYERS
    kept = layers - server._IDLE_LAYERS
    assert kept == {
        "BaseHTTPMiddleware",
        "ControlAuthenticationMiddleware",
        "ProtobufTranslationMiddleware",
        "NodeAuthMiddleware",
    }
    assert set(create_app().openapi()["paths"]) >= gate.OPEN
    # What a layer lets through by itself is all that we lead past it.
    assert 'request.url.path.startswith("/v1/fleet/")' in inspect.getsource(NodeAuthMiddleware.dispatch)
    assert "if not _is_control_path(request.url.path)" in inspect.getsource(
        middlewares.ControlAuthenticationMiddleware.dispatch
    )
    assert 'return path.startswith("/v1/control/")' in inspect.getsource(middlewares._is_control_path)
    assert server._PARTS == {
        "ControlAuthenticationMiddleware": "/v1/control/",
        "NodeAuthMiddleware": "/v1/fleet/",
    }


def test_the_clients_transport_and_the_grids_parts_are_where_we_reach() -> None:
    assert "self._client = httpx.Client(" in inspect.getsource(ProtobufClient.__init__)
    assert {"_retry_invoker", "node"} <= set(vars(HttpGrid("x", insecure=True, token="t")))
    assert isinstance(inspect.getattr_static(HttpGrid, "_runtime_client"), property)
    assert "self._connect()" in inspect.getsource(HttpGrid._runtime_client.fget)  # type: ignore[attr-defined]
    assert "retry_invoker=self._retry_invoker" in inspect.getsource(HttpGrid._connect)
    assert "SIGINT" in inspect.getsource(retry.make_simple_http_retry_invoker)
    assert ProtobufClient("http://x")._retry_invoker is None
    # Flower's own heartbeat raises SIGINT in the process that holds a run: we do not use it.
    assert "raise_signal" in inspect.getsource(heartbeat.make_task_heartbeat_fn_http)
    assert "make_task_heartbeat_fn_http" not in inspect.getsource(grid)


def test_the_app_holds_a_name_and_no_code() -> None:
    with zipfile.ZipFile(io.BytesIO(FAB)) as bundle:
        assert bundle.namelist() == ["pyproject.toml"]
    assert get_fab_config(FAB)["project"]["name"] == "consilium-mailbox"
    assert hashlib.sha256(FAB).hexdigest() == FAB_HASH
    assert (
        FAB_HASH == "7f5f4eef93a9a3f590e922bfa2d435b906888c1fa5e74407fc994f9b8f674569"
    )  # hospitals elsewhere refuse any other


def test_behind_the_gate_too_every_request_shows_who_it_is_from(world: World) -> None:
    """The thinned layers still ask: a node must sign, a holder of the run must have its token."""
    socket = httpx.HTTPTransport(uds=str(world.coordinator.superlink.socket))
    with httpx.Client(transport=socket, base_url="http://superlink") as client:
        for path in (
            "fleet/pull-messages",
            "fleet/push-object",
            "runtime/pull-messages",
            "runtime/push-object",
        ):
            answer = client.post(f"/v1/{path}", content=b"", headers={"content-type": "application/protobuf"})
            assert answer.status_code in (401, 403), (path, answer.status_code, answer.text)


def test_a_run_that_was_closed_is_not_asked_again_by_anyone(world: World) -> None:
    """A worker may be in the midst of a question when another finds the run lost and closes it."""
    superlink = world.coordinator.superlink
    lost = grid.Grid(superlink.socket, superlink.secret)
    lost.open()
    lost.close()
    began = time.monotonic()
    with pytest.raises(grid.RunLost):
        lost.ask(1, b"letter")
    with pytest.raises(grid.RunLost):
        lost.answers(["question"])
    assert time.monotonic() - began < 1.0
