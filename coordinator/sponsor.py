"""The sponsor: registers a study, offers it, and opens what the hospitals release to its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analytics.privacy import terms_of
from analytics.study import StudySpec
from consent_contracts.chain import study_id
from consent_contracts.claims import claims
from consent_contracts.contracts import AnalysisTerms, Contracts, StudyTerms
from consent_contracts.signed import opened
from consilium_errors import Hostile, Refused
from crypto import envelopes
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb


@dataclass(frozen=True)
class Result:
    """The answer that ``approvals`` hospitals released alike, and the seals on which it stands."""

    content: dict[str, Any]
    approvals: tuple[bytes, ...]
    seal_ids: tuple[bytes, ...]


def register(
    contracts: Contracts, spec: StudySpec, *, coordinator: bytes, roster: tuple[bytes, ...], key: bytes
) -> bytes:
    """Register the study on the chain, every term that the hospitals rely on with it; returns its id.

    Args:
        roster: organisations of ``spec.sites``, ascending.
        key: the sponsor's HPKE public key, to which alone the result may be released.

    Raises:
        Misuse: ``privacy.*`` when the promise cannot be kept.
    """
    purpose = spec.purpose
    purposes, satisfies, scope = claims(
        purpose.duo, purpose.modifiers, disease=purpose.disease, commercial=purpose.commercial
    )
    contracts.register_study(
        StudyTerms(
            spec_hash=spec.spec_hash,
            coordinator=coordinator,
            purposes=purposes,
            satisfies=satisfies,
            scope=scope,
            mode=digests.EXACT if spec.release.mode == "exact" else digests.DP,
            min_sites=spec.min_sites,
            collusion=spec.collusion,
            window=spec.window_s,
            sponsor_key=key_hash(key),
            roster=roster,
            analyses=tuple(
                AnalysisTerms(digests.analysis_id(entry.id), *terms_of(spec, entry.id))
                for entry in spec.analysis
            ),
        )
    )
    return study_id(contracts.sender.address, spec.spec_hash)


def offer(study: bytes, spec: StudySpec, sponsor_key: bytes) -> bytes:
    """The study as it is submitted to the coordinator; the chain pins the hashes of spec and key."""
    message = pb.StudyOffer(study=study, spec=spec.canonical(), sponsor_key=sponsor_key)
    return wire.encode(message)


def key_hash(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()


def open_releases(
    study: bytes,
    releases: Mapping[bytes, bytes],
    secret: bytes,
    agents: Mapping[bytes, bytes],
    *,
    needed: int,
) -> Result:
    """Open every release and compare.

    Args:
        releases: organisation → signed release.
        secret: the sponsor's HPKE secret.
        needed: how many hospitals must have released the same result.

    Raises:
        Refused: ``release.too_few``. Hostile: ``release.differs``, or a fault of a signature or envelope.
    """
    found: dict[bytes, tuple[bytes, ...]] = {}
    contents: dict[bytes, bytes] = {}
    for org, body in sorted(releases.items()):
        signed = wire.parse(pb.Signed, body)
        message = opened(signed, "release", pb.Release, agents)
        if message.study != study or signed.sender != org:
            raise Hostile("release.study", "a release belongs to another study or hospital")
        info = digests.tagged("release", study, org, *message.seal_ids)
        contents[org] = envelopes.open_sealed(secret, info, message.sealed)
        found[org] = tuple(message.seal_ids)
    if len(found) < needed:
        raise Refused("release.too_few", f"{len(found)} releases, expected {needed}")
    if len(set(contents.values())) != 1:
        raise Hostile("release.differs", "hospitals released different results")
    longest = max(found.values(), key=len)
    first = next(iter(contents.values()))
    return Result(json.loads(first), tuple(found), longest)
