"""A small network by federated averaging (McMahan et al. 2017) with private, capped weights.

A hospital trains from the shared weights and sends w * update and w, where w = min(n, W)/W never leaves in
clear. The update is clipped in every coordinate to ``clip_each`` and in L2 to ``clip``, and cut towards zero
on the grid, so the joint vector (w * update, w * clip) has norm at most sqrt(2) * clip. The move divides the
two sums in integers and caps the step by the same two clips: a sum garbled by one hospital cannot throw the
weights far.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics import mlp
from analytics.design import Design, design, width
from analytics.layout import Block, Integers, Layout, value_bits
from analytics.state import StudyState
from analytics.study import StudySpec, tagged_sha256
from analytics.study_analyses import NetworkEntry
from analytics.table import Table
from consilium_errors import Misuse

FIELDS: Final = 2
WEIGHT_BITS = 24
"""Grid of the shared weights."""

_FLOOR_SHIFT = 6  # the summed hospital weights count as at least 1/64 of one full hospital


@dataclass(frozen=True)
class Network:
    """The analysis `network`."""

    spec: StudySpec
    entry: NetworkEntry

    @property
    def name(self) -> str:
        return self.entry.id

    @property
    def kind(self) -> str:
        return self.entry.kind

    @cached_property
    def shape(self) -> mlp.Shape:
        return mlp.Shape((width(self.spec, self.entry.terms), *self.entry.hidden, 1))

    @cached_property
    def unit_bits(self) -> int:
        """A hospital's integers stay within 2^unit_bits, so that every coordinate is one field."""
        return value_bits(FIELDS, len(self.spec.sites)) - 1

    @cached_property
    def update_bits(self) -> int:
        """Finest grid on which ``clip_each`` fits."""
        bits = 0
        while bits < WEIGHT_BITS and Fraction(self.entry.clip_each) * 2 ** (bits + 1) < 2**self.unit_bits:
            bits += 1
        return bits

    def begin(self, state: StudyState) -> StudyState:
        seed = tagged_sha256("network", self.spec.canonical(), self.name.encode())
        return state.with_(self._weights, mlp.first_weights(self.shape, seed, WEIGHT_BITS), WEIGHT_BITS)

    @property
    def _weights(self) -> str:
        return f"{self.name}.weights"

    def design(self, state: StudyState) -> Design:
        return design(self.spec, state, self.entry.terms, self.entry.standardise)

    def layout(self, spec: StudySpec, state: StudyState) -> Layout:
        one = 2**self.unit_bits - 1
        return Layout(
            (
                Block("update", (self.shape.d,), one, self.update_bits),
                Block("weight", (), one, self.unit_bits - 1, signed=False),
            ),
            fields=FIELDS,
        )

    def local(self, table: Table, state: StudyState) -> Mapping[str, ArrayLike]:
        start = self._floats(state)
        y = table.code(self.entry.outcome).astype(np.float64)
        seed = tagged_sha256(
            "network-round", self.spec.canonical(), self.name.encode(), _big(state.position.round)
        )
        trained = mlp.train(
            self.shape,
            self.schedule,
            start,
            self.design(state).matrix(table),
            y,
            int.from_bytes(seed[:7], "big"),
        )
        if not np.isfinite(trained).all():
            raise Misuse(
                "network.diverged", "local training left the finite numbers", "lower the study's rate"
            )
        weight = min(table.n, self.entry.weight_cap) / self.entry.weight_cap
        update = weight * clip(trained - start, float(self.entry.clip_each), float(self.entry.clip))
        return {"update": _towards_zero(update, self.update_bits), "weight": weight}

    @cached_property
    def schedule(self) -> mlp.Schedule:
        e = self.entry
        return mlp.Schedule(e.epochs, e.batch, float(e.rate), e.activation)

    def move(self, totals: Mapping[str, Integers], parties: int, state: StudyState) -> StudyState:
        unit = self.unit_bits - 1
        weight = max(int(totals["weight"]), 1 << (unit - _FLOOR_SHIFT))
        shifted = totals["update"].astype(np.int64) << np.int64(WEIGHT_BITS + unit - self.update_bits)
        step = self._capped((shifted + weight // 2) // weight)
        state = state.with_(self._weights, state[self._weights] + step, WEIGHT_BITS)
        return state.finish() if state.position.round + 1 >= self.entry.rounds else state.next_round()

    def _capped(self, step: NDArray[np.int64]) -> NDArray[np.int64]:
        """Integers only, so the order of the sum is of no consequence."""
        each = int(Fraction(self.entry.clip_each) * 2**WEIGHT_BITS)
        whole = int(Fraction(self.entry.clip) * 2**WEIGHT_BITS)
        step = np.clip(step, -each, each)
        norm = math.isqrt(_squares(step))
        if norm <= whole:
            return step
        return np.array([int(v) * whole // norm for v in step.tolist()], dtype=np.int64)

    def _floats(self, state: StudyState) -> NDArray[np.float64]:
        return np.ldexp(state[self._weights].astype(np.float64), -WEIGHT_BITS)

    def logits(self, table: Table, state: StudyState) -> NDArray[np.float64]:
        """float64[n] with the current weights; for use at home."""
        X = self.design(state).matrix(table)
        return mlp.logits(self.shape, self.entry.activation, self._floats(state), X)

    def model_bytes(self, state: StudyState) -> bytes:
        """The weights as float32 safetensors, ``layer<k>.weight`` (out, in) and ``layer<k>.bias`` (out)."""
        from safetensors.numpy import save

        flat = self._floats(state).astype(np.float32)
        tensors: dict[str, NDArray[Any]] = {}
        for index, (weight, bias) in enumerate(self.shape.split(flat)):
            tensors[f"layer{index}.weight"] = np.ascontiguousarray(weight)
            tensors[f"layer{index}.bias"] = np.ascontiguousarray(bias)
        return save(tensors)

    def result(self, state: StudyState) -> dict[str, Any]:
        model = self.model_bytes(state)
        return {
            "analysis": self.name,
            "kind": self.kind,
            "mode": "exact",
            "outcome": self.entry.outcome,
            "layers": list(self.shape.sizes),
            "activation": self.entry.activation,
            "parameters": self.shape.d,
            "rounds": self.entry.rounds,
            "inputs": [
                {"term": c.label, "centre": c.centre, "spread": c.spread} for c in self.design(state).columns
            ],
            "model_sha256": hashlib.sha256(model).hexdigest(),
            "model": base64.b64encode(model).decode(),
        }


def clip(update: NDArray[np.float64], each: float, whole: float) -> NDArray[np.float64]:
    """Every coordinate to +-``each``, then the L2 norm to ``whole``."""
    cut = np.clip(update, -each, each)
    norm = math.sqrt(math.fsum((cut * cut).tolist()))
    return cut if norm <= whole else cut * (whole / norm)


def _squares(step: NDArray[np.int64]) -> int:
    """Exact sum of squares for magnitudes up to 2^30 and fewer than 2^30 entries."""
    high, low = step >> 15, step & 0x7FFF
    parts = ((high * high).sum(), (high * low).sum(), (low * low).sum())
    squares, mixed, rest = (int(p) for p in parts)
    return (squares << 30) + (mixed << 16) + rest


def _towards_zero(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """On the grid already, so that rounding cannot lift the norm above its clip."""
    return np.ldexp(np.trunc(np.ldexp(values, bits)), -bits)


def _big(number: int) -> bytes:
    return number.to_bytes(8, "big")
