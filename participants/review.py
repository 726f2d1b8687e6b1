"""A hospital's own rules, applied when a study is offered and again before each contribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analytics.privacy import NOTHING, Price
from analytics.study import StudySpec
from consent_contracts import duo
from consilium_errors import Refused
from consilium_records import RecordStore
from participants.config import HospitalConfig
from participants.policy import Facts, decide
from participants.round import View

YEAR_S = 365 * 86_400
LEDGER, SPENDING = "ledger", "ledger-dp"


@dataclass(frozen=True)
class Ledger:
    """What this hospital knows of itself: ``rows`` of the study's cohort, exact openings so far, and the privacy
    spent in this study and in all of them, ever."""

    rows: int
    opened: int
    opened_this_year: int
    spent_here: Price = NOTHING
    spent: Price = NOTHING


Rules = Callable[[StudySpec, View, Ledger], None]


def only_encrypted(spec: StudySpec, view: View, ledger: Ledger) -> None:
    """The default of a hospital without rules of its own.

    Raises:
        Refused: ``policy.sum`` for a study whose sums would travel in the clear.
    """
    if spec.sum == "clear":
        raise Refused("policy.sum", "sums in the clear are for simulation only")


def anything(spec: StudySpec, view: View, ledger: Ledger) -> None:
    """No rules at all: for benchmarks and simulation on made data."""


class ByConfig:
    """The rules of a hospital.toml."""

    def __init__(self, config: HospitalConfig, org: bytes) -> None:
        self._config, self._org = config, org

    def __call__(self, spec: StudySpec, view: View, ledger: Ledger) -> None:
        """Raises Refused, see `participants.policy.decide`."""
        decide(self._config, spec, self._facts(spec, view, ledger))

    def _facts(self, spec: StudySpec, view: View, ledger: Ledger) -> Facts:
        # Before consent is given there is no cap yet: then the year's cap alone decides.
        live = [g for g in view.gates if g.status == 0]
        left = min((g.exact_left for g in live), default=len(spec.analysis))
        private = min((Price(g.rho_left, g.delta_left) for g in live), key=lambda p: p.rho, default=None)
        return Facts(
            spec_hash=view.study.spec_hash,
            purposes=view.study.purposes,
            permitted=duo.permissions(self._config.policy.purposes),
            peers=frozenset(view.study.roster) - {self._org},
            rows=ledger.rows,
            exact_left=left,
            exact_this_year=ledger.opened_this_year,
            opened=ledger.opened,
            privacy_left=private,
            spent_here=ledger.spent_here,
            spent=ledger.spent,
        )


def ledger(store: RecordStore, study: bytes, rows: int, now: int) -> Ledger:
    """Count the openings that the round's machine recorded."""
    booked = store.slots(LEDGER, "")
    times = {slot: int.from_bytes(body, "big") for slot, body in booked.items()}
    here = sum(slot.startswith(study.hex()) for slot in times)
    spent_here, spent = NOTHING, NOTHING
    for slot, body in store.slots(SPENDING, "").items():
        price = Price(int.from_bytes(body[:8], "big"), int.from_bytes(body[8:16], "big"))
        spent += price
        if slot.startswith(study.hex()):
            spent_here += price
    return Ledger(rows, here, sum(now - t < YEAR_S for t in times.values()), spent_here, spent)
