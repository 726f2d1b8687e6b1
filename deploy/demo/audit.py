"""Five tampered bundles that the auditor must refuse."""

from __future__ import annotations

from collections.abc import Callable

from consent_contracts.auditor import audit
from consent_contracts.auditor.content import bundle_info
from consilium_errors import Hostile
from coordinator.client import Kit
from crypto import envelopes, keyfiles
from deploy.demo.federation import REGULATOR
from deploy.demo.session import Session, Study
from protos import wire
from protos.consilium.v1 import round_pb2 as pb

Q_BYTES = 32
Tamper = Callable[[pb.Bundle, pb.Openings], None]


def tampered(bundle: bytes, study: bytes, secret: bytes, how: Tamper) -> bytes:
    """The bundle with one thing altered, its envelope closed again as a forger with the regulator's key would."""
    message = wire.parse(pb.Bundle, bundle)
    plain = envelopes.open_sealed(secret, bundle_info(study), message.sealed_openings)
    openings = wire.parse(pb.Openings, plain)
    how(message, openings)
    message.sealed_openings = envelopes.seal(
        envelopes.public_of(secret), bundle_info(study), wire.encode(openings)
    )
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


def refuse_tampered(session: Session, study: Study) -> list[dict[str, str]]:
    """Forge the study's bundle in each way that applies; the auditor must refuse every one.

    Raises:
        Hostile: ``demo.forgery_passed``.
    """
    federation, bundles = session.federation, session.folder / "bundles"
    chain = Kit.load(federation.kit(REGULATOR)).config.chain
    secret = keyfiles.load(federation.kit(REGULATOR) / "hpke.key")
    genuine = (bundles / f"{study.name}.bundle").read_bytes()
    refused: list[dict[str, str]] = []
    for what, how in MUTATIONS.items():
        if how is _order and len(study.seals) < 2:
            continue
        forged = tampered(genuine, study.id, secret, how)
        (bundles / f"{study.name}-forged-{len(refused) + 1}.bundle").write_bytes(forged)
        with session.screen.waiting(f"{what} altered"):
            verdict = audit(chain.rpc, chain.addresses(), bundle=forged, regulator_key=secret, study=study.id)
        if not verdict.failed:
            raise Hostile("demo.forgery_passed", f"altering {what} was not noticed")
        first = verdict.failed[0]
        session.screen.line("tamper", f"{what} altered: {first.name}, {first.code}", "REFUSED")
        refused.append({"altered": what, "check": first.name, "code": first.code})
    return refused
