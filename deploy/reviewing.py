"""Collects what `participants.review_text` tells a person about a study."""

from __future__ import annotations

from pathlib import Path

from analytics.privacy import epsilon_at
from analytics.privacy.simulation import USUAL_ROWS, losses
from analytics.scores import Score
from consilium_errors import Error, Misuse
from deploy.hospital import Home
from deploy.kit import HospitalKit
from deploy.provision.kits import REGULATORS
from participants import review_text
from participants.approvals import Approvals, Offered
from participants.config import HospitalConfig
from participants.evaluation import score_locally
from participants.mapping import Profile


def listing(approvals: Approvals) -> str:
    """One line for each study ever offered."""
    offered = approvals.offered()
    if not offered:
        return "no study was offered yet"
    lines = [
        f"{o.spec.id}  0x{o.study.hex()[:10]}…  {o.state}, {len(o.spec.analysis)} analyses, "
        f"{len(o.spec.sites)} hospitals"
        for o in offered
    ]
    return "\n".join([*lines, "consilium participant review STUDY shows what one asks"])


def page_of(home: Home, approvals: Approvals, offered: Offered) -> str:
    """The whole page; what cannot be found out is among its objections."""
    spec, objections = offered.spec, list[str]()
    config: HospitalConfig | None = None
    profile: Profile | None = None
    try:
        config = home.datasets.serving(spec).config
        profile = home.datasets.profile(spec)
        profile.check()
        approvals.check(offered.study, profile.kept)
    except Error as error:
        objections.append(error.diagnostics().replace("\n", " "))
    names = {org: name for name, org in home.kit.config.sites.items()}
    on_chain = approvals.on_chain(offered.study)
    ledger = approvals.ledger(offered.study)
    simulated = min(spec.row_cap, profile.kept if profile is not None else USUAL_ROWS)
    asked = review_text.Asked(
        spec=spec,
        state=offered.state,
        sponsor=f"0x{on_chain.sponsor.hex()}",
        peers=[names.get(org, f"0x{org.hex()}") for org in on_chain.roster if org != home.org],
        config=config,
        profile=profile,
        objections=objections,
        opened=ledger.opened_this_year,
        spent=ledger.spent,
        losses=losses(spec, simulated) if spec.release.mode == "dp" and simulated else (),
        simulated=simulated,
    )
    return review_text.page(asked)


def scores(home: Home, offered: Offered) -> str:
    """A line for each model of the study; raises as `own_scores`."""
    rows = [("model", "n", "events", "accuracy", "AUC")]
    for name, its in own_scores(home, offered).items():
        rows.append((name, str(its["n"]), str(its["events"]), f"{its['accuracy']:.3f}", f"{its['auc']:.4f}"))
    return "\n".join(f"{r[0]:<20} {r[1]:>6} {r[2]:>7} {r[3]:>9} {r[4]:>7}" for r in rows)


def own_scores(home: Home, offered: Offered) -> dict[str, Score]:
    """Model of the study → how well it predicts this hospital's own rows; nothing leaves.

    Raises:
        Unavailable: ``study.no_state``. Misuse: ``scores.one_class``, ``study.no_models``, a fault of the data.
    """
    names = [entry.id for entry in offered.spec.analysis if entry.kind in ("logistic", "network")]
    if not names:
        raise Misuse("study.no_models", f"{offered.spec.id} trains no model", "scores are for models")
    table, store = home.datasets.own(offered.spec), home.store()
    return {name: score_locally(store, offered.study, offered.spec, name, table) for name in names}


def regulator_key(kit: HospitalKit, path: Path | None = None) -> bytes:
    """A regulator's HPKE public key: from ``path``, else the only one in the kit.

    Raises:
        Misuse: ``kit.regulator``.
    """
    found = [path] if path is not None else sorted(kit.below(REGULATORS).glob("0x*.pub"))
    try:
        (only,) = found
        key = only.read_bytes()
    except (OSError, ValueError):
        raise Misuse(
            "kit.regulator",
            f"{len(found)} regulators' keys can be read, expected one",
            "name the file with --regulator, or provision the kit again",
        ) from None
    return key


def booked(home: Home, approvals: Approvals) -> str:
    """Exact releases by study and in the year, against each dataset's cap."""
    names = {o.study: o.spec.id for o in approvals.offered()}
    lines = [f"{names.get(s, s.hex()[:10])}: {n} exact releases" for s, n in approvals.booked().items()]
    ledger = approvals.ledger(bytes(32))
    used = ledger.opened_this_year
    lines.append(f"in the last 365 days: {used}")
    lines += [
        f"{d.name}: {max(0, d.config.budget.exact_releases_per_year - used)} of "
        f"{d.config.budget.exact_releases_per_year} left"
        for d in home.datasets.listed
    ]
    if ledger.spent.rho:
        lines += [
            f"{d.name}: epsilon {epsilon_at(ledger.spent, d.config.budget.delta)} of "
            f"{d.config.budget.epsilon:f} at delta {d.config.budget.delta:f} spent over all studies"
            for d in home.datasets.listed
        ]
    return "\n".join(lines)
