"""The demo from the first line to the last: two real studies of our own, or one of a visitor's."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from consilium_errors import Misuse
from crypto.commitments import Generators
from deploy.demo import audit, own, pictures, report, show, survival, training
from deploy.demo.federation import REGULATOR, SPONSOR, Federation, Seat
from deploy.demo.folder import prepared
from deploy.demo.people import short
from deploy.demo.screen import Screen
from deploy.demo.session import Session, Study
from participants.config import HospitalConfig

LEAVER = "h12"
GENERATORS = 4096
TRAINING, SURVIVAL = "breast_cancer", "lung"


def run(out: Path, *, rpc: str | None = None, admin: str | None = None, screen: Screen | None = None) -> None:
    """Both studies, the refusal, the audits; everything is written to ``out``.

    Raises:
        Misuse: ``demo.checkout``, ``demo.folder``, ``demo.admin``. Unavailable: a process ended or is silent.
        Hostile: a result differs from its reference, the auditor found something, a tampered bundle passed.
    """
    try:
        from examples import make_tables
    except ModuleNotFoundError:
        raise Misuse("demo.checkout", "the demo needs the checkout", "run `make demo` in it") from None

    screen, folder = screen or Screen(), prepared(out)
    made = make_tables.make(folder / "tables")
    sites = sorted(made[SURVIVAL])
    seats = [Seat(s, tuple(HospitalConfig.load(made[name][s]) for name in made)) for s in sites]
    plans = {name: Path(make_tables.__file__).parent / name / "study.toml" for name in made}

    def both(session: Session) -> list[Study]:
        screen.title("Training")
        studies = [training.run(session, TRAINING, plans[TRAINING], LEAVER)]
        screen.title("Survival")
        studies.append(survival.run(session, SURVIVAL, plans[SURVIVAL], LEAVER))
        return studies

    federation = Federation(
        folder, seats, rpc=rpc, admin=admin, approve=lambda name: "manual" if name == LEAVER else "auto"
    )
    _run(folder, federation, screen, both, witness=next(s for s in sites if s != LEAVER))


def run_own(
    out: Path,
    study: Path,
    hospitals: Sequence[Path],
    *,
    rpc: str | None = None,
    admin: str | None = None,
    screen: Screen | None = None,
) -> None:
    """A visitor's own study over a visitor's own tables.

    Raises:
        Misuse, Refused: anything that keeps the study from running, before a process is started; see `own.check`.
        Others as `run`.
    """
    spec, seats = own.check(study, hospitals)
    screen, folder = screen or Screen(), prepared(out)
    federation = Federation(folder, seats, rpc=rpc, admin=admin)

    def one(session: Session) -> list[Study]:
        found = session.submit(spec.id, study)
        session.consent(found)
        session.finish(found, len(spec.sites))
        show.findings(screen, found.content)
        return [found]

    screen.note(
        "every hospital trusts the others and approves by its rules: set for this run, files untouched"
    )
    _run(folder, federation, screen, one, witness=spec.sites[0])


def _run(
    folder: Path,
    federation: Federation,
    screen: Screen,
    studies_of: Callable[[Session], list[Study]],
    *,
    witness: str,
) -> None:
    since = time.monotonic()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    names = [seat.name for seat in federation.seats]
    screen.title(f"Consilium: {len(names)} hospitals, a blind coordinator, a chain, a sponsor, an auditor")
    with screen.waiting("preparing the commitments' generators (once)"):
        Generators.load(GENERATORS, None, lambda done, of: screen.progress(f"generators {done}/{of}"))
    with screen.waiting("making kits, deploying the contracts"), federation:
        its = federation.kits.addresses
        screen.line("kits", f"{len(names) + 3} organisations, their keys and certificates", "made")
        screen.line("chain", f"{its.chain_id}, registry 0x{its.registry.hex()[:8]}…", "up")
        screen.progress("starting a process for the coordinator and for each hospital")
        federation.serve()
        text = f"{len(names) + 1} processes, Flower over mutual TLS on loopback"
        screen.line("network", f"{text} ({', '.join(names)})", "up")
        with Session(folder, federation, screen) as session:
            studies = studies_of(session)
            screen.title("Audit")
            for study in studies:
                session.audit(study, witness)
            session.summary["tampered"] = audit.refuse_tampered(session, studies[-1])
        screen.progress("ending the processes")
    _close(folder, session, studies, screen, round(time.monotonic() - since))


def _close(folder: Path, session: Session, studies: Sequence[Study], screen: Screen, seconds: int) -> None:
    made = pictures.draw(folder, {study.name: study.content for study in studies})
    screen.note("The coordinator saw ciphertext only: tests/attacks tries to decrypt all it saw.")
    if any(study.spec.release.mode == "exact" for study in studies):
        screen.note("Exact releases: no differential-privacy claim. False in-range data are not detected.")
    screen.note(f"{seconds} s. Report: {folder.name}/report.html, with {len(made)} pictures beside it")
    _repeat(screen, session)
    its = session.federation.kits.addresses
    session.summary |= {
        "seconds": seconds,
        "chain": {
            "id": its.chain_id,
            "registry": "0x" + its.registry.hex(),
            "ledger": "0x" + its.ledger.hex(),
        },
        "studies": {s.name: _entry(s) for s in studies},
        "commands": session.people.commands,
    }
    text = json.dumps(session.summary, indent=2) + "\n"
    (folder / "results" / "summary.json").write_text(text, encoding="utf-8")
    sections = [report.study(study.spec.id, study.content, study.audit["checks"]) for study in studies]
    report.write(folder / "report.html", [*sections, report.commands(session.people.commands)], screen.text())


def _entry(study: Study) -> dict[str, object]:
    return {"id": "0x" + study.id.hex(), "seals": len(study.seals), "compared": study.compared}


def _repeat(screen: Screen, session: Session) -> None:
    """How a person does the same, as it was done above."""
    screen.title("By hand")
    if session.federation.own_chain:
        port = session.federation.rpc.rpartition(":")[2]
        state = short(session.folder / "chain.json")
        screen.command(
            f"consilium chain dev --port {port} --state {state}      # the chain again, for the audit"
        )
    for command in dict.fromkeys(session.people.commands):
        if any(f"kits/{role}" in command for role in (SPONSOR, REGULATOR)):
            screen.command(command)
