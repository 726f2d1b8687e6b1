"""GA4GH Data Use Ontology (DUO) codes as the bits and hashes that the registry compares.

A study *claims* purposes (`purposes`); a consent *permits* them and everything narrower (`permissions`):
no restriction ⊇ general research ⊇ health and biomedical research ⊇ research into one disease, and
general research ⊇ ancestry. Modifiers (`conditions`) are separate bits that the study must satisfy; codes
that need a value (which disease, which country, until when) also enter one `scope` hash.

Source: the ontology's own term list (github.com/EBISPOT/DUO). A disease is compared by its MONDO id, not by
MONDO's hierarchy: consent for cancer does not cover a study registered for lung cancer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consilium_errors import Misuse
from protos.digests import ZERO32, tagged

NRES, GRU, HMB, DS, POA = (f"DUO:{n:07}" for n in (4, 42, 6, 7, 11))
CLINICAL_CARE = "DUO:0000043"
_GRU_CC = "DUO:0000005"  # obsolete: general research and clinical care

#: What each permission directly contains. Order of `_BITS` is frozen: it is on chains.
_CONTAINS = {
    NRES: (GRU, CLINICAL_CARE),
    GRU: (HMB, POA),
    _GRU_CC: (GRU, CLINICAL_CARE),
    HMB: (DS,),
    DS: (),
    POA: (),
    CLINICAL_CARE: (),
}
_BITS = {NRES: 0, GRU: 1, HMB: 2, DS: 3, POA: 4, CLINICAL_CARE: 5}

#: Modifier → (bit, does it need a value).
_MODIFIERS = {
    "DUO:0000012": (0, True),  # RS, a research type
    "DUO:0000015": (1, False),  # NMDS, no methods development
    "DUO:0000016": (2, False),  # GSO, genetic studies only
    "DUO:0000018": (3, False),  # NPUNCU, not for profit, non-commercial
    "DUO:0000019": (4, False),  # PUB, publication required
    "DUO:0000020": (5, False),  # COL, collaboration required
    "DUO:0000021": (6, False),  # IRB, ethics approval
    "DUO:0000022": (7, True),  # GS, a region
    "DUO:0000024": (8, True),  # MOR, a date
    "DUO:0000025": (9, True),  # TS, months
    "DUO:0000026": (10, True),  # US, users
    "DUO:0000027": (11, True),  # PS, a project
    "DUO:0000028": (12, True),  # IS, an institution
    "DUO:0000029": (13, False),  # RTN, return of results
    "DUO:0000044": (14, False),  # NPOA, no ancestry research
    "DUO:0000045": (15, False),  # NPU, not-for-profit organisations
    "DUO:0000046": (16, False),  # NCU, non-commercial use
}


def purposes(codes: Iterable[str]) -> int:
    """Bits that a study claims: exactly these codes.

    Raises:
        Misuse: ``duo.unknown``, as all functions here.
    """
    bits = 0
    for code in codes:
        if code not in _BITS:
            raise Misuse("duo.unknown", f"not a purpose: {code}", remedy=f"one of {', '.join(_BITS)}")
        bits |= 1 << _BITS[code]
    return bits


def permissions(codes: Iterable[str]) -> int:
    """Bits that a consent with these codes permits, with everything narrower."""
    closed: set[str] = set()
    waiting = list(codes)
    while waiting:
        code = waiting.pop()
        if code not in _CONTAINS:
            raise Misuse("duo.unknown", f"not a permission: {code}", remedy=f"one of {', '.join(_CONTAINS)}")
        closed.add(code)
        waiting += [c for c in _CONTAINS[code] if c not in closed]
    return purposes(c for c in closed if c in _BITS)


def conditions(codes: Iterable[str]) -> int:
    """Modifier bits: what a consent demands, or what a study undertakes to satisfy."""
    bits = 0
    for code in codes:
        if code not in _MODIFIERS:
            raise Misuse("duo.unknown", f"not a modifier: {code}")
        bits |= 1 << _MODIFIERS[code][0]
    return bits


def scope(values: Mapping[str, str]) -> bytes:
    """Hash of the values of codes that need one, e.g. ``{"DUO:0000007": "MONDO:0004992"}``; zero if none.

    A consent's scope must equal the study's, or be zero (any).

    Raises:
        Misuse: ``duo.unknown`` also for a code that takes no value; ``duo.value``.
    """
    if not values:
        return ZERO32
    parts: list[bytes] = []
    for code, value in sorted(values.items()):
        if code != DS and not _MODIFIERS.get(code, (0, False))[1]:
            raise Misuse("duo.unknown", f"takes no value: {code}")
        if not value or value != value.strip():
            raise Misuse("duo.value", f"the value of {code} is empty or padded")
        parts += [code.encode(), value.encode()]
    return tagged("duo-scope", *parts)


def consent_terms(codes: Iterable[str], values: Mapping[str, str]) -> tuple[int, int, bytes]:
    """``(allowed, conditions, scope)`` of a grant under a mixed list of codes.

    Raises:
        Misuse: ``duo.value_missing`` for a code that needs a value and has none.
    """
    listed = list(codes)
    missing = [c for c in listed if (c == DS or _MODIFIERS.get(c, (0, False))[1]) and c not in values]
    if missing:
        raise Misuse("duo.value_missing", f"needs a value: {', '.join(missing)}")
    modifiers = [c for c in listed if c in _MODIFIERS]
    return permissions(c for c in listed if c not in _MODIFIERS), conditions(modifiers), scope(values)
