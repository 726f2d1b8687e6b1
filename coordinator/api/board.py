"""What clients are shown of a study, read from the coordinator's records and the chain.

Each study is read at most once in `FRESH_S`, however many look: nobody can make the coordinator work by asking.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from analytics.study import StudySpec
from consent_contracts.chain import StudyView
from consilium_errors import Misuse, Refused
from coordinator.consents import Beginnings, Consents
from coordinator.service import Coordinator, Status
from crypto.certificates import Member
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from protos.consilium.v1 import services_pb2 as api

FRESH_S = 0.2
PAGE = 50
READERS = ("sponsor", "hospital")
FINAL = (api.FINISHED, api.CANCELLED, api.CLOSED)


@dataclass
class _Card:
    lock: threading.Lock = field(default_factory=threading.Lock)
    read_at: float = float("-inf")
    shown: api.Study | None = None


class Board:
    def __init__(
        self,
        coordinator: Coordinator,
        consents: Consents,
        beginnings: Beginnings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._coordinator, self._consents, self._beginnings = coordinator, consents, beginnings
        self._clock = clock
        self._cards: defaultdict[bytes, _Card] = defaultdict(_Card)
        self._names: dict[bytes, str] = {}

    # who may see -----------------------------------------------------------------------------------------

    def visible(self, study: bytes, member: Member, roles: tuple[str, ...] = READERS) -> StudyView:
        """The study on the chain, if ``member`` may know of it here.

        Raises:
            Misuse: ``study.unknown``, also for a study that is others' business.
        """
        if len(study) == 32 and self._coordinator.offer(study) is not None:
            try:
                found = self._coordinator.chain.snapshot().study(study)
            except Refused:
                raise unknown() from None
            if member.role in roles and concerns(found, member):
                return found
        raise unknown()

    def page(
        self, member: Member, request: api.ListRequest, roles: tuple[str, ...] = READERS
    ) -> api.ListResponse:
        """Of the studies that ``member`` may know of, those after the last page's."""
        size = min(request.page_size or PAGE, PAGE)
        ids = [s for s in self._coordinator.studies() if s > request.after and self._sees(s, member, roles)]
        following = ids[size - 1] if len(ids) > size else b""
        return api.ListResponse(studies=[self.show(s) for s in ids[:size]], next=following)

    def _sees(self, study: bytes, member: Member, roles: tuple[str, ...]) -> bool:
        try:
            self.visible(study, member, roles)
        except Misuse:
            return False
        return True

    # what is seen ----------------------------------------------------------------------------------------

    def show(self, study: bytes, *, anew: bool = False) -> api.Study:
        """As of the last `FRESH_S` seconds; ``anew``: as of now."""
        card = self._cards[study]
        with card.lock:
            if anew or card.shown is None or self._clock() - card.read_at >= FRESH_S:
                card.shown = self._read(study)
                card.read_at = self._clock()
            return card.shown

    def spec(self, study: bytes) -> bytes:
        offer = self._coordinator.offer(study)
        if offer is None:
            raise unknown()
        return offer.spec

    def _read(self, study: bytes) -> api.Study:
        coordinator = self._coordinator
        on_chain = coordinator.chain.snapshot().study(study)
        status = coordinator.status(study)
        releases = len(coordinator.releases(study))
        phase = self._phase(study, on_chain, status, releases)
        early = phase in (api.OFFERED, api.AWAITING)
        return api.Study(
            id=study,
            name=self._name(study),
            phase=phase,
            spec_hash=on_chain.spec_hash,
            sponsor=on_chain.sponsor,
            roster=on_chain.roster,
            consents=[o for o in self._consents.live(study) if o in on_chain.roster] if early else (),
            round=status.round,
            attempt=status.attempt,
            analysis=status.analysis,
            waiting_for=status.waiting_for,
            missing=status.missing,
            last=status.last,
            halted=status.halted,
            seals=status.round - 1,
            releases=releases,
            needed=on_chain.min_sites,
            accused=[
                api.Accusation(round=a.round, code=a.code, orgs=a.orgs, by=a.by) for a in status.accused
            ],
        )

    def _phase(self, study: bytes, on_chain: StudyView, status: Status, releases: int) -> api.Phase:
        if status.finished:
            return api.FINISHED if releases >= on_chain.min_sites else api.SEALED
        if on_chain.closed:
            return api.CLOSED
        if self._coordinator.cancelled(study):
            return api.CANCELLED
        if not self._coordinator.started(study):
            return api.OFFERED if self._beginnings.wanted(study) is None else api.AWAITING
        return api.HALTED if status.halted else api.RUNNING

    def _name(self, study: bytes) -> str:
        if study not in self._names:
            self._names[study] = StudySpec.from_canonical(self.spec(study)).id
        return self._names[study]

    # seals -----------------------------------------------------------------------------------------------

    def seal(self, study: bytes, number: int) -> api.SealInfo | None:
        """The seal of a round once the chain shows it; None before."""
        public = self.public_round(study, number)
        attested = self._coordinator.store.get(study.hex(), f"attested-{number}")
        analysis = self._coordinator.sealed_analysis(study, number)
        if public is None or attested is None or analysis is None:
            return None
        return api.SealInfo(
            number=number,
            seal_id=wire.parse(pb.Attested, attested).seal_id,
            analysis=analysis,
            members=[header.sender for header in public.headers],
            signers=[share.sender for share in public.shares],
        )

    def public_round(self, study: bytes, number: int) -> pb.SealedRound | None:
        """What an auditor may see of an attested round."""
        if self._coordinator.store.get(study.hex(), f"told-{number}") is None:
            return None
        body = self._coordinator.store.get(study.hex(), f"round-{number}")
        return None if body is None else wire.parse(pb.SealedRound, body)

    def releases(self, study: bytes) -> dict[bytes, bytes]:
        return self._coordinator.releases(study)


def concerns(study: StudyView, member: Member) -> bool:
    """The study's sponsor, a hospital of its roster, or a regulator."""
    if member.role == "sponsor":
        return member.org == study.sponsor
    if member.role == "hospital":
        return member.org in study.roster
    return member.role == "regulator"


def own(study: StudyView, member: Member) -> None:
    """Raises Refused ``api.not_yours`` unless ``member`` is the study's sponsor."""
    if member.role != "sponsor" or member.org != study.sponsor:
        raise Refused("api.not_yours", "only the study's sponsor may do this")


def unknown() -> Misuse:
    return Misuse("study.unknown", "no such study for this caller", "submit it first")
