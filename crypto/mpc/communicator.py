"""What CrypTen calls a communicator, over `Links`: sums and barriers of int64 tensors. No objects, so no pickle."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributed import ReduceOp

from consilium_errors import Misuse, Refused
from crypto.mpc.replicated import Replicated
from crypto.mpc.words import PARTIES


class MeshCommunicator:
    """Stands where CrypTen looks for its ``DistributedCommunicator``; one instance in a process."""

    BYTES_PER_ELEMENT: ClassVar[int] = 8
    instance: ClassVar[MeshCommunicator | None] = None

    def __init__(self, rank: int, products: Replicated) -> None:
        self._rank, self._products = rank, products

    @classmethod
    def is_initialized(cls) -> bool:
        return cls.instance is not None

    @classmethod
    def get(cls) -> MeshCommunicator:
        if cls.instance is None:
            raise Misuse("mpc.not_started", "the committee's engine has not been started")
        return cls.instance

    @classmethod
    def initialize(cls, *_: object, **__: object) -> None:
        raise Refused("mpc.stock_part", "the engine is started by the seam only")

    @classmethod
    def shutdown(cls) -> None:
        cls.instance = None

    def get_world_size(self) -> int:
        return PARTIES

    def get_rank(self) -> int:
        return self._rank

    def all_reduce(self, value: Any, op: Any = ReduceOp.SUM, batched: bool = False) -> Any:
        """The sum or XOR of everybody's ``value``, freshly re-randomised before it leaves."""
        if batched:
            return [self.all_reduce(t, op) for t in value]
        if not isinstance(value, Tensor) or value.dtype != torch.int64:
            raise Misuse("mpc.shape", "only tensors of int64 are opened")
        if op == ReduceOp.SUM:
            return self._products.open(value)
        if op == ReduceOp.BXOR:
            return self._products.open_xor(value)
        raise Misuse("mpc.shape", "shares are opened by sum or XOR")

    def __getattr__(self, name: str) -> Any:
        raise Refused("mpc.stock_part", f"the committee's communicator has no {name}")
