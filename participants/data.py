"""From hospital.toml to the table that a study's analyses read, every rule on the way applied."""

from __future__ import annotations

from analytics.disclosure import check_rows
from analytics.study import StudySpec
from analytics.table import Table
from participants.cohort import Cohort, Frozen
from participants.config import HospitalConfig
from participants.mapping import Mapped, map_rows
from participants.sources import read


class HospitalData:
    """One dataset of one hospital: its source, read anew each time, and its frozen cohort."""

    def __init__(self, config: HospitalConfig, cohort: Cohort) -> None:
        self.config, self.cohort = config, cohort

    def freeze(self) -> Frozen:
        """Freeze what the source holds now; see `Cohort.freeze`."""
        return self.cohort.freeze(read(self.config), self.config)

    def mapped(self, spec: StudySpec) -> Mapped:
        """The study's rows of the frozen cohort; nothing is written down, so this is safe to look at.

        Raises:
            Misuse, Refused: any code of `sources`, `mapping` and `Cohort.current`.
        """
        return map_rows(self.cohort.current(read(self.config), self.config), self.config, spec)

    def table(self, spec: StudySpec) -> Table:
        """The table to contribute from; the rows used are recorded first, for the rule on differences.

        Raises:
            Refused: ``disclosure.min_rows``, ``disclosure.difference``, ``cohort.changed`` and what
                `mapped` raises. Misuse: what `mapped` raises.
        """
        rows = self.cohort.current(read(self.config), self.config)
        mapped = map_rows(rows, self.config, spec)
        floor = self.config.disclosure.floor
        check_rows(mapped.table.n, floor)
        self.cohort.record(spec.spec_hash, self.cohort.members(rows, mapped.kept), floor.min_difference)
        return mapped.table
