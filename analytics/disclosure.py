"""The disclosure floor: rules that keep a released number from pointing at a patient or at a hospital.

Cryptography hides the parts of a sum; these rules guard the sum itself. Each is a function that returns
nothing or refuses, each has a test that tries to break it.

1. A sum over fewer than three sites is no secret (`check_sites`), nor one with a site of few rows
   (`check_rows`).
2. A released count is pooled over at least ``min_cell`` patients (`check_cells`); bins are merged until it is
   (`merge_bins`). Zero counts as small: "nobody" is also a statement about people.
3. Two releases over cohorts that differ in a few patients give those patients away: cohorts are equal, or
   differ in at least ``min_difference`` (`check_difference`).
4. An exact analysis keeps the set of sites of its first opening (`check_fixed_set`).
5. A regression with many parameters per row describes rows, not a population (`check_parameters`).
6. Every result says how it was released: ``exact``, or its (epsilon, delta) (`check_label`).

Cells of fewer than 5 to 10 and cohort differencing: Hundepool et al., Statistical Disclosure Control
(Wiley 2012), chapters 4 and 5; parameters per row: the DataSHIELD disclosure settings (``nfilter.glm``,
0.33).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from consilium_errors import Misuse, Refused

LEAST_SITES = 3
"""No setting goes below this: of two, each learns the other's part by subtraction."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """One hospital's limits; counts are of patients."""

    min_sites: int = LEAST_SITES
    min_rows: int = 15
    min_cell: int = 5
    min_difference: int = 5
    max_params_per_row: Fraction = Fraction(33, 100)
    leave_site_out: bool = False

    def __post_init__(self) -> None:
        if self.min_sites < LEAST_SITES or min(self.min_rows, self.min_cell, self.min_difference) < 1:
            raise Misuse(
                "disclosure.floor", f"min_sites is at least {LEAST_SITES}, the other counts at least 1"
            )
        if not 0 < self.max_params_per_row <= 1:
            raise Misuse("disclosure.floor", "max_params_per_row lies above 0 and is at most 1")


def check_sites(sites: int, floor: Floor) -> None:
    """Refuses a sum over fewer than ``min_sites`` sites: ``disclosure.min_sites``."""
    if sites < floor.min_sites:
        _refuse("min_sites", f"{sites} sites, expected at least {floor.min_sites}")


def check_rows(rows: int, floor: Floor) -> None:
    """Refuses to contribute fewer than ``min_rows`` rows: ``disclosure.min_rows``."""
    if rows < floor.min_rows:
        _refuse("min_rows", f"the cohort has fewer than {floor.min_rows} rows at this site")


def check_cells(counts: ArrayLike, min_cell: int) -> None:
    """Refuses pooled counts of which any is below ``min_cell``, zero included: ``disclosure.min_cell``."""
    cells = np.asarray(counts)
    if cells.size == 0 or (cells < min_cell).any():
        _refuse(
            "min_cell", f"a released count is below {min_cell}; merge levels or bins, or widen the cohort"
        )


def merge_bins(exits: ArrayLike, min_cell: int) -> list[tuple[int, int]]:
    """Neighbouring bins merged until each holds at least ``min_cell`` exits.

    From the left, bins are collected until they hold enough; what remains at the end joins the last cell. The
    last cell therefore has no right end of its own: where it ends would be one patient's time.

    Args:
        exits: int[G], patients who leave observation (by event or censoring) in each bin.

    Returns:
        Half-open ranges of bins that cover 0..G without gaps.

    Raises:
        Refused: ``disclosure.min_cell`` if all bins together hold too few.
    """
    counts = [int(v) for v in np.asarray(exits)]
    check_cells(sum(counts), min_cell)
    ends, held = [], 0
    for index, count in enumerate(counts):
        held += count
        if held >= min_cell:
            ends.append(index + 1)
            held = 0
    ends[-1] = len(counts)
    return list(pairwise([0, *ends]))


def check_difference(
    now: NDArray[np.int32], earlier: Iterable[NDArray[np.int32]], min_difference: int
) -> None:
    """Refuses a cohort that differs from an earlier released one in some, but too few, patients.

    Args:
        now: int32[N], for each patient ever seen the version of the row that is used, 0 if none is. A
            corrected row counts like another patient: the difference of two sums would show the
            correction.
        earlier: the same of every cohort released from this dataset; shorter where patients came later.

    Raises:
        Refused: ``disclosure.difference``.
    """
    for before in earlier:
        size = max(len(now), len(before))
        a, b = np.zeros(size, np.int32), np.zeros(size, np.int32)
        a[: len(now)], b[: len(before)] = now, before
        differ = int(np.count_nonzero(a != b))
        if 0 < differ < min_difference:
            _refuse(
                "difference",
                f"the cohort differs from an earlier released one in fewer than {min_difference} patients",
                "Use the earlier cohort unchanged, or wait until enough patients have come or gone.",
            )


def check_fixed_set(first: Collection[bytes], now: Collection[bytes], floor: Floor) -> None:
    """Refuses another set of sites than at the analysis's first opening: ``disclosure.fixed_set``.

    The difference of two sums over sets that differ in a site is that site's aggregate, which every site
    of the set must have accepted beforehand (``leave_site_out``).
    """
    if frozenset(first) != frozenset(now) and not floor.leave_site_out:
        _refuse("fixed_set", "an exact analysis keeps the sites of its first opening")


def check_parameters(parameters: int, rows: int, floor: Floor) -> None:
    """Refuses a regression with too many parameters for its pooled rows: ``disclosure.parameters``."""
    if parameters > floor.max_params_per_row * rows:
        _refuse(
            "parameters",
            f"{parameters} parameters for {rows} rows, at most {float(floor.max_params_per_row):g} a row",
            "Ask for fewer terms.",
        )


def check_label(result: Mapping[str, Any]) -> None:
    """Refuses a result that does not say how it was released: ``disclosure.label``.

    Either ``mode`` is ``exact`` and no epsilon is claimed, or it is ``dp`` with positive epsilon and 0 <=
    delta < 1.
    """
    mode, epsilon, delta = (result.get(key) for key in ("mode", "epsilon", "delta"))
    if mode == "exact" and epsilon is None and delta is None:
        return
    told = isinstance(epsilon, int | float) and isinstance(delta, int | float)
    if mode == "dp" and told and 0 < float(epsilon or 0) < math.inf and 0 <= float(delta or 0) < 1:
        return
    _refuse("label", "the result does not say whether it is exact or which (epsilon, delta) it has")


def check_result(result: Mapping[str, Any], sites: int, floor: Floor) -> None:
    """The last look at one analysis's result before this hospital approves its release.

    Args:
        result: as `Analysis.result` gives it.
        sites: how many sites were summed.

    Raises:
        Refused: any rule's code.
    """
    check_sites(sites, floor)
    check_label(result)
    match result.get("kind"):
        case "kaplan_meier":
            curves = result["curves"]
            check_cells(
                [cell["deaths"] + cell["censored"] for c in curves for cell in c["cells"]], floor.min_cell
            )
        case "logrank":
            check_cells([group["n"] for group in result["groups"]], floor.min_cell)
        case "logistic":
            check_cells(result["n"], floor.min_cell)
            check_parameters(len(result["terms"]), result["n"], floor)
        case "network":
            pass  # far more parameters than rows: a person approves it, or refuses the study
        case _:
            check_cells(result["n"], floor.min_cell)


def _refuse(rule: str, message: str, remedy: str = "") -> NoReturn:
    raise Refused(f"disclosure.{rule}", message, remedy)
