"""A visitor's study and tables, checked before anything is started: whatever is wrong is said with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analytics.disclosure import LEAST_SITES, check_rows
from analytics.study import StudySpec
from consent_contracts import duo
from consent_contracts.claims import claims
from consilium_errors import Error, Misuse
from deploy.demo.federation import Seat
from participants.config import HospitalConfig
from participants.mapping import profile
from participants.policy import Facts, decide
from participants.sources import read


def check(study: Path, hospitals: Sequence[Path]) -> tuple[StudySpec, list[Seat]]:
    """The study, and its hospitals in the order of its sites.

    Raises:
        Misuse: ``study.*``; ``demo.hospitals`` for fewer than three; ``demo.file``; ``demo.site_unknown``,
            ``demo.site_twice``, ``demo.site_missing``; ``demo.columns``; ``demo.sum``; whatever `config`,
            `sources` and `mapping` say of a file, with the file's name.
        Refused: ``policy.*``, ``disclosure.min_rows``: a hospital's own rules are against the study.
    """
    spec = StudySpec.load(_there(study))
    if spec.sum != "fhe":
        raise Misuse("demo.sum", f"the demo has nobody for sums of kind {spec.sum}", 'set sum = "fhe"')
    if len(hospitals) < LEAST_SITES:
        raise Misuse(
            "demo.hospitals",
            f"{len(hospitals)} hospitals, expected at least {LEAST_SITES}: fewer have no secrets from each other",
            "name one --hospital file for each site of the study",
        )
    configs: dict[str, HospitalConfig] = {}
    for path in hospitals:
        try:
            config = HospitalConfig.load(_there(path))
            _site(config.site, spec, configs)
            _usable(config, spec)
        except Error as error:
            remedy = error.remedy or f"look at it: consilium data check {path} {study}"
            raise type(error)(error.code, f"{path}: {error}", remedy) from None
        configs[config.site] = config
    if missing := [site for site in spec.sites if site not in configs]:
        raise Misuse(
            "demo.site_missing",
            f"{study} lists {', '.join(missing)}, but no file is of that site",
            "name its file with --hospital, or take the site out of the study",
        )
    return spec, [Seat(site, (configs[site],)) for site in spec.sites]


def _there(path: Path) -> Path:
    if not path.is_file():
        raise Misuse("demo.file", f"there is no file {path}", "mend the path")
    return path


def _site(site: str, spec: StudySpec, before: dict[str, HospitalConfig]) -> None:
    if site not in spec.sites:
        raise Misuse(
            "demo.site_unknown",
            f"its site {site} is not one of the study's: {', '.join(spec.sites)}",
            "mend site in the file, or sites in the study",
        )
    if site in before:
        raise Misuse("demo.site_twice", f"another file is of site {site} too", "one file for each site")


def _usable(config: HospitalConfig, spec: StudySpec) -> None:
    """As the hospital itself would judge when the study is offered, its trust in its peers apart."""
    if missing := [name for name in spec.variables if name not in config.columns]:
        raise Misuse(
            "demo.columns",
            f"no column is mapped to {', '.join(missing)}",
            f'add [columns.{missing[0]}] with from = "…" and so on',
        )
    made = profile(read(config), config, spec)
    made.check()
    check_rows(made.kept, config.disclosure.floor)
    peers = [bytes([i]) * 20 for i in range(1, len(spec.sites))]
    trusting = config.policy.model_copy(update={"trusted": tuple(f"0x{p.hex()}" for p in peers)})
    purpose = spec.purpose
    purposes, _, _ = claims(
        purpose.duo, purpose.modifiers, disease=purpose.disease, commercial=purpose.commercial
    )
    facts = Facts(
        spec_hash=spec.spec_hash,
        purposes=purposes,
        permitted=duo.permissions(config.policy.purposes),
        peers=peers,
        rows=made.kept,
        exact_left=len(spec.analysis),
        exact_this_year=0,
    )
    decide(config.model_copy(update={"policy": trusting}), spec, facts)
