"""The SuperLink, as a process: ``python -m coordinator.transport.server``; pinned to flwr 1.41.

Flower's own server, listening on a Unix socket in a private folder only, because its control and runtime APIs ask
for no credentials worth the name. Layers of it that have nothing to do for a request are kept out of its way: each
costs every request a task and two queues.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

from coordinator.transport.grid import check_version

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

#: They do nothing in our set-up.
_IDLE_LAYERS: Final = frozenset(
    (
        "ControlSensitiveResponseMiddleware",
        "ControlLicenseMiddleware",
        "ControlEventLogMiddleware",
        "FleetEventLogMiddleware",
        "RuntimeTracingMiddleware",
    )
)


#: Layers that look at one part of the API, and let all others through.
_PARTS: Final = {"ControlAuthenticationMiddleware": "/v1/control/", "NodeAuthMiddleware": "/v1/fleet/"}


class Only:
    """A layer for requests below ``prefix``; others pass by it."""

    def __init__(self, app: App, layer: Any, prefix: str) -> None:
        self._app, self._prefix = app, prefix
        self._inside: App = layer.cls(app, *layer.args, **layer.kwargs)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        below = scope["type"] != "http" or scope["path"].startswith(self._prefix)
        await (self._inside if below else self._app)(scope, receive, send)


def thinned(layers: list[Any]) -> list[Any]:
    """A server's layers without the idle ones, and some of them for their part alone."""
    from starlette.middleware import Middleware

    named = ((getattr(layer.cls, "__name__", ""), layer) for layer in layers)
    return [
        Middleware(Only, layer=layer, prefix=_PARTS[name]) if name in _PARTS else layer
        for name, layer in named
        if name not in _IDLE_LAYERS
    ]


def serve(socket: Path, secret: bytes) -> None:
    """Flower's SuperLink on a Unix socket: no port, no ServerApp processes, node authentication on, no file.

    What it would store is worth nothing to us, since letters live in the spool: without a database it leaves no
    tokens on the disk and takes half the time.
    """
    import uvicorn
    from flwr.common.constant import ISOLATION_MODE_PROCESS, TRANSPORT_TYPE_GRPC_RERE
    from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
    from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
    from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
    from flwr.superlink.config_loader import SuperLinkLifespanConfig
    from flwr.superlink.main import create_app

    check_version()
    config = SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host="",
        port=0,
        insecure=True,
        certificates=None,
        superexec_auth_secret=secret,
        authn_plugin=NoOpControlAuthnPlugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=None,
        ssl_certfile=None,
        ssl_keyfile=None,
        database=FLWR_IN_MEMORY_DB_NAME,
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )
    app = create_app(config, SuperLinkLifespan)
    app.user_middleware = thinned(app.user_middleware)
    uvicorn.run(app, uds=str(socket), log_level="warning", access_log=False, workers=1)


def main() -> None:
    from consilium_children import end_with_parent

    parser = argparse.ArgumentParser(description="The coordinator's SuperLink; started by it, not by hand.")
    for name in ("--socket", "--secret-file"):
        parser.add_argument(name, type=Path, required=True)
    arguments = parser.parse_args()
    os.umask(0o077)
    end_with_parent()
    serve(arguments.socket, arguments.secret_file.read_bytes())


if __name__ == "__main__":
    main()
