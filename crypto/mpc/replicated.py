"""Products on additive shares of three parties, in place of CrypTen's own (its `replicated` leaks, its `beaver`
needs a dealer): replicated multiplication (Araki et al., CCS 2016), where every share that is sent is first
re-randomised by a fresh zero-share, and so is every result.

Shares are torch int64 tensors, which are integers modulo 2^64; XOR-shares are the same words under XOR.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crypto.mpc.links import Links
from crypto.mpc.prg import KEY_BYTES, Stream
from crypto.mpc.words import PARTIES


def to_tensor(words: Any) -> Tensor:
    """int64 view of a uint64 array, without a copy."""
    return torch.from_numpy(np.ascontiguousarray(words).view(np.int64))


def _raw(flat: Tensor) -> memoryview:
    return flat.numpy().data.cast("B")


class Pairwise:
    """Zero-shares from keys that each two neighbours share (PRZS); local when the keys are there."""

    def __init__(self, links: Links) -> None:
        self.following, self.preceding = (links.rank + 1) % PARTIES, (links.rank - 1) % PARTIES
        mine = secrets.token_bytes(KEY_BYTES)
        links.send(self.following, mine)
        self.next = Stream(mine)
        self.prev = Stream(bytes(links.receive(self.preceding, KEY_BYTES)))
        self.local = Stream(secrets.token_bytes(KEY_BYTES))

    def additive(self, size: Sequence[int]) -> Tensor:
        """This party's part of a sharing of zeros under +."""
        n = int(np.prod(size))
        return to_tensor(self.prev.words(n) - self.next.words(n)).reshape(tuple(size))

    def xor(self, size: Sequence[int]) -> Tensor:
        """This party's part of a sharing of zeros under XOR."""
        n = int(np.prod(size))
        return to_tensor(self.prev.words(n) ^ self.next.words(n)).reshape(tuple(size))

    def scalar(self, q: int) -> int:
        """This party's part of a sharing of zero modulo ``q``, below 2^384."""
        prev, following = (int.from_bytes(s.words(8).tobytes(), "little") for s in (self.prev, self.next))
        return (prev - following) % q


class Replicated:
    """Products over `Links`. A party holds (own, next party's) of re-randomised shares during a product."""

    def __init__(self, links: Links, zeros: Pairwise) -> None:
        self._links, self._zeros = links, zeros

    def _replicate(
        self, shares: Sequence[Tensor], add: Callable[[Tensor, Tensor], Tensor], zero: Callable[[Any], Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        fresh = [add(share, zero(share.shape)) for share in shares]
        flat = torch.cat([f.reshape(-1) for f in fresh])
        self._links.send(self._zeros.preceding, _raw(flat))
        raw = self._links.receive(self._zeros.following, 8 * flat.numel())
        others, pairs, at = torch.frombuffer(raw, dtype=torch.int64), [], 0
        for own in fresh:
            pairs.append((own, others[at : at + own.numel()].reshape(own.shape)))
            at += own.numel()
        return pairs

    def arithmetic(self, *shares: Tensor) -> list[tuple[Tensor, Tensor]]:
        return self._replicate(shares, torch.add, self._zeros.additive)

    def bilinear(self, op: Callable[..., Tensor], x: Tensor, y: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Additive share of op(x, y) for a bilinear ``op``."""
        (x0, x1), (y0, y1) = self.arithmetic(x, y)
        z = op(x0, y0 + y1, *args, **kwargs) + op(x1, y0, *args, **kwargs)
        return z + self._zeros.additive(z.shape)

    def square(self, x: Tensor) -> Tensor:
        ((x0, x1),) = self.arithmetic(x)
        z = x0 * x0 + 2 * x0 * x1
        return z + self._zeros.additive(z.shape)

    def both(self, x: Tensor, y: Tensor) -> Tensor:
        """XOR-share of x AND y, bit by bit."""
        (x0, x1), (y0, y1) = self._replicate([x, y], torch.bitwise_xor, self._zeros.xor)
        return (x0 & (y0 ^ y1)) ^ (x1 & y0) ^ self._zeros.xor(x0.shape)

    def from_bits(self, bits: Tensor) -> Tensor:
        """Additive share of the bit that the XOR-shares ``bits`` (0 or 1 each) hold."""
        zero = torch.zeros_like(bits)
        parts = [bits if rank == self._links.rank else zero for rank in range(PARTIES)]
        so_far = parts[0] + parts[1] - 2 * self.bilinear(torch.mul, parts[0], parts[1])
        return so_far + parts[2] - 2 * self.bilinear(torch.mul, so_far, parts[2])

    def open(self, share: Tensor) -> Tensor:
        """What additive shares hold; everybody learns it."""
        return self._open(share + self._zeros.additive(share.shape), torch.add)

    def open_xor(self, share: Tensor) -> Tensor:
        """What XOR-shares hold; everybody learns it."""
        return self._open(share ^ self._zeros.xor(share.shape), torch.bitwise_xor)

    def _open(self, fresh: Tensor, add: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        flat = fresh.reshape(-1)
        total = flat
        found = self._links.exchange(_raw(flat), 8 * flat.numel())
        for rank, raw in found.items():
            if rank != self._links.rank:
                total = add(total, torch.frombuffer(bytearray(raw), dtype=torch.int64))
        return total.reshape(fresh.shape)
