from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.layout import Block, Layout, value_bits
from consilium_errors import Hostile, Misuse

PARTIES = st.integers(1, 128)


@st.composite
def rounds(draw: Any) -> tuple[Layout, int, list[dict[str, np.ndarray]]]:
    """A layout, the bits of a field and the integers of every party; each block at its very bounds too."""
    fields = draw(st.sampled_from([1, 2]))
    parties = draw(st.integers(1, 9))
    blocks = []
    for k in range(draw(st.integers(1, 3))):
        bound = draw(st.one_of(st.integers(1, 300), st.integers(1, 2**100), st.sampled_from([2**61, 2**62])))
        shape = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
        blocks.append(Block(f"b{k}", shape, bound, 0, draw(st.booleans())))
    stats = []
    for _ in range(parties):
        stat = {}
        for b in blocks:
            low = -b.bound if b.signed else 0
            one = st.one_of(st.integers(low, b.bound), st.sampled_from([low, b.bound]))
            cells = draw(st.lists(one, min_size=b.size, max_size=b.size))
            stat[b.name] = np.array(cells, dtype=object).reshape(b.shape)
        stats.append(stat)
    return Layout(tuple(blocks), fields), value_bits(fields, parties), stats


@given(rounds())
@settings(max_examples=120, deadline=None)
def test_a_sum_of_encodings_decodes_to_the_exact_sum(case: Any) -> None:
    layout, bits, stats = case
    total = np.zeros(layout.length(bits), dtype=np.uint64)
    for stat in stats:
        encoded = layout.encode(stat, bits)
        assert encoded.dtype == np.uint64
        assert int(encoded.max()) < 2**bits
        total += encoded
    decoded = layout.decode(total, len(stats), bits)
    for block in layout.blocks:
        expected = sum(np.asarray(stat[block.name], dtype=object) for stat in stats)
        assert decoded[block.name].shape == block.shape
        assert (decoded[block.name] == expected).all()


@given(PARTIES, st.sampled_from([1, 2]))
def test_full_fields_never_overflow(parties: int, fields: int) -> None:
    bits = value_bits(fields, parties)
    room = {1: 44, 2: 22}[fields]
    assert parties * (2**bits - 1) < 2**room
    assert bits + (parties - 1).bit_length() == room


@pytest.mark.parametrize(("value", "integer"), [(0.5, 2), (-0.5, -2), (0.1249, 0), (0.375, 2), (-0.375, -2)])
def test_values_round_to_the_nearest_grid_point_ties_to_even(value: float, integer: int) -> None:
    layout = Layout((Block("v", (), 100, fraction_bits=2),))
    assert int(layout.decode(layout.encode({"v": value}, 44), 1, 44)["v"]) == integer


def test_integers_of_any_kind_are_placed_on_the_grid_exactly() -> None:
    big = Block("v", (2,), 2**90, fraction_bits=30)
    for values in (np.array([3, -(2**50)]), np.array([3, -(2**50)], dtype=object), [3.0, -(2.0**50)]):
        assert [int(v) for v in big.quantise(values)] == [3 << 30, -(2**80)]


@pytest.mark.parametrize(
    "value", [1.01, -1.01, 1e300, -1e300, float("inf"), float("nan"), 2, -2, 2**62, np.uint64(2**64 - 1)]
)
def test_nothing_is_clamped(value: Any) -> None:
    layout = Layout((Block.real("v", (), 1.0, 8),))
    with pytest.raises(Misuse) as caught:
        layout.encode({"v": value}, 44)
    assert caught.value.code == "layout.out_of_range"
    assert str(value) not in str(caught.value)


def test_a_count_cannot_be_negative() -> None:
    with pytest.raises(Misuse, match="outside"):
        Layout((Block("n", (), 10, signed=False),)).encode({"n": -1}, 44)


def test_names_and_shapes_must_be_the_layouts() -> None:
    layout = Layout((Block("v", (2,), 10),))
    for stat in ({}, {"v": [1, 2], "w": 1}, {"v": [1, 2, 3]}, {"v": 1}):
        with pytest.raises(Misuse):
            layout.encode(stat, 44)


def _total(layout: Layout, value: int, parties: int, bits: int) -> np.ndarray:
    return sum((layout.encode({"v": value}, bits) for _ in range(parties)), np.zeros(1, np.uint64))


