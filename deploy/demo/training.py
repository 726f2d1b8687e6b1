"""The first study: a ridge logistic regression and a small network over the breast-cancer table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from analytics.study import StudySpec
from analytics.study_analyses import LogisticEntry, NetworkEntry
from analytics.table import Table
from consilium_errors import Misuse
from coordinator.round import LockCall
from coordinator.sponsor import Result
from deploy.council import Council, Seat
from deploy.demo import truth
from deploy.demo.data import FileData
from deploy.demo.screen import Screen
from participants.evaluation import score_locally


def own_table(seat: Seat, spec: StudySpec) -> Table:
    if not isinstance(seat.data, FileData):
        raise Misuse("demo.data", "the demo's hospitals keep files")
    return seat.data.own(spec)


def run(council: Council, spec: StudySpec, leaver: str, screen: Screen) -> tuple[bytes, Result]:
    """The whole study; ``leaver`` revokes between its upload and the lock of the first opening."""
    with screen.waiting("registering the study, freezing cohorts, giving consent"):
        study = council.register(spec)
    screen.line("plan", f"{spec.id} registered, spec {spec.spec_hash.hex()[:4]}…{spec.spec_hash.hex()[-4:]}")
    live = len(spec.sites)
    screen.line("consent", f"{live}/{live} {spec.purpose.duo} {spec.purpose.disease}, non-commercial", "live")
    _revoke_before_lock(council, spec, study, leaver, screen)
    stayed = [name for name in spec.sites if name != leaver]
    council.on_sealed = sealed_rounds(screen)
    with screen.waiting("training"):
        result = council.run(study, len(stayed))
    council.on_sealed = None
    screen.line("rounds", f"{len(result.seal_ids)} rounds over {len(stayed)} hospitals", "sealed")
    _show(council, spec, study, result, stayed, leaver, screen)
    return study, result


def _revoke_before_lock(council: Council, spec: StudySpec, study: bytes, leaver: str, screen: Screen) -> None:
    seat = council.seats[leaver]

    def revoke(call: LockCall) -> None:
        council.before_lock = None
        council.revoke(seat, spec, study)
        council.on_refusal = refused
        screen.line("revoke", f"{leaver} withdraws its consent after its upload, before the lock")

    def refused(code: str) -> None:
        council.on_refusal = None
        attested = council.coordinator.chain.snapshot().head(study).attested
        screen.line("lock", f"the chain refuses the set with {leaver}: {code}", "REFUSED")
        screen.note(f"nothing opened, nothing charged, {attested} seals; the other three go on without it")

    council.before_lock = revoke


def sealed_rounds(screen: Screen) -> Callable[[int, str], None]:
    """One line for each analysis, counting its rounds."""

    def show(number: int, analysis: str) -> None:
        screen.progress(f"round {number} sealed ({analysis})")

    return show


def _show(
    council: Council,
    spec: StudySpec,
    study: bytes,
    result: Result,
    stayed: Sequence[str],
    leaver: str,
    screen: Screen,
) -> None:
    tables = {name: own_table(council.seats[name], spec) for name in spec.sites}
    for entry in spec.analysis:
        if isinstance(entry, LogisticEntry | NetworkEntry):
            rows = []
            for name in stayed:
                store = council.seats[name].hospital.store
                mine = score_locally(store, study, spec, entry.id, tables[name])
                rows.append(
                    (name, mine["n"], mine["events"], f"{mine['accuracy']:.3f}", f"{mine['auc']:.4f}")
                )
            screen.line(entry.id, f"{entry.kind}, each hospital on its own rows, at home", "sealed")
            screen.table(("hospital", "n", "events", "accuracy", "AUC"), rows)
            _compare(council, spec, study, entry, tables, stayed, leaver, screen)


def _compare(
    council: Council,
    spec: StudySpec,
    study: bytes,
    entry: LogisticEntry | NetworkEntry,
    tables: dict[str, Table],
    stayed: Sequence[str],
    leaver: str,
    screen: Screen,
) -> None:
    """The demo made the hospitals, so it alone may also look at the rows together."""
    store = council.seats[stayed[0]].hospital.store
    unseen = score_locally(store, study, spec, entry.id, tables[leaver])
    rows = [("federated, 3 hospitals", f"{unseen['accuracy']:.3f}", f"{unseen['auc']:.4f}")]
    fits = [("pooled in the clear", stayed), *((f"{name} alone", [name]) for name in stayed)]
    for label, names in fits:
        model = truth.fit(spec, entry, [tables[n] for n in names], label)
        accuracy, auc = truth.quality(model, spec, tables[leaver], entry.terms, entry.outcome)
        rows.append((label, f"{accuracy:.3f}", f"{auc:.4f}"))
    screen.note(f"the same model on {leaver}'s {tables[leaver].n} rows, which none of them has seen:")
    screen.table(("model", "accuracy", "AUC"), rows)
