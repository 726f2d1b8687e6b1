"""Messages signed by an organisation's agent key, as delegated on the chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from google.protobuf.message import Message

from consilium_errors import Hostile
from crypto import identity
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb

M = TypeVar("M", bound=Message)


def sign(kind: str, payload: Message, *, org: bytes, key: identity.AgentKey) -> pb.Signed:
    body = wire.encode(payload)
    return pb.Signed(
        kind=kind, sender=org, payload=body, signature=key.sign(digests.signing_digest(kind, body))
    )


def opened(signed: pb.Signed, kind: str, type_: type[M], agents: Mapping[bytes, bytes]) -> M:
    """The payload, once its signature by the sender's agent in force is checked.

    Args:
        agents: organisation → agent address, 20 bytes each, read from the chain.

    Raises:
        Hostile: ``signed.kind``, ``signed.unknown_sender``, ``signed.sender``, a ``signature.*`` or a ``wire.*``.
    """
    if signed.kind != kind:
        raise Hostile("signed.kind", f"expected a signed {kind}, got {signed.kind}")
    agent = agents.get(signed.sender)
    if agent is None:
        raise Hostile("signed.unknown_sender", "the sender is not of this study")
    identity.verify(digests.signing_digest(kind, signed.payload), signed.signature, agent)
    payload = wire.parse(type_, signed.payload)
    if getattr(payload, "org", signed.sender) != signed.sender:
        raise Hostile("signed.sender", "the payload names another organisation than its signer")
    return payload


def verify_typed(digest: bytes, signature: bytes, org: bytes, agents: Mapping[bytes, bytes]) -> None:
    """An EIP-712 signature (Receipt, Seal) by the organisation's agent in force."""
    agent = agents.get(org)
    if agent is None:
        raise Hostile("signed.unknown_sender", "the signer is not of this study")
    identity.verify(digest, signature, agent)
