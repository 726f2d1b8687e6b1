"""A hospital's cohort after mapping, as the analyses see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from consilium_errors import Misuse

T = TypeVar("T", bound=np.generic)


def _freeze(
    columns: Mapping[str, NDArray[np.generic]], dtype: type, n: int
) -> Mapping[str, NDArray[np.generic]]:
    frozen: dict[str, NDArray[np.generic]] = {}
    for name, column in columns.items():
        copy: NDArray[np.generic] = np.array(column, dtype=dtype)
        if copy.shape != (n,):
            raise Misuse("table.shape", f"column {name} has shape {copy.shape}, expected ({n},)")
        copy.flags.writeable = False
        frozen[name] = copy
    return MappingProxyType(frozen)


def _column(columns: Mapping[str, NDArray[T]], name: str) -> NDArray[T]:
    try:
        return columns[name]
    except KeyError:
        raise Misuse(
            "table.missing_column", f"the table has no column {name}", "map it in hospital.toml"
        ) from None


@dataclass(frozen=True, eq=False)
class Table:
    """Frozen columns of one cohort, one row per patient, complete cases only.

    Args:
        numbers: float64[n] per `number` and `duration` variable, in the study's unit.
        codes: int64[n] per `category` (index into its levels) and `event` (0 or 1) variable.
        n: number of rows.
    """

    numbers: Mapping[str, NDArray[np.float64]]
    codes: Mapping[str, NDArray[np.int64]]
    n: int

    def __post_init__(self) -> None:
        if set(self.numbers) & set(self.codes):
            raise Misuse("table.columns", "a column is given both as a number and as a code")
        object.__setattr__(self, "numbers", _freeze(self.numbers, np.float64, self.n))
        object.__setattr__(self, "codes", _freeze(self.codes, np.int64, self.n))
        for name, column in self.numbers.items():
            if not np.isfinite(column).all():
                raise Misuse("table.not_finite", f"column {name} holds a value that is not finite")

    def number(self, name: str) -> NDArray[np.float64]:
        """float64[n] of a `number` or `duration`."""
        return _column(self.numbers, name)

    def code(self, name: str) -> NDArray[np.int64]:
        """int64[n] of a `category` or `event`."""
        return _column(self.codes, name)

    def where(self, keep: NDArray[np.bool_]) -> Table:
        """The rows for which ``keep`` (bool[n]) holds, in the same order."""
        return Table(
            {name: column[keep] for name, column in self.numbers.items()},
            {name: column[keep] for name, column in self.codes.items()},
            int(np.count_nonzero(keep)),
        )
