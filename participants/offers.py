"""A study as offered must be the study that the chain knows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from analytics.privacy import terms_of
from analytics.study import StudySpec
from consent_contracts.chain import AnalysisView, StudyView
from consent_contracts.claims import claims
from consilium_errors import Hostile, Refused
from protos import digests
from protos.consilium.v1 import round_pb2 as pb


def check_offer(
    offer: pb.StudyOffer,
    spec: StudySpec,
    on_chain: StudyView,
    org: bytes,
    price_of: Callable[[bytes], AnalysisView],
) -> None:
    """Every term that hospitals rely on is pinned on the chain, and is the spec's.

    Args:
        price_of: analysis id → what the chain says that one opening costs.

    Raises:
        Misuse: ``privacy.*`` when the noise cannot keep the promise.
        Hostile: ``offer.unpinned`` naming the term; ``offer.committee`` if a hospital would compute on shares.
        Refused: ``offer.not_invited``.
    """
    purpose = spec.purpose
    purposes, satisfies, scope = claims(
        purpose.duo, purpose.modifiers, disease=purpose.disease, commercial=purpose.commercial
    )
    expected: dict[str, tuple[object, object]] = {
        "spec": (spec.spec_hash, on_chain.spec_hash),
        "sponsor key": (hashlib.sha256(offer.sponsor_key).digest(), on_chain.sponsor_key),
        "mode": (digests.EXACT if spec.release.mode == "exact" else digests.DP, on_chain.mode),
        "smallest set": (spec.min_sites, on_chain.min_sites),
        "collusion bound": (spec.collusion, on_chain.collusion),
        "window": (spec.window_s, on_chain.window),
        "number of sites": (len(spec.sites), len(on_chain.roster)),
        "analyses": (
            sorted(digests.analysis_id(entry.id) for entry in spec.analysis),
            sorted(on_chain.analyses),
        ),
        "purposes": (purposes, on_chain.purposes),
        "modifiers": (satisfies, on_chain.satisfies),
        "scope": (scope, on_chain.scope),
    }
    for term, (offered, pinned) in expected.items():
        if offered != pinned:
            raise Hostile("offer.unpinned", f"the chain knows another {term}")
    if spec.release.mode == "dp":
        for entry in spec.analysis:
            check_price(spec, entry.id, price_of(digests.analysis_id(entry.id)))
    if {member.address for member in spec.committee} & set(on_chain.roster):
        raise Hostile("offer.committee", "a hospital of the study is on its committee")
    if org not in on_chain.roster:
        raise Refused("offer.not_invited", "this hospital is not on the study's roster")


def check_price(spec: StudySpec, name: str, price: AnalysisView) -> None:
    """One opening is booked at what the noise of the study file costs, neither less nor for other noise.

    Raises:
        Hostile: ``offer.price``.
    """
    if (price.rho, price.delta, price.noise) != terms_of(spec, name):
        raise Hostile("offer.price", f"the chain books another price than the noise of {name} has")
