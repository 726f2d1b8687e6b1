"""A hospital's data in the demo: files and hospital.toml as a hospital would keep them."""

from __future__ import annotations

from pathlib import Path

from analytics.disclosure import Floor
from analytics.study import StudySpec
from analytics.table import Table
from crypto.vault import Vault
from deploy.council import Roots
from participants.cohort import Cohort
from participants.config import HospitalConfig
from participants.data import HospitalData
from participants.review import ByConfig, Rules


class FileData:
    """One hospital's datasets, one for each study.

    Args:
        home: the hospital's private folder.
        configs: study's id → its hospital.toml.
    """

    def __init__(self, home: Path, configs: dict[str, Path]) -> None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._home = home
        self._vault = Vault.load_or_create(home / "cohort.key")
        self._configs = {study: HospitalConfig.load(path) for study, path in configs.items()}
        self._data: dict[str, HospitalData] = {}

    def prepare(self, spec: StudySpec, dataset: bytes) -> Roots:
        config = self._configs[spec.id]
        self._data[spec.id] = HospitalData(config, Cohort(self._home, self._vault, dataset))
        frozen = self._data[spec.id].freeze()
        return Roots(frozen.root, frozen.cohort_root, frozen.schema_hash)

    def table(self, spec: StudySpec) -> Table:
        return self._data[spec.id].table(spec)

    def rows(self, spec: StudySpec) -> int:
        return self._data[spec.id].mapped(spec).table.n

    def own(self, spec: StudySpec) -> Table:
        """The same rows for a look at home; nothing is contributed by it."""
        return self._data[spec.id].mapped(spec).table

    def rules(self, spec: StudySpec, org: bytes) -> Rules:
        return ByConfig(self._configs[spec.id], org)

    def floor(self, spec: StudySpec) -> Floor:
        return self._configs[spec.id].disclosure.floor
