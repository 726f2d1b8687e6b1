"""`Consilium`: one organisation's face to the coordinator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from analytics.study import StudySpec
from consilium_errors import Hostile, Misuse, Refused, Unavailable
from coordinator import sponsor
from coordinator.client import model
from coordinator.client.connection import Connection
from coordinator.client.kit import Kit, Sponsor
from coordinator.client.model import Seal, StudyEvent, StudyState, Verdict
from coordinator.sponsor import Result
from crypto import envelopes
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from protos.consilium.v1 import services_pb2 as api

if TYPE_CHECKING:
    from consent_contracts.chain import Chain, StudyView

T = TypeVar("T")

FINAL_WAIT_S = 180.0
REPLAY_S = 300.0
LARGEST_RELEASE = 256 << 20


class Consilium:
    """Calls may come from several threads. Every method raises `consilium_errors` only.

    Args:
        chain: this organisation's own view, needed to check a result; `from_kit` opens it.
        account: what a sponsor needs to register studies.
    """

    def __init__(
        self, connection: Connection, *, chain: Chain | None = None, account: Sponsor | None = None
    ) -> None:
        self._connection, self._chain, self._account = connection, chain, account

    @classmethod
    def connect(
        cls,
        target: str,
        *,
        ca: bytes | Path,
        certificate: bytes | Path,
        key: bytes | Path,
        chain: Chain | None = None,
        account: Sponsor | None = None,
        deadline_s: float = 20.0,
    ) -> Consilium:
        """``target`` is host:port; the rest PEM, as bytes or files. Nothing is sent until the first call.

        Raises:
            Misuse: ``certificate.*`` when the files do not fit each other or the time.
        """
        connection = Connection(target, ca=ca, certificate=certificate, key=key, deadline_s=deadline_s)
        return cls(connection, chain=chain, account=account)

    @classmethod
    def from_kit(cls, kit: Kit | Path) -> Consilium:
        """With everything that the kit's role has."""
        kit = kit if isinstance(kit, Kit) else Kit.load(kit)
        return cls.connect(
            kit.config.coordinator.target,
            ca=kit.folder / "ca.pem",
            certificate=kit.folder / "tls.pem",
            key=kit.folder / "tls.key",
            chain=kit.config.chain.open(),
            account=kit.sponsor() if kit.config.role == "sponsor" else None,
        )

    # studies ---------------------------------------------------------------------------------------------

    def submit(self, spec: StudySpec | Path) -> StudyHandle:
        """Register the study on the chain, unless it is, and offer it once the coordinator sees that.

        Raises:
            Misuse: ``study.invalid``, ``study.sites`` for a site that the kit does not know, ``client.no_account``.
        """
        spec = spec if isinstance(spec, StudySpec) else StudySpec.load(spec)
        account, key = self._sponsor(), envelopes.public_of(self._sponsor().secret)
        if strange := sorted(set(spec.sites) - set(account.sites)):
            raise Misuse(
                "study.sites", f"unknown sites: {', '.join(strange)}", "add them to the kit's [sites]"
            )
        study = self._registered(spec)
        if study is None:
            study = sponsor.register(
                account.contracts,
                spec,
                coordinator=account.coordinator,
                roster=tuple(sorted(account.sites[name] for name in spec.sites)),
                key=key,
            )
        found = study
        return _patiently(lambda: self.offer(found, spec, key), "chain.unknown")

    def _registered(self, spec: StudySpec) -> bytes | None:
        from consent_contracts.chain import study_id

        study = study_id(self._sponsor().contracts.sender.address, spec.spec_hash)
        try:
            self._own_chain().snapshot().study(study)
        except Refused:
            return None
        return study

    def offer(self, study: bytes, spec: StudySpec, sponsor_key: bytes) -> StudyHandle:
        """Offer a study that is on the chain already; ``sponsor_key`` is the HPKE public key named there."""
        request = api.SubmitRequest(
            offer=pb.StudyOffer(study=study, spec=spec.canonical(), sponsor_key=sponsor_key)
        )
        self._connection.ask(self._connection.studies.Submit, request, api.Study)
        return StudyHandle(self, study)

    def study(self, study: bytes) -> StudyHandle:
        return StudyHandle(self, study)

    def get(self, study: bytes) -> StudyState:
        """With the spec."""
        stub, request = self._connection.studies.Get, api.GetRequest(study=study)
        return _of(study, model.state(self._connection.ask(stub, request, api.Study)))

    def list(self) -> list[StudyState]:
        """All studies that concern this organisation; for a regulator, all there are."""
        return list(self._pages())

    def _pages(self) -> Iterator[StudyState]:
        connection = self._connection
        regulator = connection.member.role == "regulator"
        stub = connection.audits.ListStudies if regulator else connection.studies.List
        after = b""
        while True:
            page = connection.ask(stub, api.ListRequest(after=after), api.ListResponse)
            yield from map(model.state, page.studies)
            if not page.next:
                return
            if page.next <= after:
                raise Hostile("answer.malformed", "the pages do not end")
            after = page.next

    def watch(self, study: bytes, *, after_seal: int = 0, patience_s: float = 60.0) -> Iterator[StudyEvent]:
        """Seals and changes until the study ends. A connection that breaks is made again, for ``patience_s``
        without any answer; no seal is told twice."""
        last_heard = time.monotonic()
        while True:
            request = api.WatchRequest(study=study, after_seal=after_seal)
            try:
                for message in self._connection.stream(
                    self._connection.studies.Watch, request, api.StudyEvent
                ):
                    last_heard = time.monotonic()
                    event = model.event(message)
                    if isinstance(event, Seal):
                        after_seal = _following(event, after_seal)
                    yield event
                    if isinstance(event, StudyState) and event.phase.final:
                        return
            except Unavailable:
                if time.monotonic() - last_heard > patience_s:
                    raise
                time.sleep(0.5)

    def start(self, study: bytes, at_least: int = 0) -> StudyState:
        """Let rounds begin as soon as ``at_least`` hospitals have consented; 0: the whole roster."""
        request = api.StartRequest(study=study, at_least=at_least)
        return model.state(self._connection.ask(self._connection.studies.Start, request, api.Study))

    def cancel(self, study: bytes) -> StudyState:
        """The coordinator begins no more rounds. `close` binds the hospitals too."""
        request = api.CancelRequest(study=study)
        return model.state(self._connection.ask(self._connection.studies.Cancel, request, api.Study))

    def close_study(self, study: bytes) -> None:
        """End the study on the chain, for everybody and for good."""
        self._sponsor().contracts.close_study(study)

    def result(self, study: bytes, sponsor_secret: bytes | None = None) -> Result:
        """What at least ``min_sites`` hospitals of the roster released alike, opened with the sponsor's HPKE
        secret (default: the kit's). Who they are, and their keys, is read from the chain.

        Raises:
            Refused: ``release.too_few``. Misuse: ``study.unreleased``, ``client.no_chain``.
            Hostile: a forged, foreign or differing release.
        """
        secret = sponsor_secret or self._sponsor().secret
        snapshot = self._own_chain().snapshot()
        on_chain = snapshot.study(study)
        return sponsor.open_releases(
            study,
            self._releases(study, on_chain),
            secret,
            snapshot.agents(on_chain.roster),
            needed=on_chain.min_sites,
        )

    def _releases(self, study: bytes, on_chain: StudyView) -> dict[bytes, bytes]:
        parts: dict[bytes, bytearray] = {}
        stub, request = self._connection.studies.Result, api.ResultRequest(study=study)
        for part in self._connection.stream(stub, request, api.ReleasePart):
            if part.org not in on_chain.roster:
                raise Hostile("release.foreign", "a release by an organisation that is not of the study")
            body = parts.setdefault(part.org, bytearray())
            body += part.data
            if len(body) > LARGEST_RELEASE:
                raise Hostile("answer.malformed", "a release without end")
        return {org: bytes(body) for org, body in parts.items()}

    # audit -----------------------------------------------------------------------------------------------

    def seals(self, study: bytes) -> tuple[Seal, ...]:
        found: tuple[Seal, ...] = ()
        while True:
            request = api.ListSealsRequest(study=study, after=len(found))
            page = self._connection.ask(self._connection.audits.ListSeals, request, api.ListSealsResponse)
            for message in page.seals:
                _following(seal := model.seal(message), len(found))
                found += (seal,)
            if not page.next or not page.seals:
                return found

    def bundle(self, study: bytes) -> bytes:
        """The public part of a bundle, for `consilium audit verify`; the chain says whether it is true."""
        bundle = pb.Bundle()
        stub, request = self._connection.audits.GetBundle, api.GetBundleRequest(study=study)
        for part in self._connection.stream(stub, request, api.BundlePart):
            if part.WhichOneof("part") == "spec":
                bundle.spec = part.spec
            else:
                bundle.rounds.append(part.round)
        return wire.encode(bundle)

    def verdict(self, study: bytes) -> Verdict:
        """The coordinator's own replay of the chain. Your own needs no trust: `consent_contracts.auditor`."""
        stub, request = self._connection.audits.Verdict, api.VerdictRequest(study=study)
        return model.verdict(self._connection.ask(stub, request, api.VerdictResponse, deadline_s=REPLAY_S))

    # the rest --------------------------------------------------------------------------------------------

    def close(self) -> None:
        self._connection.close()
        if self._chain is not None:
            self._chain.close()

    def __enter__(self) -> Consilium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sponsor(self) -> Sponsor:
        if self._account is None:
            raise Misuse(
                "client.no_account", "this needs a sponsor's account and keys", "use a sponsor's kit"
            )
        return self._account

    def _own_chain(self) -> Chain:
        if self._chain is None:
            raise Misuse("client.no_chain", "this is checked on the chain", "name RPC URLs, or use a kit")
        return self._chain


