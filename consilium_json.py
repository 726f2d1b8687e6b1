"""JSON from outside, bounded in depth before Python's parser sees it."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 100
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NO_BRACKET = bytes(b for b in range(256) if b not in b"[]{}")


def parse_json(body: bytes) -> Any:
    """JSON of at most `MAX_DEPTH` levels.

    Python's parser is only guarded by the interpreter's recursion limit; where a library has raised that, deep
    nesting crashes the process.

    Raises:
        ValueError: not JSON, or too deep.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise ValueError("too deep")
    return json.loads(body)


def _depth(body: bytes) -> int:
    deepest = depth = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NO_BRACKET):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
