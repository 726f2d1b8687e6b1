"""The code that computes, as one hash: every participant of a round must run the same."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from protos import digests

ROOMS = ("analytics", "crypto", "protos")
ROOTS = ("consilium_children", "consilium_errors", "consilium_json", "consilium_records")


@lru_cache
def code_hash() -> bytes:
    """32 bytes over the names and contents of every Python file that touches data or keys.

    The pinned libraries are not in it: `pyproject.toml` pins those whose change would change a result.
    """
    parts = []
    for room in ROOMS:
        spec = find_spec(room)
        if spec is None or not spec.submodule_search_locations:
            raise AssertionError(f"{room} is installed")
        root = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(root.rglob("*.py")):
            parts += [f"{room}/{path.relative_to(root).as_posix()}".encode(), path.read_bytes()]
    for name in ROOTS:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise AssertionError(f"{name} is installed")
        parts += [f"{name}.py".encode(), Path(spec.origin).read_bytes()]
    return digests.tagged("code", *parts)
