"""The one file that knows CrypTen 0.4.1: what of it is used, what is replaced, and the proof that it was.

Used: its binary circuits (`_A2B`, the carry tree), which turn additive into XOR-shares to find a sign.
Replaced, in every ``crypten*`` module by identity: the generator (Mersenne Twister, seeds of 32 effective
bits), the tuple providers (the first party, or a dealer, sees all), the product protocols (`replicated` leaks an
input in one square), the communicator (plain text), and everything that reads a pickle.

`start` refuses (Refused ``mpc.stock_part``) where one stock part is still reachable by name. CrypTen's state is
global: one engine in a process at a time, one job in a process.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from consilium_errors import Misuse, Refused
from crypto.mpc.communicator import MeshCommunicator
from crypto.mpc.links import Links
from crypto.mpc.prg import U64, Stream
from crypto.mpc.replicated import Pairwise, Replicated, to_tensor

VERSION: Final = "0.4.1"
_BILINEAR: Final = ("mul", "matmul", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d")
_CPU: Final = torch.device("cpu")


class Engine:
    """Arithmetic on shares; arrays are uint64, additive modulo 2^64 or, where it says bits, under XOR."""

    def __init__(self, links: Links, zeros: Pairwise, products: Replicated, parts: Parts) -> None:
        self.rank, self.links = links.rank, links
        self._zeros, self._products, self._parts = zeros, products, parts

    def public(self, value: int) -> np.uint64:
        """The share of a number that everybody knows."""
        return np.uint64(value % (1 << 64) if self.rank == 0 else 0)

    def zero(self, n: int) -> U64:
        return _words(self._zeros.additive([n]))

    def zero_scalar(self, q: int) -> int:
        return self._zeros.scalar(q)

    def multiply(self, x: U64, y: U64) -> U64:
        return _words(self._products.bilinear(torch.mul, to_tensor(x), to_tensor(y)))

    def replicate(self, x: U64) -> tuple[U64, U64]:
        """Fresh shares of ``x``: the own and the following one, as `crypto.mpc.sharing` holds vectors."""
        ((own, following),) = self._products.arithmetic(to_tensor(x))
        return _words(own), _words(following)

    def negative(self, x: U64) -> U64:
        """Shared bits (0 or 1 a word): whether each value, centred, is below zero."""
        primitives = self._parts.crypten.mpc.primitives
        shared = primitives.ArithmeticSharedTensor.from_shares(to_tensor(x), precision=0)
        binary = primitives.converters._A2B(shared)
        return _words(binary.share) >> np.uint64(63)

    def either(self, bits: U64) -> U64:
        """Shared bits of shape (...,): whether any bit along the last axis of ``bits`` (..., m) is set."""
        words = to_tensor(bits)
        while words.shape[-1] > 1:
            half = words.shape[-1] // 2
            left, right, rest = words[..., :half], words[..., half : 2 * half], words[..., 2 * half :]
            joined = left ^ right ^ self._products.both(left, right)
            words = torch.cat([joined, rest], dim=-1)
        return _words(words[..., 0])

    def to_arithmetic(self, bits: U64) -> U64:
        """Additive shares of 0 or 1 from shared bits."""
        return _words(self._products.from_bits(to_tensor(bits & np.uint64(1))))

    def open(self, x: U64) -> U64:
        return _words(self._products.open(to_tensor(x)))

    def open_bits(self, bits: U64) -> list[bool]:
        """What shared bits (n,) hold; nothing but the lowest bit of a word leaves this party."""
        return [bool(b) for b in self._products.open_xor(to_tensor(bits & np.uint64(1)))]

    def close(self) -> None:
        """Free the process for another engine; the links stay as they are."""
        self._parts.products = None
        MeshCommunicator.shutdown()


def start(links: Links) -> Engine:
    """The engine over ``links``; all three members start at the same step.

    Raises:
        Refused: ``mpc.stock_part`` unless every replaced part is in place, ``mpc.plaintext_link``.
        Misuse: ``mpc.version`` for another CrypTen, ``mpc.started`` if an engine runs in this process.
        Unavailable: ``mpc.silent_peer``, ``mpc.peer_lost``.
    """
    if not isinstance(links, Links):
        raise Refused("mpc.plaintext_link", "members talk over mutual TLS and nothing else")
    parts = load()
    if MeshCommunicator.is_initialized():
        raise Misuse("mpc.started", "one engine in a process")
    parts.check()
    zeros = Pairwise(links)
    products = Replicated(links, zeros)
    MeshCommunicator.instance = MeshCommunicator(links.rank, products)
    streams = {"prev": zeros.prev, "next": zeros.next, "local": zeros.local}
    generators = parts.crypten.generators
    for name in list(generators):
        generators[name] = {_CPU: streams[name]} if name in streams else {}
    parts.products = products
    parts.check_generators()
    return Engine(links, zeros, products, parts)


@dataclass
class Parts:
    """The loaded library, what it came with, and what stands in its place."""

    crypten: ModuleType
    stock: dict[int, Any]
    placed: dict[tuple[str, str], Any]
    products: Replicated | None = None

    def check(self) -> None:
        """Raises Refused ``mpc.stock_part`` where a stock part is reachable, or ours is no longer in place."""
        for module, name, value in _attributes():
            if id(value) in self.stock:
                raise _stock(f"{module}.{name} is CrypTen's own")
        for (module, name), ours in self.placed.items():
            if getattr(sys.modules[module], name) is not ours:
                raise _stock(f"{module}.{name} was replaced again")

    def check_generators(self) -> None:
        """Raises Refused ``mpc.stock_part`` unless every generator is a `Stream`."""
        for name, devices in self.crypten.generators.items():
            if any(type(generator) is not Stream for generator in devices.values()):
                raise _stock(f"the generator {name} is not ours")


@functools.cache
def load() -> Parts:
    """Import CrypTen and replace its parts, once in a process.

    Raises:
        Misuse: ``mpc.version``.
    """
    found = importlib.metadata.version("crypten")
    if found != VERSION:
        raise Misuse(
            "mpc.version", f"CrypTen {found} is installed, {VERSION} was reviewed", f"install {VERSION}"
        )
    # CrypTen imports a name that torch has moved.
    moved = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
    sys.modules.setdefault("torch.onnx._internal.registration", moved)
    parts = Parts(importlib.import_module("crypten"), {}, {})
    ours = {id(stock): (stock, put) for stock, put in _replacements(parts)}
    for module, name, value in list(_attributes()):
        if id(value) in ours:
            stock, put = ours[id(value)]
            setattr(sys.modules[module], name, put)
            parts.stock[id(stock)] = stock  # held, so that no other object takes its id
            parts.placed[module, name] = put
    supported = vars(parts.crypten.mpc)["__SUPPORTED_PROVIDERS"]
    parts.stock.update({id(provider): provider for provider in supported.values()})
    supported.clear()
    return parts


def _replacements(parts: Parts) -> Iterator[tuple[Any, Any]]:
    """Each stock part with what takes its place."""
    crypten = parts.crypten
    module = {
        name.removeprefix("crypten."): m for name, m in sys.modules.items() if name.startswith("crypten.")
    }
    rng, serial = module["common.rng"], module["common.serial"]
    beaver, replicated = module["mpc.primitives.beaver"], module["mpc.primitives.replicated"]
    provider = module["mpc.provider"]
    yield rng.generate_random_ring_element, ring_element
    yield rng.generate_kbit_random_tensor, kbit
    yield module["communicator.distributed_communicator"].DistributedCommunicator, MeshCommunicator
    yield module["communicator.in_process_communicator"].InProcessCommunicator, MeshCommunicator
    for protocol in (beaver, replicated):
        for name in _BILINEAR:
            yield getattr(protocol, name), _bilinear(parts, getattr(torch, name))
        yield protocol.square, functools.partial(_square, parts)
        yield protocol.AND, functools.partial(_both, parts)
        yield protocol.truncate, _truncate
    yield beaver.B2A_single_bit, functools.partial(_from_bit, parts)
    yield beaver.wraps, _refusal("wraps")
    yield replicated.replicate_shares, _refusal("shares sent as they are")
    yield crypten.mpc.get_default_provider, _refusal("a tuple provider")
    yield crypten.mpc.ttp_required, _never
    for name in ("TrustedFirstParty", "TrustedThirdParty", "TTPServer", "HomomorphicProvider"):
        yield getattr(provider, name), _refusal(name)
    yield module["mpc.provider.ttp_provider"].TTPClient, _refusal("TTPClient")
    yield crypten.mpc.run_multiprocess, _refusal("run_multiprocess")
    for name in ("init", "init_thread", "manual_seed", "_setup_prng", "_sync_seeds"):
        yield getattr(crypten, name), _refusal(name)
    for name in ("load", "load_from_party", "save", "save_from_party"):
        yield getattr(crypten, name), _refusal(name)
    for name in ("restricted_loads", "RestrictedUnpickler", "safe_pickle", "register_safe_class"):
        yield getattr(serial, name), _refusal(name)
    yield pickle, _refusal("pickle")


def ring_element(size: Any, ring_size: int = 1 << 64, generator: Any = None, **_: object) -> Tensor:
    """In place of CrypTen's: uniform modulo 2^64, from a `Stream`."""
    if ring_size != 1 << 64:
        raise Refused("mpc.stock_part", "one ring only, modulo 2^64")
    return to_tensor(_stream(generator).words(int(np.prod(size)))).reshape(tuple(size))


