"""A call's failure as one of our errors. The server's code is kept; message and remedy are written here, at home."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from consilium_errors import Error, Hostile, Misuse, Refused, Unavailable

DOMAIN = "consilium"
_KINDS: dict[str, type[Error]] = {k.kind: k for k in (Refused, Hostile, Misuse, Unavailable)}

#: Stable code → (what happened, what to do).
_WORDS = {
    "api.busy": ("too many open calls of this organisation", "end other watches and calls first"),
    "api.deadline": ("the call had no deadline", "set one"),
    "api.internal": (
        "the coordinator failed in a way it did not foresee",
        "try again; tell its operator when",
    ),
    "api.malformed": ("the coordinator could not read the message", "use a client of the server's version"),
    "api.not_yours": ("only the study's sponsor may do this", "use the kit of the sponsor who registered it"),
    "api.rate": ("too many calls in a short time", "call less often"),
    "api.role": ("this certificate's role may not do this", "use the kit of the role that may"),
    "certificate.expired": ("our certificate has expired", "consilium provision renew"),
    "certificate.malformed": ("our certificate names no member", "ask for a new kit"),
    "certificate.missing": ("the connection had no certificate", "use a kit"),
    "certificate.name": ("our certificate names no member", "ask for a new kit"),
    "certificate.revoked": ("our certificate was revoked", "ask the consortium's authority for a new kit"),
    "chain.unknown": ("the chain does not know this yet", "register the study; wait until it is final"),
    "offer.unpinned": ("the chain knows this study under another spec or key", "submit what was registered"),
    "study.at_least": ("not a number of hospitals that the study allows", "min_sites or more, at most all"),
    "study.cancelled": ("the study was cancelled", "submit a new one"),
    "study.unknown": ("no such study for this organisation", "consilium study list shows those there are"),
    "study.unreleased": ("no hospital has released a result yet", "consilium study watch"),
}

#: Failures below our own protocol → (class, code, what happened, what to do).
_BARE: dict[grpc.StatusCode, tuple[type[Error], str, str, str]] = {
    grpc.StatusCode.UNAVAILABLE: (
        Unavailable,
        "api.unreachable",
        "the coordinator cannot be reached, or one side's certificate was not accepted",
        "check the address, that it is up, and that both certificates are of one consortium and in force",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        Unavailable,
        "api.late",
        "the coordinator did not answer in time",
        "try again; nothing is lost",
    ),
    grpc.StatusCode.CANCELLED: (Unavailable, "api.cancelled", "the call was cut", "try again"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (
        Refused,
        "api.limit",
        "a message is too large, or the coordinator is full",
        "send less, or try again later",
    ),
    grpc.StatusCode.UNIMPLEMENTED: (
        Misuse,
        "api.version",
        "the server does not offer this call",
        "use client and server of one version",
    ),
}


def from_rpc(failure: grpc.RpcError) -> Error:
    """Our error for a failed call; a status that does not fit its own details is `Hostile` ``api.status``."""
    try:
        status = rpc_status.from_call(failure)
        if status is None:
            return _bare(failure)
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == DOMAIN:
                return _ours(info.metadata["code"], info.metadata["kind"])
    except ValueError:
        return Hostile("api.status", "the server's status contradicts itself", "is this a coordinator?")
    return _bare(failure)


def _ours(code: str, kind: str) -> Error:
    message, remedy = _WORDS.get(code, ("the coordinator refused", ""))
    if kind not in _KINDS or len(code) > 64:
        raise ValueError
    return _KINDS[kind](code, message, remedy)


def _bare(failure: grpc.RpcError) -> Error:
    code: grpc.StatusCode = getattr(failure, "code", lambda: grpc.StatusCode.UNKNOWN)()
    found = _BARE.get(code)
    if found is None:
        return Unavailable("api.failed", f"the call failed: {code.name}", "try again")
    kind, ours, message, remedy = found
    return kind(ours, message, remedy)
