"""Our errors as gRPC's rich status: the stable code crosses, nothing else (google.rpc.Status, AIP-193)."""

from __future__ import annotations

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from consilium_errors import Error, Hostile, Misuse, Refused, Unavailable

DOMAIN = "consilium"
INTERNAL = "api.internal"

_BY_KIND = {
    Refused.kind: grpc.StatusCode.FAILED_PRECONDITION,
    Hostile.kind: grpc.StatusCode.INVALID_ARGUMENT,
    Misuse.kind: grpc.StatusCode.INVALID_ARGUMENT,
    Unavailable.kind: grpc.StatusCode.UNAVAILABLE,
}
_BY_CODE = {
    INTERNAL: grpc.StatusCode.INTERNAL,
    "api.busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "api.not_yours": grpc.StatusCode.PERMISSION_DENIED,
    "api.rate": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "api.role": grpc.StatusCode.PERMISSION_DENIED,
    "study.unknown": grpc.StatusCode.NOT_FOUND,
}


def status_code(error: Error) -> grpc.StatusCode:
    if error.code.startswith("certificate."):
        return grpc.StatusCode.UNAUTHENTICATED
    return _BY_CODE.get(error.code, _BY_KIND[error.kind])


def to_status(error: Error) -> grpc.Status:
    """Message and details name the code; reason is the code in the upper case that AIP-193 asks for."""
    info = error_details_pb2.ErrorInfo(
        reason=error.code.upper().replace(".", "_"),
        domain=DOMAIN,
        metadata={"code": error.code, "kind": error.kind},
    )
    detail = any_pb2.Any()
    detail.Pack(info)
    number = status_code(error).value[0]
    made: grpc.Status = rpc_status.to_status(
        status_pb2.Status(code=number, message=error.code, details=[detail])
    )
    return made


def internal() -> Unavailable:
    """What any error that we did not foresee becomes abroad."""
    return Unavailable(INTERNAL, "unforeseen; the local log has it")
