"""Conversion between units, a subset of UCUM (https://ucum.org): exact factors, one multiplication.

A month is a twelfth of a year and a year 365.25 days, as UCUM defines them.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from consilium_errors import Misuse

_BASES: dict[str, dict[str, str]] = {
    "one": {"1": "1", "%": "0.01"},
    "time": {
        "s": "1",
        "min": "60",
        "h": "3600",
        "d": "86400",
        "wk": "604800",
        "mo": "2629800",
        "a": "31557600",
    },
    "mass": {"kg": "1000", "g": "1", "mg": "0.001", "ug": "0.000001", "[lb_av]": "453.59237"},
    "length": {"m": "1", "dm": "0.1", "cm": "0.01", "mm": "0.001", "um": "0.000001", "[in_i]": "0.0254"},
    "area": {"m2": "1", "cm2": "0.0001", "mm2": "0.000001"},
    "pressure": {"Pa": "1", "kPa": "1000", "mm[Hg]": "133.322387415"},
    "volume": {"L": "1", "dL": "0.1", "mL": "0.001"},
    "concentration": {"g/L": "1", "g/dL": "10", "mg/dL": "0.01", "mg/L": "0.001"},
    "amount": {"mol/L": "1", "mmol/L": "0.001", "umol/L": "0.000001"},
}
UNITS: dict[str, tuple[str, Fraction]] = {
    unit: (dimension, Fraction(size)) for dimension, units in _BASES.items() for unit, size in units.items()
}
"""Unit -> (dimension, size in the dimension's base)."""


def factor(source: str, target: str) -> Fraction:
    """How many ``target`` one ``source`` is.

    Raises:
        Misuse: ``units.unknown``, ``units.dimension``.
    """
    for unit in (source, target):
        if unit not in UNITS:
            raise Misuse(
                "units.unknown", f"{unit} is no unit we convert", f"use one of {', '.join(sorted(UNITS))}"
            )
    (from_dimension, from_size), (to_dimension, to_size) = UNITS[source], UNITS[target]
    if from_dimension != to_dimension:
        raise Misuse("units.dimension", f"{source} measures {from_dimension}, {target} {to_dimension}")
    return from_size / to_size


def convert(values: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    """float64[n] in ``target``; equal units leave every bit as it is.

    Raises:
        Misuse: as `factor`.
    """
    if source == target:
        return values
    ratio = factor(source, target)
    # Multiplying and dividing by whole numbers keeps exact what can be exact (mm to cm, weeks to days).
    return values * float(ratio.numerator) / float(ratio.denominator)
