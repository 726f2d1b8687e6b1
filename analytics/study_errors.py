"""From pydantic's findings to lines that a person can act on."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from analytics.study_checks import DisagreementError, Finding

_TELLING = {
    "extra_forbidden": "unknown key; remove it or mend its spelling",
    "missing": "is missing; add it",
    "union_tag_not_found": "has no kind; add it",
    "string_pattern_mismatch": "is not in the expected form",
}


def findings(error: ValidationError) -> list[Finding]:
    """(field path, what to do) for everything that is wrong; values are not shown."""
    found: list[Finding] = []
    for item in error.errors(include_url=False, include_input=False):
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, DisagreementError):
            found.extend(cause.findings)
            continue
        text = _TELLING.get(item["type"], item["msg"].removeprefix("Value error, "))
        if item["type"] == "string_pattern_mismatch":
            text += f" {item['ctx']['pattern']}"
        found.append((path_of(item["loc"], item["type"]), text))
    return found


def path_of(location: Iterable[int | str], kind: str = "") -> str:
    """``("analysis", 0, "logistic", "ridge")`` is ``analysis[0].ridge``: tags of a union are not keys."""
    parts: list[str] = []
    skip = False
    for step in location:
        if isinstance(step, int):
            parts[-1:] = [f"{parts[-1] if parts else ''}[{step}]"]
        elif not skip:
            parts.append(step)
        # After analysis[i] and after variables.x pydantic puts the tag of the union.
        inside = len(parts) == 1 and parts[0].startswith("analysis[") and isinstance(step, int)
        skip = inside or (not skip and len(parts) == 2 and parts[0] == "variables")
    return ".".join(parts) or "(file)"
