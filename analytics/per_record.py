"""The gradient of the logistic loss of a small network, row by row: what DP-SGD clips (Abadi et al. 2016)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.mlp import Activation, Shape

_CHUNK: Final = 1 << 22
"""Numbers held at once."""


def gradients(
    shape: Shape,
    activation: Activation,
    flat: NDArray[np.float64],
    X: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.float64]:
    """float64[n, d], in the order of `Shape`, for rows float64[n, p] and outcomes 0 or 1."""
    parts = [(w.astype(np.float64), b.astype(np.float64)) for w, b in shape.split(flat)]
    inputs, h = [], X
    for index, (weight, bias) in enumerate(parts):
        inputs.append(h)
        h = h @ weight.T + bias
        if index < len(parts) - 1:
            h = np.maximum(h, 0.0) if activation == "relu" else np.tanh(h)
    with np.errstate(over="ignore"):
        error = 1.0 / (1.0 + np.exp(-h)) - y[:, None]
    out: list[NDArray[np.float64]] = []
    for index in range(len(parts) - 1, -1, -1):
        before = inputs[index]
        outer = error[:, :, None] * before[:, None, :]
        out[:0] = [outer.reshape(len(X), -1), error]
        if index:
            slope = (before > 0).astype(np.float64) if activation == "relu" else 1.0 - before * before
            error = (error @ parts[index][0]) * slope
    return np.concatenate(out, axis=1)


def clipped_sum(
    shape: Shape,
    activation: Activation,
    flat: NDArray[np.float64],
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    clip: float,
    grid: int,
) -> NDArray[np.int64]:
    """int64[d]: the sum over rows of each row's gradient, clipped to L2 norm ``clip`` = ``grid`` and cut towards zero.

    Every row's integers have a norm of at most ``grid``, exactly: this is checked, not hoped for.
    """
    total = np.zeros(shape.d, dtype=np.int64)
    rows = max(1, _CHUNK // shape.d)
    for start in range(0, len(X), rows):
        part = gradients(shape, activation, flat, X[start : start + rows], y[start : start + rows])
        norms = np.sqrt(np.einsum("nd,nd->n", part, part))
        # A hair below the clip, so that the norm's own rounding cannot lift a row above it.
        scale = (grid / clip) * np.minimum(1.0, clip / np.maximum(norms, clip)) * (1.0 - 2.0**-40)
        cut = np.trunc(part * scale[:, None]).astype(np.int64)
        if (np.einsum("nd,nd->n", cut, cut) > grid * grid).any() or not np.isfinite(part).all():
            raise AssertionError("a row exceeds its clip")
        total += cut.sum(axis=0)
    return total
