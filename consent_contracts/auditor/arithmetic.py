"""The real analytics and commitments behind `openings.Arithmetic`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analytics import layout as layouts
from analytics import registry, study_committee
from analytics.analysis import Analysis
from analytics.layout import Layout
from analytics.privacy import Plan, plan_of, terms_of
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.study_committee import Robust
from consilium_errors import Hostile
from crypto.commitments import Generators, Pedersen, generators_needed
from crypto.mpc.words import method_id


class SpecArithmetic:
    """Args: ``spec``: canonical bytes. ``cache``: folder of the generators.

    Raises:
        Hostile: the spec is malformed.
    """

    def __init__(self, spec: bytes, cache: Path | None = None) -> None:
        from crypto.secure_sum import schemes

        self._spec = StudySpec.from_canonical(spec)
        self._scheme = schemes.by_name(self._spec.sum)
        self._cache = cache

    def method(self, state: bytes) -> bytes:
        rule = self._rule(state)
        if not self.shared:
            return self._scheme.method_id
        if rule is None:
            return method_id("sum", 0, None, False)
        bound = study_committee.norm_bound(self._spec, self.current(state))
        return method_id(rule.combine, rule.cut, bound, rule.outside == "refuse")

    def proven(self, state: bytes) -> bool:
        rule = self._rule(state)
        return rule is None or rule.combine == "sum"

    @property
    def shared(self) -> bool:
        return bool(self._spec.committee)

    def _rule(self, state: bytes) -> Robust | None:
        return study_committee.rule(self._spec, self.current(state))

    @property
    def promise(self) -> Plan | None:
        return plan_of(self._spec)

    def prices(self) -> Mapping[str, tuple[int, int, bytes]]:
        return {entry.id: terms_of(self._spec, entry.id) for entry in self._spec.analysis}

    def genesis(self) -> bytes:
        return registry.genesis(self._spec).to_bytes()

    def current(self, state: bytes) -> str:
        analysis = registry.current(self._spec, StudyState.from_bytes(state))
        return "" if analysis is None else analysis.name

    def layout(self, state: bytes) -> tuple[int, int, bytes]:
        layout, bits = self._layout(StudyState.from_bytes(state))
        return layout.length(bits), layout.fields, layout.params_bytes()

    def move(self, state: bytes, total: NDArray[np.uint64], parties: int) -> bytes:
        parsed = StudyState.from_bytes(state)
        layout, bits = self._layout(parsed)
        totals = layout.decode(total, parties, bits)
        return registry.advance(self._spec, parsed, totals, parties).to_bytes()

    def verify_sum(
        self, total: NDArray[np.uint64], fields: int, randomness: int, commitments: Sequence[bytes]
    ) -> None:
        if not self._scheme.masked:  # a clear sum hides nothing and commits to nothing
            return
        bits: Literal[22, 44] = 22 if fields == 2 else 44
        generators = Generators.load(generators_needed(len(total), bits), self._cache)
        Pedersen(len(total), bits, generators).verify_sum(total, randomness, commitments)

    def _layout(self, state: StudyState) -> tuple[Layout, int]:
        layout = self._current(state).layout(self._spec, state)
        return layout, layouts.value_bits(layout.fields, len(self._spec.sites))

    def _current(self, state: StudyState) -> Analysis:
        analysis = registry.current(self._spec, state)
        if analysis is None:
            raise Hostile("audit.over", "a round after the study's last")
        return analysis
