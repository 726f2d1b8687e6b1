from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.state import Position, StudyState
from consilium_errors import Hostile, Misuse

STATE = (
    StudyState()
    .with_("b.x", [[1, -2], [3, 4]], 40)
    .with_("a", 7)
    .with_wide("c", [2**100, -(2**70), -1, 0], 28)
)
BYTES = STATE.to_bytes()


def test_values_come_back() -> None:
    again = StudyState.from_bytes(BYTES)
    assert again.to_bytes() == BYTES
    assert again["b.x"].tolist() == [[1, -2], [3, 4]]
    assert again.bits["b.x"] == 40
    assert again.floats("b.x")[1] == -2 / 2**40
    assert again.scalar("a") == 7
    assert again.wide("c") == [2**100, -(2**70), -1, 0]


def test_the_bytes_do_not_depend_on_the_order_of_writing() -> None:
    other = (
        StudyState()
        .with_wide("c", [2**100, -(2**70), -1, 0], 28)
        .with_("a", 7)
        .with_("b.x", [[1, -2], [3, 4]], 40)
    )
    assert other.to_bytes() == BYTES


def test_it_is_a_safetensors_file() -> None:
    loaded = safetensors.numpy.load(BYTES)
    assert set(loaded) == {"a", "b.x", "c", "cursor"}
    assert loaded["b.x"].tolist() == [[1, -2], [3, 4]]


def test_the_cursor_moves_by_rounds_and_analyses_only() -> None:
    state = STATE.next_round().next_round().finish().next_round()
    assert state.position == Position(analysis=1, round=1, total=4)
    assert STATE.position == Position(0, 0, 0)
    for forbidden in (lambda: STATE.with_("cursor", [9, 9, 9]), lambda: STATE.without("cursor")):
        with pytest.raises(Misuse):
            forbidden()


def test_a_state_never_changes() -> None:
    mine = np.array([1, 2, 3])
    state = StudyState().with_("x", mine)
    mine[0] = 9
    assert state["x"].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        state["x"][0] = 5
    with pytest.raises(TypeError):
        state.arrays["x"] = mine  # type: ignore[index]
    assert "x" not in state.without("x")


@pytest.mark.parametrize("bad", [1.5, [0.0], True, [2**63], [-(2**63) - 1]])
def test_only_int64_enters(bad: object) -> None:
    with pytest.raises(Misuse) as caught:
        STATE.with_("x", bad)  # type: ignore[arg-type]
    assert caught.value.code == "state.not_integer"


@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255))
@settings(max_examples=400, deadline=None)
def test_a_flipped_byte_is_refused_or_another_state(at: int, flip: int) -> None:
    forged = BYTES[:at] + bytes([BYTES[at] ^ flip]) + BYTES[at + 1 :]
    try:
        state = StudyState.from_bytes(forged)
    except Hostile:
        return
    assert state.to_bytes() == forged != BYTES


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for data in (
        noise,
        BYTES + noise[:1] + b"\0",
        BYTES[: len(noise)],
        len(noise).to_bytes(8, "little") + noise,
    ):
        with pytest.raises(Hostile):
            StudyState.from_bytes(data)


def _with_header(change: object, body: bytes) -> bytes:
    text = json.dumps(change, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


META = {"schema": "consilium.state/1", "bits.cursor": "0", "bits.x": "0"}
CURSOR = {"dtype": "I64", "shape": [3], "data_offsets": [0, 24]}
X = {"dtype": "I64", "shape": [1], "data_offsets": [24, 32]}


def test_the_harness_can_write_an_accepted_file() -> None:
    good = _with_header({"__metadata__": META, "cursor": CURSOR, "x": X}, bytes(32))
    assert StudyState.from_bytes(good)["x"].tolist() == [0]


@pytest.mark.parametrize(
    "head",
    [
        [],
        "text",
        {"__metadata__": META},
        {"__metadata__": META, "cursor": CURSOR},
        {"__metadata__": META | {"more": "1"}, "cursor": CURSOR, "x": X},
        {"__metadata__": META | {"schema": "consilium.state/2"}, "cursor": CURSOR, "x": X},
        {"__metadata__": META | {"bits.x": "63"}, "cursor": CURSOR, "x": X},
        {"__metadata__": META | {"bits.x": "-1"}, "cursor": CURSOR, "x": X},
        {"__metadata__": META | {"bits.x": "00"}, "cursor": CURSOR, "x": X},
        {"__metadata__": META, "cursor": CURSOR, "x": X | {"dtype": "F64"}},
        {"__metadata__": META, "cursor": CURSOR, "x": X | {"shape": [-1]}},
        {"__metadata__": META, "cursor": CURSOR, "x": X | {"shape": [1 << 60]}},
        {"__metadata__": META, "cursor": CURSOR, "x": X | {"shape": [True]}},
        {"__metadata__": META, "cursor": CURSOR, "x": X | {"data_offsets": [16, 24]}},
        {"__metadata__": META, "cursor": CURSOR, "x": X | {"data_offsets": [24, 32, 40]}},
        {"__metadata__": META, "cursor": CURSOR | {"shape": [1, 3]}, "x": X},
        {"__metadata__": META, "cursor": CURSOR, "x\ud800": X},
        {"__metadata__": META, "cursor": CURSOR, "x": 1},
    ],
)
def test_every_other_form_is_refused(head: object) -> None:
    with pytest.raises(Hostile):
        StudyState.from_bytes(_with_header(head, bytes(32)))


def test_a_negative_cursor_is_refused() -> None:
    body = np.array([-1, 0, 0, 0], dtype="<i8").tobytes()
    with pytest.raises(Hostile):
        StudyState.from_bytes(_with_header({"__metadata__": META, "cursor": CURSOR, "x": X}, body))


def test_deep_nesting_is_refused_also_where_a_library_raised_the_recursion_limit() -> None:
    deep = b"[" * 1_000_000
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**8)
    try:
        with pytest.raises(Hostile):
            StudyState.from_bytes(len(deep).to_bytes(8, "little") + deep)
    finally:
        sys.setrecursionlimit(before)
