"""One run of the demo: its federation, its people, the sponsor's eye on a study, and what was found."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from analytics.study import StudySpec
from consilium_errors import Error, Hostile, Unavailable
from consilium_records import RecordStore
from coordinator.client import Consilium, Phase, Seal, StudyEvent, StudyState
from deploy.commands.screens import line as text_of
from deploy.demo.federation import REGULATOR, SPONSOR, Federation
from deploy.demo.people import People
from deploy.demo.screen import Screen
from deploy.hospital import Home
from deploy.kit import HospitalKit
from participants.hospital import STUDIES

#: Without any news for this long, something is wrong.
SILENCE_S = 300.0


@dataclass
class Study:
    """A study under way. ``file`` is what its sponsor submitted."""

    name: str
    file: Path
    spec: StudySpec
    id: bytes
    since: float = field(default_factory=time.monotonic)
    seals: list[Seal] = field(default_factory=list)
    state: StudyState | None = None
    content: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)
    compared: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seconds(self) -> int:
        return round(time.monotonic() - self.since)


class Session:
    """Args: ``folder`` holds results/, bundles/, logs/ and the kits."""

    def __init__(self, folder: Path, federation: Federation, screen: Screen) -> None:
        self.folder, self.federation, self.screen = folder, federation, screen
        self.people = People(federation.logs / "commands.log")
        self.summary: dict[str, Any] = {}
        self._stack = ExitStack()
        self.client = self._stack.enter_context(Consilium.from_kit(federation.kit(SPONSOR)))
        self._homes: dict[str, Home] = {}
        self._stores: dict[str, RecordStore] = {}
        self._events: queue.Queue[StudyEvent | Error] = queue.Queue()
        for name in ("results", "bundles"):
            (folder / name).mkdir(exist_ok=True)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def home(self, name: str) -> Home:
        """A hospital's own things, opened as its commands open them."""
        if name not in self._homes:
            kit = HospitalKit.load(self.federation.kit(name))
            self._homes[name] = self._stack.enter_context(Home(kit))
        return self._homes[name]

    def store(self, name: str) -> RecordStore:
        """What a hospital's process remembers, to look at."""
        if name not in self._stores:
            self._stores[name] = self.home(name).store()
        return self._stores[name]

    def name_of(self, org: bytes) -> str:
        names = {its: name for name, its in self.federation.kits.organisations.items()}
        return names.get(org, org.hex()[:8])

    # the sponsor ----------------------------------------------------------------------------------------

    def submit(self, name: str, file: Path) -> Study:
        """By the sponsor's command; rounds begin as soon as all hospitals have consented."""
        spec = StudySpec.load(file)
        with self.screen.waiting(f"the sponsor registers {spec.id} on the chain"):
            told = self.people.run("study", "submit", file, "--kit", self.federation.kit(SPONSOR))
        study = Study(name, file, spec, bytes.fromhex(told.split("0x", 1)[1][:64]))
        short = spec.spec_hash.hex()
        self.screen.line("plan", f"{spec.id} registered, spec {short[:4]}…{short[-4:]}")
        threading.Thread(target=self._watch, args=(study.id, self._events), daemon=True).start()
        return study

    def _watch(self, study: bytes, events: queue.Queue[StudyEvent | Error]) -> None:
        try:
            for event in self.client.watch(study):
                events.put(event)
        except Error as error:
            events.put(error)

    def until(self, study: Study, done: Callable[[], bool], *, each_s: float = 0.2) -> None:
        """Follow the study, showing where it stands, until something holds.

        Raises:
            Unavailable: ``demo.ended``, ``demo.silence``. Whatever the client raises.
        """
        heard = time.monotonic()
        while not done():
            try:
                event = self._events.get(timeout=each_s)
            except queue.Empty:
                self.federation.check()
                if time.monotonic() - heard > SILENCE_S:
                    raise Unavailable(
                        "demo.silence", "no news of the study", f"see {self.federation.logs}"
                    ) from None
                continue
            heard = time.monotonic()
            if isinstance(event, Error):
                raise event
            if isinstance(event, Seal):
                study.seals.append(event)
            else:
                study.state = event
            self.screen.progress(f"{study.seconds:>3} s  {text_of(event, self.name_of).plain}")

    def consent(self, study: Study, *, by_hand: str = "") -> None:
        """Wait until every hospital has consented: by its rules or, at ``by_hand``, by a person's command."""
        purpose, sites = study.spec.purpose, study.spec.sites
        with self.screen.waiting("the hospitals freeze their cohorts and give consent on the chain"):
            if by_hand:
                self.until(study, lambda: self.offered(study, by_hand))
                kit = self.federation.kit(by_hand)
                self.people.run("participant", "approve", study.spec.id, "--kit", kit)
            self.until(study, lambda: self.consented(study))
        commercial = "commercial" if purpose.commercial else "non-commercial"
        about = " ".join(filter(None, (purpose.duo, purpose.disease)))
        hand = f", {by_hand}'s by its steward's command" if by_hand else ""
        self.screen.line("consent", f"{len(sites)}/{len(sites)} {about}, {commercial}{hand}", "live")

    def finish(self, study: Study, hospitals: int) -> None:
        """Follow the study to its end, and open what the hospitals release."""
        with self.screen.waiting("rounds"):
            self.until(study, lambda: self.finished(study))
            if study.state is None or study.state.phase is not Phase.FINISHED:
                raise Unavailable("demo.ended_early", "the study was ended", f"see {self.federation.logs}")
            self.result(study)
        text = f"{len(study.seals)} rounds over {hospitals} hospitals in {study.seconds} s"
        self.screen.line("rounds", text, "sealed")

    def agrees(self, study: Study, text: str, worst: float, tolerance: float) -> None:
        """Say how far a result is from its reference.

        Raises:
            Hostile: ``demo.differs`` beyond the tolerance.
        """
        study.compared.append({"reference": text, "difference": worst, "tolerance": tolerance})
        if not worst <= tolerance:
            self.screen.line("truth", text, "DIFFERS")
            raise Hostile("demo.differs", f"{study.name}: {text}, expected within {tolerance:.0e}")
        self.screen.line("truth", text, "agrees")

    def consented(self, study: Study) -> bool:
        return study.state is not None and study.state.phase not in (Phase.OFFERED, Phase.AWAITING)

    def finished(self, study: Study) -> bool:
        return study.state is not None and study.state.phase.final

    def offered(self, study: Study, hospital: str) -> bool:
        return self.store(hospital).get(STUDIES, f"offer-{study.id.hex()}") is not None

    def result(self, study: Study) -> dict[str, Any]:
        """By the sponsor's command; kept as results/NAME.json."""
        out = self.folder / "results" / f"{study.name}.json"
        kit = self.federation.kit(SPONSOR)
        self.people.run("study", "result", study.spec.id, "--kit", kit, "--out", out)
        study.content = json.loads(out.read_text(encoding="utf-8"))
        return study.content

    # the auditor ----------------------------------------------------------------------------------------

    def audit(self, study: Study, witness: str) -> None:
        """The auditor fetches what the coordinator shows, a hospital hands out the whole bundle with its sums, and
        the auditor verifies that against the chain; each by command.

        Raises:
            Unavailable: ``demo.command`` if the auditor found anything.
        """
        kits, bundles = self.federation.kit, self.folder / "bundles"
        bundle, found = bundles / f"{study.name}.bundle", self.folder / "results" / f"{study.name}-audit.json"
        key = kits(REGULATOR) / "hpke.key"
        with self.screen.waiting(f"auditing {study.name}"):
            public = bundles / f"{study.name}-public.bundle"
            self.people.run("audit", "fetch", study.spec.id, public, "--kit", kits(REGULATOR))
            self.people.run("participant", "bundle", study.spec.id, bundle, "--kit", kits(witness))
            self.people.run(
                "audit", "verify", "--kit", kits(REGULATOR), "--bundle", bundle, "--key", key, "--json", found
            )
        its = study.audit = json.loads(found.read_text(encoding="utf-8"))
        self.screen.line(
            "audit",
            f"{study.name}: {its['seals']} seals, {its['signatures']} signatures, {its['openings']} sums,"
            f" {its['events']} events replayed",
            "verified",
        )