def test_a_total_beyond_what_honest_inputs_give_is_hostile() -> None:
    layout, parties = Layout((Block("v", (), 5),)), 3
    bits = value_bits(1, parties)
    top = _total(layout, 5, parties, bits)
    assert int(layout.decode(top, parties, bits)["v"]) == 15
    with pytest.raises(Hostile) as caught:
        layout.decode(top + np.uint64(1), parties, bits)
    assert caught.value.code == "layout.total_out_of_range"


@pytest.mark.parametrize("value", [2**22, 2**44 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("bound", [2**50, 2**59])
def test_a_top_limb_that_would_wrap_around_is_hostile(bound: int, value: int) -> None:
    """Times 2^42 it exceeds 64 bits and could come back small: each limb has its own limit."""
    layout, parties = Layout((Block("v", (), bound),)), 4
    forged = np.array([0, value], dtype=np.uint64)
    assert 2 * bound * parties < value << 42
    with pytest.raises(Hostile):
        layout.decode(forged, parties, value_bits(1, parties))


@pytest.mark.parametrize("bound", [2**50, 2**70])
def test_limbs_that_are_each_possible_but_not_together_are_hostile(bound: int) -> None:
    layout, parties, bits = Layout((Block("v", (), bound),)), 4, 42
    top = layout.encode({"v": bound}, bits) * np.uint64(parties)
    assert int(layout.decode(top, parties, bits)["v"]) == parties * bound
    top[0] = parties * (2**bits - 1)
    with pytest.raises(Hostile):
        layout.decode(top, parties, bits)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_refused_total_has_a_value_that_one_hospital_at_least_put_out_of_range(data: Any) -> None:
    """Hospitals of which some commit to any limbs: `decode` refuses where `beyond` finds a place, and there
    not all of them can be below the bound."""
    layout, bits, stats = data.draw(rounds())
    parties, length = len(stats), layout.length(bits)
    encoded = [layout.encode(stat, bits).astype(object) for stat in stats]
    for _ in range(data.draw(st.integers(0, 3))):
        liar, at = data.draw(st.integers(0, parties - 1)), data.draw(st.integers(0, length - 1))
        encoded[liar][at] = data.draw(st.one_of(st.integers(0, 2**bits - 1), st.just(2**bits - 1)))
    total = np.array(sum(encoded)).astype(np.uint64)
    found = layout.beyond(total, parties, bits)
    if found is None:
        layout.decode(total, parties, bits)
        return
    with pytest.raises(Hostile):
        layout.decode(total, parties, bits)
    fields, most = found
    shown = [sum(int(one[f]) << (bits * k) for k, f in enumerate(fields)) for one in encoded]
    assert any(value > most for value in shown)
    for honest in stats:
        whole = layout.encode(honest, bits)
        assert sum(int(whole[f]) << (bits * k) for k, f in enumerate(fields)) <= most


def test_a_total_of_another_length_or_type_is_hostile() -> None:
    layout = Layout((Block("v", (2,), 5),))
    for total in (np.zeros(3, np.uint64), np.zeros((2, 1), np.uint64), np.zeros(2, np.int64)):
        with pytest.raises(Hostile) as caught:
            layout.decode(total, 3, 42)
        assert caught.value.code == "layout.total_length"


def test_value_bits_that_could_overflow_the_field_are_refused() -> None:
    layout = Layout((Block("v", (), 5),), fields=2)
    with pytest.raises(Misuse):
        layout.decode(np.zeros(1, np.uint64), 5, 20)
    with pytest.raises(Misuse):
        layout.encode({"v": 1}, 23)


def test_a_real_bound_rounds_outwards() -> None:
    assert Block.real("v", (), Fraction(1, 3), 4).bound == 6
    assert Block.real("v", (), 1.0, 4).bound == 16


def test_parameters_tell_every_block_apart() -> None:
    base = Block("v", (2,), 5, 1, True)
    others = [
        Block("w", (2,), 5, 1, True),
        Block("v", (1, 2), 5, 1, True),
        Block("v", (2,), 6, 1, True),
        Block("v", (2,), 5, 2, True),
        Block("v", (2,), 5, 1, False),
    ]
    texts = {Layout((b,)).params_bytes() for b in [base, *others]} | {Layout((base,), 2).params_bytes()}
    assert len(texts) == 7
    assert Layout((base,)).params_bytes() == (
        b'{"blocks":[{"bound":"5","fraction_bits":1,"name":"v","shape":[2],"signed":true}],'
        b'"fields":1,"schema":"consilium.layout/1"}'
    )
