"""Who has consented to a study, as the chain says; and which started studies may therefore begin."""

from __future__ import annotations

import threading

from consent_contracts.chain import Chain
from consent_contracts.index import Index
from consilium_errors import Misuse
from coordinator.service import STUDIES, Coordinator


class Consents:
    """Datasets that a study was ever granted, from the events; whether they still are, from the gate."""

    def __init__(self, chain: Chain) -> None:
        self._chain, self._index = chain, Index(chain)
        self._lock = threading.Lock()
        self._read = 0
        self._granted: dict[bytes, set[bytes]] = {}

    def live(self, study: bytes) -> tuple[bytes, ...]:
        """Organisations with at least one dataset under live consent, ascending.

        Raises:
            Unavailable, Hostile: as `Index.sync`.
        """
        with self._lock:
            self._index.sync()
            for event in self._index.events[self._read :]:
                if event.name == "ConsentGranted":
                    self._granted.setdefault(event.args["study"], set()).add(event.args["dataset"])
            self._read = len(self._index.events)
            datasets = sorted(self._granted.get(study, ()))
        if not datasets:
            return ()
        gates = self._chain.snapshot().gate(study, datasets)
        return tuple(sorted({gate.steward for gate in gates if gate.status == 0}))


class Beginnings:
    """A study that its sponsor has started begins when enough hospitals of its roster have consented."""

    def __init__(self, coordinator: Coordinator, consents: Consents) -> None:
        self._coordinator, self._consents = coordinator, consents
        self._lock = threading.Lock()

    def want(self, study: bytes, at_least: int) -> None:
        """Start the study as soon as ``at_least`` hospitals have consented; 0: all. The least wish holds.

        Raises:
            Misuse: ``study.unknown``, ``study.at_least`` outside the study's sites.
        """
        on_chain = self._coordinator.chain.snapshot().study(study)
        wanted = at_least or len(on_chain.roster)
        if not max(3, on_chain.min_sites) <= wanted <= len(on_chain.roster):
            raise Misuse(
                "study.at_least", "fewer or more hospitals than the study allows", "min_sites or more"
            )
        with self._lock:
            self._coordinator.store.commit([(STUDIES, f"wanted-{study.hex()}-{wanted}", b"\1")])

    def wanted(self, study: bytes) -> int | None:
        slots = self._coordinator.store.slots(STUDIES, f"wanted-{study.hex()}-")
        return min((int(slot.rsplit("-", 1)[1]) for slot in slots), default=None)

    def begin(self) -> bool:
        """Start what may start; called by the loop. True if anything did.

        Raises:
            Unavailable, Hostile: as `Index.sync`.
        """
        done = False
        for study in self._coordinator.studies():
            wanted = self.wanted(study)
            if wanted is None or self._coordinator.started(study) or self._coordinator.cancelled(study):
                continue
            roster = set(self._coordinator.chain.snapshot().study(study).roster)
            if len(roster & set(self._consents.live(study))) >= wanted:
                self._coordinator.start(study)
                done = True
        return done
