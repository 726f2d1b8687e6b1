"""The first study: a ridge logistic regression and a small network over the breast-cancer table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from analytics.study_analyses import LogisticEntry, NetworkEntry
from analytics.table import Table
from deploy.demo import truth
from deploy.demo.refusal import revoke_before_lock
from deploy.demo.session import Session, Study
from deploy.reviewing import own_scores
from participants.approvals import Offered
from participants.evaluation import score_locally

#: Of a standard error; the network has no reference but its accuracy.
TOLERANCE = 1e-6


def run(session: Session, name: str, file: Path, leaver: str) -> Study:
    """The whole study; ``leaver`` revokes between its upload and the lock of the first opening."""
    session.federation.line.delay()
    study = session.submit(name, file)
    session.consent(study, by_hand=leaver)
    refusal = revoke_before_lock(session, study, leaver)
    session.summary["refusal"] = asdict(refusal)
    stayed = [site for site in study.spec.sites if site != leaver]
    session.finish(study, len(stayed))
    _show(session, study, stayed, leaver)
    return study


def _show(session: Session, study: Study, stayed: Sequence[str], leaver: str) -> None:
    screen, spec = session.screen, study.spec
    models = [e for e in spec.analysis if isinstance(e, LogisticEntry | NetworkEntry)]
    with screen.waiting("each hospital scores the models on its own rows"):
        offered = Offered(study.id, spec, "taking part")
        own = {name: own_scores(session.home(name), offered) for name in stayed}
    for entry in models:
        screen.line(entry.id, f"{entry.kind}, each hospital on its own rows, at home", "sealed")
        rows = [
            (name, its[entry.id]["n"], its[entry.id]["events"], *_quality(its[entry.id]))
            for name, its in own.items()
        ]
        screen.table(("hospital", "n", "events", "accuracy", "AUC"), rows)
        _compare(session, study, entry, stayed, leaver)


def _quality(score: truth.Quality) -> tuple[str, str]:
    return f"{score['accuracy']:.3f}", f"{score['auc']:.4f}"


def _compare(
    session: Session, study: Study, entry: LogisticEntry | NetworkEntry, stayed: Sequence[str], leaver: str
) -> None:
    """The demo made the hospitals, so it alone may also look at the rows together."""
    screen, spec = session.screen, study.spec
    tables: dict[str, Table] = {n: session.home(n).datasets.own(spec) for n in (*stayed, leaver)}
    unseen = tables[leaver]
    with screen.waiting(f"fitting {entry.id} in the clear"):
        pooled = truth.fit(entry, [tables[n] for n in stayed])
        alone = {name: truth.fit(entry, [tables[name]]) for name in stayed}
    ours = score_locally(session.store(stayed[0]), study.id, spec, entry.id, unseen)
    clear = {"pooled in the clear": pooled, **{f"{name} alone": model for name, model in alone.items()}}
    rows = [(f"federated, {len(stayed)} hospitals", *_quality(ours))]
    rows += [(n, *_quality(truth.quality(m, unseen, entry.terms, entry.outcome))) for n, m in clear.items()]
    screen.note(f"the same model on {leaver}'s {unseen.n} rows, which none of them has seen:")
    screen.table(("model", "accuracy", "AUC"), rows)
    if isinstance(entry, LogisticEntry):
        worst = truth.coefficients(study.content[entry.id], pooled)
        session.agrees(study, f"pooled scikit-learn, coefficients within {worst:.0e} SE", worst, TOLERANCE)
