"""The second study: survival with lung cancer by sex, all four hospitals again."""

from __future__ import annotations

from pathlib import Path

from deploy.demo import show, truth
from deploy.demo.session import Session, Study


def run(session: Session, name: str, file: Path, returned: str) -> Study:
    """The whole study; ``returned`` left the first one and consents to this."""
    study = session.submit(name, file)
    session.consent(study, by_hand=returned)
    session.screen.note(f"{returned}, which revoked its consent to the first study, gives it to this one")
    session.finish(study, len(study.spec.sites))
    show.findings(session.screen, study.content)
    _truth(session, study)
    return study


def _truth(session: Session, study: Study) -> None:
    tables = [session.home(name).datasets.own(study.spec) for name in study.spec.sites]
    for found in study.content.values():
        if found["kind"] == "kaplan_meier":
            worst = truth.kaplan_meier(found, tables)
            text = f"pooled lifelines on that grid, largest difference {worst:.0e}"
            session.agrees(study, text, worst, 1e-12)
        elif found["kind"] == "logrank":
            chi2, p = truth.logrank(tables, found["time"], found["event"], found["by"])
            worst = max(abs(chi2 - found["chi2"]), abs(p - found["p"]))
            session.agrees(study, f"pooled statsmodels, largest difference {worst:.0e}", worst, 1e-9)
