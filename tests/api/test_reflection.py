"""A client that has none of our code: it learns the services from the server, as grpcurl does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from coordinator.server import SERVICES
from tests.api.stand import Stand

FOREIGN = """
import sys, grpc
from pathlib import Path
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

class Patient:
    def __init__(self, channel): self._channel = channel
    def __getattr__(self, name):
        make = getattr(self._channel, name)
        return lambda *a, **k: (lambda r, **kw: make(*a, **k)(r, timeout=10))

target, folder = sys.argv[1], Path(sys.argv[2])
ca, cert, key = ((folder / f).read_bytes() for f in ("ca.pem", "tls.pem", "tls.key"))
channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, cert))
database = ProtoReflectionDescriptorDatabase(Patient(channel))
pool = descriptor_pool.DescriptorPool(database)
method = pool.FindServiceByName("consilium.v1.StudyService").FindMethodByName("List")
ask, answer = (message_factory.GetMessageClass(t) for t in (method.input_type, method.output_type))
call = channel.unary_unary("/consilium.v1.StudyService/List",
    request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString)
print(json_format.MessageToJson(call(ask(), timeout=10)))
assert not [m for m in sys.modules if m.startswith(("protos", "coordinator", "consilium"))]
"""


class Hurried:
    """Gives every call a deadline; the reflection library sets none."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._channel, name)
        return lambda *a, **k: lambda request, **_: made(*a, **k)(request, timeout=10)


def test_a_foreign_client_in_a_process_of_its_own(stand: Stand, tmp_path: Path) -> None:
    stand.client().submit(stand.spec("foreign"))
    stand.papers("sponsor").files(tmp_path / "kit")
    found = subprocess.run(
        [sys.executable, "-I", "-c", FOREIGN, stand.target, str(tmp_path / "kit")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert '"name": "foreign"' in found.stdout
    assert '"phase": "OFFERED"' in found.stdout


def test_every_service_and_message_is_described(stand: Stand) -> None:
    database = ProtoReflectionDescriptorDatabase(Hurried(stand.channel(stand.papers("regulator"))))
    listed = set(database.get_services())
    assert set(SERVICES) <= listed
    pool = descriptor_pool.DescriptorPool(database)
    for name in SERVICES:
        for method in pool.FindServiceByName(name).methods:
            for kind in (method.input_type, method.output_type):
                message_factory.GetMessageClass(kind)()


def test_the_status_is_readable_without_our_code(stand: Stand) -> None:
    channel = stand.channel(stand.papers("regulator"))
    try:
        channel.unary_unary("/consilium.v1.StudyService/Get")(b"", timeout=5)
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("consilium", "STUDY_UNKNOWN")
    assert dict(info.metadata) == {"code": "study.unknown", "kind": "misuse"}


def test_health(stand: Stand) -> None:
    stub = health_pb2_grpc.HealthStub(stand.channel(stand.papers("hospital")))
    for name in ("", *SERVICES):
        stand.wait(
            lambda name=name: (  # type: ignore[misc]
                stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status
                == health_pb2.HealthCheckResponse.SERVING
            )
        )
