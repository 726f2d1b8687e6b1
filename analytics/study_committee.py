"""``[[committee]]`` and ``[robust]`` of a study file: who computes on shares, and what it checks.

[[committee]]                    # exactly three, for sum = "mpc"
name = "m1"
org = "0x…"                      # the address whose key signs
hpke = "<base64>"                # 1216 bytes: the key that shares are sealed to

[robust]
analyses = ["net"]               # of kind network or kaplan_meier
combine = "sum"                  # or "median", "trimmed": by coordinate, over the hospitals
cut = 0                          # trimmed: how many values go at each end
outside = "exclude"              # a vector beyond its bound is left out, openly; or "refuse": nothing is opened
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from analytics.study_analyses import AnalysisEntry, KaplanMeierEntry, NetworkEntry
from analytics.study_fields import Identifier, Model, Name, unique

if TYPE_CHECKING:
    from analytics.study import StudySpec

MEMBERS: Final = 3
HPKE_BYTES: Final = 1216
#: The largest L2 bound, in grid units, for which the committee's check is sound.
MAX_BOUND: Final = 1 << 25


def _hpke(value: str) -> str:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    if len(raw) != HPKE_BYTES or base64.b64encode(raw).decode() != value:
        raise ValueError(f"is not the base64 of a key of {HPKE_BYTES} bytes")
    return value


class CommitteeMember(Model):
    """One of the three that compute on shares."""

    name: Identifier
    org: Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{40}$")]
    hpke: Annotated[str, AfterValidator(_hpke)]

    @property
    def address(self) -> bytes:
        return bytes.fromhex(self.org[2:])

    @property
    def key(self) -> bytes:
        """HPKE public key."""
        return base64.b64decode(self.hpke)


class Robust(Model):
    """What the committee does besides adding, in the analyses named."""

    analyses: Annotated[tuple[Name, ...], AfterValidator(unique), Field(min_length=1, max_length=64)]
    combine: Literal["sum", "median", "trimmed"] = "sum"
    cut: Annotated[int, Field(ge=0, le=60)] = 0
    outside: Literal["exclude", "refuse"] = "exclude"


Finding = tuple[str, str]


def disagreements(spec: StudySpec) -> Iterator[Finding]:
    """What in these tables does not fit the rest of the study."""
    if (spec.sum == "mpc") != bool(spec.committee):
        yield "committee", 'sum = "mpc" and [[committee]] belong together'
    for what in ("name", "org", "hpke"):
        if len({getattr(member, what) for member in spec.committee}) != len(spec.committee):
            yield "committee", f"two members have the same {what}"
    if spec.committee and len(spec.committee) != MEMBERS:
        yield "committee", f"has {len(spec.committee)} members, expected {MEMBERS}"
    if spec.committee and spec.release.mode == "dp":
        yield "release.mode", "differential privacy by committee is not offered by this version"
    if spec.robust is not None:
        yield from _robust(spec, spec.robust)


def _robust(spec: StudySpec, robust: Robust) -> Iterator[Finding]:
    if spec.sum != "mpc":
        yield "robust", 'only a committee checks what it cannot see: set sum = "mpc"'
    if (robust.combine == "trimmed") != (robust.cut > 0) or 2 * robust.cut >= spec.min_sites:
        yield "robust.cut", "goes with trimmed, and twice it is less than min_sites"
    entries = {entry.id: entry for entry in spec.analysis}
    for name in robust.analyses:
        entry = entries.get(name)
        if entry is None:
            yield "robust.analyses", f"{name} is not an analysis of this study"
        elif bound(spec, entry) is None:
            yield "robust.analyses", f"{name} is of kind {entry.kind}, which has no L2 bound of its own"
        elif (bound(spec, entry) or 0) > MAX_BOUND:
            yield "robust.analyses", f"the L2 bound of {name} is beyond {MAX_BOUND}; lower row_cap"


def bound(spec: StudySpec, entry: AnalysisEntry) -> int | None:
    """The L2 norm that a hospital's whole contribution keeps to when it follows the study, in grid units.

    Counts of at most ``row_cap`` patients have at most that norm; a network's update is clipped to ``clip`` and
    joined by its weight.
    """
    match entry:
        case KaplanMeierEntry():
            return spec.row_cap
        case NetworkEntry():
            from analytics.network import Network

            net = Network(spec, entry)
            update = math.ceil(Fraction(entry.clip) * 2**net.update_bits)
            weight = 1 << (net.unit_bits - 1)
            return math.isqrt(update * update + weight * weight) + 1
        case _:
            return None


def rule(spec: StudySpec, analysis: str) -> Robust | None:
    """What the committee does in ``analysis`` besides adding; None: it adds."""
    robust = spec.robust
    return robust if robust is not None and analysis in robust.analyses else None


def norm_bound(spec: StudySpec, analysis: str) -> int | None:
    """The bound that the committee holds contributions to `analysis` to; None: none."""
    if rule(spec, analysis) is None:
        return None
    return next(bound(spec, entry) for entry in spec.analysis if entry.id == analysis)
