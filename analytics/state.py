"""The study's shared state: named integers on declared grids, byte-identical at every hospital.

Beside the analyses' own arrays it carries a cursor: which analysis is current, its round, and how many rounds
the study has had, so that every hospital derives from its own state what comes next.

The bytes are a safetensors file in one canonical form: names sorted, RFC 8785 header padded with spaces to
eight bytes, int64 little-endian, no gaps. Any other form is refused, so equal states have equal hashes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import rfc8785
from numpy.typing import ArrayLike, NDArray

from analytics.fixed import from_grid
from consilium_errors import Hostile, Misuse
from consilium_json import parse_json

SCHEMA = "consilium.state/1"
CURSOR = "cursor"
_MAX_HEADER = 1 << 20
_LIMB = 62
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, ArithmeticError, Misuse)


class Position(NamedTuple):
    """Where a study stands: index of the current analysis, its round, and all rounds so far; from 0."""

    analysis: int
    round: int
    total: int


@dataclass(frozen=True, eq=False)
class StudyState:
    """Immutable named int64 arrays and the grid (2^-bits) of each; ``with_`` makes the next one."""

    arrays: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays: dict[str, NDArray[np.int64]] = {CURSOR: np.zeros(3, dtype=np.int64)}
        for name, array in self.arrays.items():
            arrays[name] = np.array(array, dtype="<i8", order="C")
        for array in arrays.values():
            array.flags.writeable = False
        if set(self.bits) - set(arrays):
            raise Misuse("state.bits", "a grid is declared for an array that is not there")
        object.__setattr__(self, "arrays", MappingProxyType(arrays))
        object.__setattr__(self, "bits", MappingProxyType({n: int(self.bits.get(n, 0)) for n in arrays}))

    # reading ----------------------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        return Position(*(int(v) for v in self.arrays[CURSOR]))

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        return self.arrays[name]

    def scalar(self, name: str) -> int:
        return int(self.arrays[name].reshape(()))

    def floats(self, name: str) -> list[float]:
        """The flattened array times 2^-bits."""
        return [from_grid(int(v), self.bits[name]) for v in self.arrays[name].ravel()]

    def wide(self, name: str) -> list[int]:
        """Exact integers written by `with_wide`."""
        return [(int(high) << _LIMB) + int(low) for high, low in self.arrays[name]]

    # moving -----------------------------------------------------------------------------------------

    def with_(self, name: str, values: ArrayLike, bits: int = 0) -> StudyState:
        """A state with ``name`` set to integers on the grid 2^-bits.

        Raises:
            Misuse: ``state.not_integer`` for floats or integers beyond int64; ``state.name`` for the cursor.
        """
        if name == CURSOR:
            raise Misuse("state.name", "the cursor moves by next_round and finish only")
        return self._set(name, _int64(values), bits)

    def with_wide(self, name: str, values: Iterable[int], bits: int = 0) -> StudyState:
        """As `with_`, for exact integers up to 2^124, kept as int64[n, 2] (high, low 62 bits)."""
        pairs = [(int(v) >> _LIMB, int(v) & ((1 << _LIMB) - 1)) for v in values]
        return self.with_(name, np.array(pairs, dtype=object).reshape(-1, 2), bits)

    def without(self, name: str) -> StudyState:
        """A state without ``name``: what no later round and no result needs is forgotten."""
        if name == CURSOR:
            raise Misuse("state.name", "the cursor cannot be removed")
        return StudyState(
            {n: a for n, a in self.arrays.items() if n != name},
            {n: b for n, b in self.bits.items() if n != name},
        )

    def next_round(self) -> StudyState:
        """The same analysis goes on."""
        p = self.position
        return self._set(CURSOR, np.array([p.analysis, p.round + 1, p.total + 1], dtype=np.int64), 0)

    def finish(self) -> StudyState:
        """The current analysis is done; the next one begins at its round 0."""
        p = self.position
        return self._set(CURSOR, np.array([p.analysis + 1, 0, p.total + 1], dtype=np.int64), 0)

    def _set(self, name: str, array: NDArray[np.int64], bits: int) -> StudyState:
        return StudyState({**self.arrays, name: array}, {**self.bits, name: bits})

    # bytes ------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The canonical safetensors file."""
        names = sorted(self.arrays)
        body = b"".join(self.arrays[n].astype("<i8").tobytes() for n in names)
        return _header(names, {n: self.arrays[n].shape for n in names}, self.bits) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> StudyState:
        """Parse the canonical form and nothing else.

        Raises:
            Hostile: ``state.malformed``.
        """
        try:
            state = _parse(bytes(data))
            same = state.to_bytes() == data
        except _MALFORMED as error:
            raise Hostile("state.malformed", f"not a canonical state: {type(error).__name__}") from None
        if not same:
            raise Hostile("state.malformed", "the state is not in its canonical form")
        return state


def _int64(values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iuO":
        raise Misuse("state.not_integer", f"the state holds integers, not {array.dtype}")
    flat = [int(v) for v in array.ravel()] if array.dtype.kind in "uO" else None
    if flat is not None and any(not -(2**63) <= v < 2**63 for v in flat):
        raise Misuse("state.not_integer", "an integer does not fit int64; use with_wide")
    out: NDArray[np.int64] = (
        np.array(flat, dtype=np.int64).reshape(array.shape) if flat is not None else array
    )
    return out.astype(np.int64)


def _header(names: list[str], shapes: Mapping[str, tuple[int, ...]], bits: Mapping[str, int]) -> bytes:
    entries: dict[str, Any] = {}
    at = 0
    for name in names:
        end = at + 8 * math.prod(shapes[name])
        entries[name] = {"dtype": "I64", "shape": list(shapes[name]), "data_offsets": [at, end]}
        at = end
    meta = {f"bits.{n}": str(bits[n]) for n in names}
    text = rfc8785.dumps({"__metadata__": {"schema": SCHEMA, **meta}, **entries})
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _parse(data: bytes) -> StudyState:
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= min(_MAX_HEADER, len(data) - 8):
        raise ValueError("header length")
    head = parse_json(data[8 : 8 + size])
    meta = head.pop("__metadata__")
    body = data[8 + size :]
    arrays, bits = {}, {}
    for name, entry in head.items():
        start, end = entry["data_offsets"]
        arrays[name] = np.frombuffer(body[start:end], dtype="<i8").reshape(entry["shape"])
        bits[name] = int(meta[f"bits.{name}"])
    if (
        arrays[CURSOR].shape != (3,)
        or (arrays[CURSOR] < 0).any()
        or any(not 0 <= b <= 62 for b in bits.values())
    ):
        raise ValueError("cursor or grid")
    return StudyState(arrays, bits)
