"""One release as hospitals and members know it: inputs, commitments, noise, result."""

from __future__ import annotations

import numpy as np

from crypto.commitments import Generators, Pedersen, generators_needed
from crypto.mpc import opening
from crypto.mpc.words import Output
from tests.crypto.mpc.stand import Round

D, OFFSET, NOISE_OFFSET, BOUND = 33, 1 << 14, 1 << 12, 1 << 12


def vectors(n: int = 4, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(-200, 200, (n, D), dtype=np.int64))


def pedersen() -> Pedersen:
    return Pedersen(D, 22, Generators.load(generators_needed(D, 22)))


def commitments(round_: Round) -> dict[bytes, bytes]:
    using = pedersen()
    return {
        org: using.commit((u + OFFSET).astype(np.uint64), round_.randomness[org])
        for org, u in round_.vectors.items()
    }


def read(round_: Round, outputs: list[Output], reader: int = 0) -> opening.Opened:
    org, secret = list(round_.readers.items())[reader]
    return opening.open_outputs(round_.terms, outputs, org, secret)


def check(round_: Round, opened: opening.Opened, posted: dict[bytes, bytes] | None = None) -> None:
    opening.check_sum(
        round_.terms,
        opened,
        posted or commitments(round_),
        pedersen().verify_sum,
        offset=OFFSET,
        noise_offset=NOISE_OFFSET,
    )


def total(round_: Round, orgs: tuple[bytes, ...]) -> np.ndarray:
    return np.sum([round_.vectors[org] for org in orgs], axis=0)


class Fixed:
    """A source of noise that can be foretold, for a known answer."""

    def __init__(self, rank: int) -> None:
        self.rank, self.offset = rank, NOISE_OFFSET

    def draw(self, n: int) -> np.ndarray:
        return np.random.default_rng(100 + self.rank).integers(-50, 50, n, dtype=np.int64)

    def commit(self, shifted: np.ndarray, r: int) -> bytes:
        return pedersen().commit(shifted, r)


class Fresh(Fixed):
    def draw(self, n: int) -> np.ndarray:
        return np.random.default_rng().integers(-50, 50, n, dtype=np.int64)
