"""The auditor's replay, and five tampered bundles that it must refuse."""

from __future__ import annotations

from collections.abc import Callable

from consent_contracts.auditor import Verdict, audit
from consent_contracts.auditor.content import bundle_info
from consent_contracts.chain import Addresses
from crypto import envelopes
from protos import wire
from protos.consilium.v1 import round_pb2 as pb

Q_BYTES = 32
Tamper = Callable[[pb.Bundle, pb.Openings], None]


def tampered(bundle: bytes, study: bytes, regulator: tuple[bytes, bytes], how: Tamper) -> bytes:
    """The bundle with one thing altered, its envelope closed again as a forger with the key would."""
    message = wire.parse(pb.Bundle, bundle)
    secret, public = regulator
    plain = envelopes.open_sealed(secret, bundle_info(study), message.sealed_openings)
    openings = wire.parse(pb.Openings, plain)
    how(message, openings)
    message.sealed_openings = envelopes.seal(public, bundle_info(study), wire.encode(openings))
    return wire.encode(message)


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _signature(bundle: pb.Bundle, openings: pb.Openings) -> None:
    share = bundle.rounds[0].shares[0]
    share.signature = _flip(share.signature, 40)


def _sum(bundle: pb.Bundle, openings: pb.Openings) -> None:
    openings.openings[0].sum = _flip(openings.openings[0].sum, 0)


def _receipt(bundle: pb.Bundle, openings: pb.Openings) -> None:
    receipt = bundle.rounds[0].receipts[0]
    receipt.ciphertext_digest = _flip(receipt.ciphertext_digest, 0)


def _order(bundle: pb.Bundle, openings: pb.Openings) -> None:
    first, second = bundle.rounds[0], bundle.rounds[1]
    kept = pb.SealedRound()
    kept.CopyFrom(first)
    first.CopyFrom(second)
    second.CopyFrom(kept)


def _randomness(bundle: pb.Bundle, openings: pb.Openings) -> None:
    openings.openings[0].randomness = _flip(openings.openings[0].randomness, Q_BYTES - 1)


MUTATIONS: dict[str, Tamper] = {
    "a signature": _signature,
    "a sum": _sum,
    "a receipt": _receipt,
    "the order": _order,
    "the opening's randomness": _randomness,
}


def replay(
    rpc_url: str, addresses: Addresses, study: bytes, bundle: bytes, regulator_secret: bytes
) -> Verdict:
    """All that the auditor is given: an RPC URL, the addresses, the bundle and the regulator's key."""
    return audit(rpc_url, addresses, bundle=bundle, regulator_key=regulator_secret, study=study)
