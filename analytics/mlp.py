"""A small multilayer perceptron: its shapes, its public first weights, training at home, and its logits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["relu", "tanh"]


@dataclass(frozen=True)
class Shape:
    """Layer sizes from input to the single logit.

    Weights are flat: each layer's (out, in) matrix, then its bias.
    """

    sizes: tuple[int, ...]

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of every layer."""
        return tuple(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def d(self) -> int:
        """Number of weights."""
        return sum((inputs + 1) * outputs for inputs, outputs in self.layers)

    def split(self, flat: NDArray[np.generic]) -> list[tuple[NDArray[np.generic], NDArray[np.generic]]]:
        """(weight[out, in], bias[out]) of every layer, as views."""
        parts, at = [], 0
        for inputs, outputs in self.layers:
            middle = at + inputs * outputs
            end = middle + outputs
            parts.append((flat[at:middle].reshape(outputs, inputs), flat[middle:end]))
            at = end
        return parts


def first_weights(shape: Shape, seed: bytes, bits: int) -> NDArray[np.int64]:
    """int64[d] on the grid 2^-bits: uniform in +-1/sqrt(inputs), biases 0, from SHAKE-256 of ``seed``.

    Integer arithmetic on a hash's output, so that the genesis state needs no generator of a library.
    """
    raw = np.frombuffer(hashlib.shake_256(seed).digest(4 * shape.d), dtype="<u4").astype(np.int64) - 2**31
    out = np.zeros(shape.d, dtype=np.int64)
    at = 0
    for inputs, outputs in shape.layers:
        reach = math.isqrt((1 << (2 * bits)) // inputs)
        end = at + inputs * outputs
        out[at:end] = (raw[at:end] * reach) >> 31
        at = end + outputs
    return out


def logits(
    shape: Shape, activation: Activation, flat: NDArray[np.float64], X: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64[n] for float64[n, p], in numpy."""
    h: NDArray[np.float64] = X
    parts = shape.split(flat)
    for index, (weight, bias) in enumerate(parts):
        h = h @ weight.T.astype(np.float64) + bias.astype(np.float64)
        if index < len(parts) - 1:
            h = np.maximum(h, 0.0) if activation == "relu" else np.tanh(h)
    return h[:, 0]


@dataclass(frozen=True)
class Schedule:
    """Local training: plain mini-batch gradient descent on the logistic loss, float32."""

    epochs: int
    batch: int
    rate: float
    activation: Activation


def train(
    shape: Shape,
    schedule: Schedule,
    start: NDArray[np.float64],
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    seed: int,
) -> NDArray[np.float64]:
    """float64[d]: the weights after local training from ``start`` on this hospital's rows; one thread."""
    import torch

    with _one_thread():
        generator = torch.Generator().manual_seed(seed)
        rows, truth = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
        weights = [torch.tensor(a, dtype=torch.float32) for pair in shape.split(start) for a in pair]
        for weight in weights:
            weight.requires_grad_(True)
        for _ in range(schedule.epochs):
            for picked in torch.split(torch.randperm(len(truth), generator=generator), schedule.batch):
                _step(weights, rows[picked], truth[picked], schedule)
        return np.concatenate([w.detach().numpy().astype(np.float64).ravel() for w in weights])


def _step(weights: Sequence[Tensor], rows: Tensor, truth: Tensor, schedule: Schedule) -> None:
    import torch

    h = rows
    for index in range(0, len(weights), 2):
        h = torch.nn.functional.linear(h, weights[index], weights[index + 1])
        if index < len(weights) - 2:
            h = torch.relu(h) if schedule.activation == "relu" else torch.tanh(h)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(h[:, 0], truth)
    gradients = torch.autograd.grad(loss, list(weights))
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.add_(gradient, alpha=-schedule.rate)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The order of torch's sums depends on its threads; restored afterwards for whoever else uses torch."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