class StudyHandle:
    """One study; the methods are those of `Consilium`."""

    def __init__(self, consilium: Consilium, study: bytes) -> None:
        self._consilium, self.id = consilium, study

    def __repr__(self) -> str:
        return f"StudyHandle(0x{self.id.hex()})"

    def get(self) -> StudyState:
        return self._consilium.get(self.id)

    def watch(self, *, after_seal: int = 0) -> Iterator[StudyEvent]:
        return self._consilium.watch(self.id, after_seal=after_seal)

    def start(self, at_least: int = 0) -> StudyState:
        return self._consilium.start(self.id, at_least)

    def cancel(self) -> StudyState:
        return self._consilium.cancel(self.id)

    def result(self, sponsor_secret: bytes | None = None) -> Result:
        return self._consilium.result(self.id, sponsor_secret)


def _patiently(attempt: Callable[[], T], code: str) -> T:
    """Until the coordinator's chain shows as final what we have just written."""
    until = time.monotonic() + FINAL_WAIT_S
    while True:
        try:
            return attempt()
        except Refused as error:
            if error.code != code or time.monotonic() > until:
                raise
        time.sleep(0.2)


def _of(study: bytes, state: StudyState) -> StudyState:
    if state.id != study:
        raise Hostile("answer.malformed", "an answer about another study")
    return state


def _following(seal: Seal, before: int) -> int:
    if seal.number != before + 1:
        raise Hostile("answer.malformed", "the seals are not in order")
    return seal.number
