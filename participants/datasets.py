"""A hospital's datasets, and which of them serves a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analytics.disclosure import Floor
from analytics.study import StudySpec
from analytics.table import Table
from consent_contracts.chain import dataset_id
from consilium_errors import Refused
from crypto.vault import Vault
from participants.cohort import Cohort, Frozen
from participants.config import HospitalConfig
from participants.data import HospitalData
from participants.mapping import Profile, profile
from participants.review import ByConfig, Ledger
from participants.round import View
from participants.sources import read
from protos.digests import tagged


@dataclass(frozen=True)
class Dataset:
    """One hospital.toml. ``name`` never changes: dataset and cohort on the chain follow from it.

    Args:
        studies: ids of the study files that it serves; empty: every study whose variables it maps.
    """

    name: str
    config: HospitalConfig
    studies: tuple[str, ...] = ()

    @property
    def nonce(self) -> bytes:
        return tagged("dataset-name", self.name.encode())

    def serves(self, spec: StudySpec) -> bool:
        if self.studies:
            return spec.id in self.studies
        return self.config.site in spec.sites and set(spec.variables) <= set(self.config.columns)


@dataclass(frozen=True)
class Datasets:
    """All datasets of the organisation ``org``. The cohort's file is read anew each time, because the person
    who approves does so in another process.

    Args:
        home: private folder of the cohorts' files.
    """

    org: bytes
    home: Path
    vault: Vault = field(repr=False)
    listed: Sequence[Dataset] = ()

    def serving(self, spec: StudySpec) -> Dataset:
        """Raises Refused ``dataset.none``."""
        for dataset in self.listed:
            if dataset.serves(spec):
                return dataset
        raise Refused(
            "dataset.none",
            f"no dataset of this hospital serves {spec.id}",
            "name a hospital.toml that maps its variables under [[dataset]] in consilium.toml",
        )

    def id(self, dataset: Dataset) -> bytes:
        return dataset_id(self.org, dataset.nonce)

    def data(self, dataset: Dataset) -> HospitalData:
        return HospitalData(dataset.config, Cohort(self.home, self.vault, self.id(dataset)))

    def freeze(self, dataset: Dataset) -> Frozen:
        """The roots of the cohort, which is frozen if it never was; a frozen one is not touched."""
        data = self.data(dataset)
        return data.cohort.frozen() if data.cohort.is_frozen else data.freeze()

    def profile(self, spec: StudySpec) -> Profile:
        """What the mapping makes of the rows now; nothing is written."""
        config = self.serving(spec).config
        return profile(read(config), config, spec)

    # what a `participants.hospital.Hospital` asks for -----------------------------------------------------

    def table(self, spec: StudySpec) -> Table:
        return self.data(self.serving(spec)).table(spec)

    def rows(self, spec: StudySpec) -> int:
        return self.data(self.serving(spec)).mapped(spec).table.n

    def own(self, spec: StudySpec) -> Table:
        """The rows as they are now, for a look at home; nothing is contributed by it."""
        return self.data(self.serving(spec)).mapped(spec).table

    def floor(self, spec: StudySpec) -> Floor:
        return self.serving(spec).config.disclosure.floor

    def rules(self, spec: StudySpec, view: View, ledger: Ledger) -> None:
        ByConfig(self.serving(spec).config, self.org)(spec, view, ledger)

    @property
    def trusted(self) -> frozenset[bytes]:
        """Peers that any hospital.toml trusts; each study's own rules then ask for those of its dataset."""
        return frozenset(a for d in self.listed for a in d.config.policy.trusted_addresses)
