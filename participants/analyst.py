"""The analytics as the round's machine sees them: states are bytes, statistics are bounded integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics import layout as layouts
from analytics import registry
from analytics.analysis import Analysis
from analytics.layout import Layout
from analytics.privacy import noise_of
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from consilium_errors import Refused
from crypto.privacy import discrete_gaussian
from participants.committee.terms import rule_of
from participants.round.words import Contribution, Fields, Moved, Shared

Draw = Callable[[int, int], NDArray[np.int64]]
"""(standard deviation, how many) → independent noise."""


class SpecAnalyst:
    """One study's analytics over one hospital's table.

    Args:
        table: reads the frozen cohort; called only when a contribution is due.
        draw: this hospital's share of the noise in a study of mode ``dp``.
    """

    def __init__(self, spec: StudySpec, table: Callable[[], Table], draw: Draw = discrete_gaussian) -> None:
        self._spec = spec
        self._table = table
        self._draw = draw
        self._last: tuple[bytes, StudyState] | None = None

    @property
    def spec(self) -> StudySpec:
        return self._spec

    def genesis(self) -> bytes:
        return registry.genesis(self._spec).to_bytes()

    def current(self, state: bytes) -> str:
        analysis = registry.current(self._spec, self._parsed(state))
        return "" if analysis is None else analysis.name

    def layout(self, state: bytes) -> tuple[int, int, bytes]:
        layout, bits = self._layout(self._parsed(state))
        return layout.length(bits), layout.fields, layout.params_bytes()

    def contribute(self, state: bytes) -> Contribution:
        parsed = self._parsed(state)
        layout, bits = self._layout(parsed)
        analysis = registry.current(self._spec, parsed)
        if analysis is None:
            raise Refused("study.over", "the study is finished")
        if self._spec.release.mode == "dp":
            statistic = self._noisy(analysis, layout, parsed)
        else:
            statistic = analysis.local(self._table(), parsed)
        return Contribution(layout.encode(statistic, bits), layout.fields)

    def _noisy(self, analysis: Analysis, layout: Layout, state: StudyState) -> Mapping[str, ArrayLike]:
        """The statistic with fresh noise on every integer, drawn while the hospital computes.

        The caller records it before anything of it leaves, and never asks twice for one release.
        """
        noise = noise_of(self._spec, analysis.name)
        with ThreadPoolExecutor(1) as pool:
            drawing = pool.submit(self._draw, noise.sigma, noise.dimension)
            exact = analysis.local(self._table(), state)
            drawn = drawing.result()
        out: dict[str, ArrayLike] = {}
        at = 0
        for block in layout.blocks:
            share = drawn[at : at + block.size].reshape(block.shape)
            at += block.size
            out[block.name] = np.asarray(exact[block.name]) + share
        if at != len(drawn):
            raise AssertionError("the noise has not the layout's length")
        return out

    def move(self, state: bytes, total: Fields, parties: int) -> Moved:
        parsed = self._parsed(state)
        layout, bits = self._layout(parsed)
        moved = registry.advance(self._spec, parsed, layout.decode(total, parties, bits), parties)
        after = moved.to_bytes()
        return Moved(after, self.current(after))

    def beyond(self, state: bytes, total: Fields, parties: int) -> tuple[tuple[int, ...], int] | None:
        layout, bits = self._layout(self._parsed(state))
        return layout.beyond(total, parties, bits)

    def shared(self, state: bytes) -> Shared:
        layout, bits = self._layout(self._parsed(state))
        rule = rule_of(self._spec, self.current(state))
        if rule.bound is None:
            return Shared(rule, np.zeros(layout.length(bits), np.uint64))
        if any(block.limbs(bits) != 1 for block in layout.blocks):
            raise AssertionError("an analysis with a bound of its own puts each value into one field")
        return Shared(rule, np.concatenate([np.full(b.size, b.offset, np.uint64) for b in layout.blocks]))

    def _parsed(self, state: bytes) -> StudyState:
        """The last one is kept: every look at a round asks for the same."""
        known = self._last
        if known is None or known[0] != state:
            known = self._last = (state, StudyState.from_bytes(state))
        return known[1]

    def _layout(self, state: StudyState) -> tuple[Layout, int]:
        analysis = registry.current(self._spec, state)
        if analysis is None:
            raise Refused("study.over", "the study is finished")
        layout = analysis.layout(self._spec, state)
        return layout, layouts.value_bits(layout.fields, len(self._spec.sites))