def kbit(size: Any, bitlength: int | None = None, generator: Any = None, **_: object) -> Tensor:
    """In place of CrypTen's: uniform below 2^bitlength, from a `Stream`."""
    words = ring_element(size, generator=generator)
    return words if bitlength is None or bitlength == 64 else words & ((1 << bitlength) - 1)


def _stream(generator: Any) -> Stream:
    chosen = load().crypten.generators["local"].get(_CPU) if generator is None else generator
    if type(chosen) is not Stream:
        raise _stock("a generator that is not ours")
    return chosen


def _products(parts: Parts) -> Replicated:
    if parts.products is None:
        raise Misuse("mpc.not_started", "the committee's engine has not been started")
    return parts.products


def _bilinear(parts: Parts, op: Callable[..., Tensor]) -> Callable[..., Any]:
    def product(x: Any, y: Any, *args: Any, **kwargs: Any) -> Any:
        z = x.shallow_copy()
        z.share = _products(parts).bilinear(op, x.share, y.share, *args, **kwargs)
        return z

    return product


def _square(parts: Parts, x: Any) -> Any:
    z = x.shallow_copy()
    z.share = _products(parts).square(x.share)
    return z


def _both(parts: Parts, x: Any, y: Any) -> Any:
    z = x.shallow_copy()
    z.share = _products(parts).both(x.share, y.share)
    return z


def _from_bit(parts: Parts, bit: Any) -> Any:
    shared = parts.crypten.mpc.primitives.ArithmeticSharedTensor
    return shared.from_shares(_products(parts).from_bits(bit.share & 1), precision=0)


def _truncate(x: Any, divisor: Any) -> Any:
    """CrypTen divides by the grid after each product, also where it is 1; any other division may be wrong by far."""
    if not isinstance(divisor, int) or divisor != 1:
        raise _stock("truncation")
    return x


def _never() -> bool:
    return False


def _refusal(what: str) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> Any:
        raise _stock(what)

    return refuse


def _stock(what: str) -> Refused:
    return Refused("mpc.stock_part", f"not part of the committee: {what}")


def _attributes() -> Iterator[tuple[str, str, Any]]:
    """Every name in every module of CrypTen that is loaded."""
    for module in [m for m in sys.modules if m.partition(".")[0] == "crypten"]:
        for name, value in list(vars(sys.modules[module]).items()):
            yield module, name, value


def _words(tensor: Tensor) -> U64:
    return tensor.contiguous().numpy().view(np.uint64)
