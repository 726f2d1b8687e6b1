"""The demo from the first line to the last."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import structlog

from analytics.study import StudySpec
from consent_contracts.auditor import Verdict
from consent_contracts.laptop import Anvil, dev_key
from consilium_errors import Hostile, Misuse
from crypto.commitments import Generators
from crypto.identity import AgentKey
from crypto.secure_sum import child
from deploy.council import FIRST_HOSPITAL, Council
from deploy.demo import audit, pictures, report, survival, training
from deploy.demo.data import FileData
from deploy.demo.screen import Screen
from participants import bundles

LEAVER = "h12"
GENERATORS = 4096


def run(folder: Path, screen: Screen | None = None) -> Path:
    """Both studies, the refusal, the audit; results are written to ``folder``.

    Raises:
        Hostile: the auditor found something, or a tampered bundle passed.
    """
    screen = screen or Screen()
    _quiet(folder)
    with screen.waiting("preparing the commitments' generators (once)"):
        Generators.load(GENERATORS, None, lambda done, of: screen.progress(f"generators {done}/{of}"))
        child.warm()
    tables, studies = _tables(folder)
    with Anvil() as anvil:
        screen.title("Consilium: 4 hospitals, a blind coordinator, a chain, a sponsor, an auditor")
        council = Council(folder / "council", anvil.url, tables)
        try:
            screen.line(
                "network", f"chain {council.addresses.chain_id}, coordinator, {len(tables)} hospitals", "up"
            )
            _studies(council, studies, folder, screen)
        finally:
            council.close()
    return folder


def _quiet(folder: Path) -> None:
    """Steps go to a log file, the screen stays with the reader."""
    folder.mkdir(parents=True, exist_ok=True)
    log = (folder / "council.log").open("w", encoding="utf-8")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=log),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
    )


def _tables(folder: Path) -> tuple[dict[str, FileData], dict[str, StudySpec]]:
    """Hospitals' files made anew from the packages' tables, every hospital trusting the other three."""
    try:
        from examples import make_tables
    except ModuleNotFoundError:
        raise Misuse("demo.checkout", "the demo needs the checkout", "run `make demo` in it") from None

    shutil.rmtree(folder / "council", ignore_errors=True)
    shutil.rmtree(folder / "tables", ignore_errors=True)
    made = make_tables.make(folder / "tables")
    here = Path(make_tables.__file__).parent
    studies = {name: StudySpec.load(here / name / "study.toml") for name in made}
    sites = sorted(studies["lung"].sites)
    address = {s: AgentKey.from_bytes(dev_key(FIRST_HOSPITAL + i)).address for i, s in enumerate(sites)}
    data = {}
    for site in sites:
        configs = {}
        for name, files in made.items():
            _trust(files[site], [address[s] for s in sites if s != site])
            configs[studies[name].id] = files[site]
        data[site] = FileData(folder / "council" / site, configs)
    return data, studies


def _trust(path: Path, peers: list[bytes]) -> None:
    listed = ", ".join(f'"0x{p.hex()}"' for p in peers)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[policy]\n", f"[policy]\ntrusted = [{listed}]\n", 1), encoding="utf-8")


def _studies(council: Council, studies: dict[str, StudySpec], folder: Path, screen: Screen) -> None:
    done = {}
    screen.title("Training")
    done["breast_cancer"] = training.run(council, studies["breast_cancer"], LEAVER, screen)
    screen.title("Survival")
    done["lung"] = survival.run(council, studies["lung"], LEAVER, screen)
    screen.title("Audit")
    sections: list[tuple[str, str]] = []
    for name, (study, result) in done.items():
        witness = next(seat for seat in council.seats.values() if seat.name != LEAVER)
        bundle = bundles.bundle(
            witness.hospital.store, study, studies[name].canonical(), council.regulator_key
        )
        (folder / f"{name}.bundle").write_bytes(bundle)
        (folder / f"{name}.json").write_text(json.dumps(result.content, indent=2), encoding="utf-8")
        with screen.waiting(f"auditing {name}"):
            verdict = audit.replay(
                council.rpc_url, council.addresses, study, bundle, council.regulator_secret
            )
        verdict.verify()
        checks = [(c.name, c.subject, c.outcome, c.detail) for c in verdict.checks]
        sections.append(report.study(studies[name].id, result.content, checks))
        screen.line("audit", f"{name}: {_summary(verdict)}", "verified")
        if name == "lung":
            _mutations(council, study, bundle, screen)
    made = pictures.draw(folder, {name: result.content for name, (_, result) in done.items()})
    screen.note(f"pictures: {', '.join(path.name for path in made)}")
    screen.note("Coordinator saw ciphertext only (tests/attacks tries to decrypt all it saw).")
    screen.note("Exact releases: no differential-privacy claim. False in-range data are not detected.")
    written = report.write(folder / "report.html", sections, screen.text())
    screen.note(f"results, bundles, pictures and log: {folder.name}/; report: {folder.name}/{written.name}")


def _summary(verdict: Verdict) -> str:
    return (
        f"{verdict.seals} seals, {verdict.signatures} signatures, {verdict.openings} sums, "
        f"{verdict.events} events replayed"
    )


def _mutations(council: Council, study: bytes, bundle: bytes, screen: Screen) -> None:
    regulator = (council.regulator_secret, council.regulator_key)
    for what, how in audit.MUTATIONS.items():
        forged = audit.tampered(bundle, study, regulator, how)
        verdict = audit.replay(council.rpc_url, council.addresses, study, forged, council.regulator_secret)
        if not verdict.failed:
            raise Hostile("demo.forgery_passed", f"altering {what} was not noticed")
        first = verdict.failed[0]
        screen.line("tamper", f"{what} altered: {first.name}, {first.code}", "REFUSED")
