"""The compiled contracts and their ABI: encode calls, decode answers, events and custom errors.

Addresses are 20 bytes on our side, structs are dicts by field name, lists are tuples.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

from eth_abi.exceptions import DecodingError, EncodingError
from eth_hash.auto import keccak

from consilium_errors import Hostile, Misuse, Refused
from protos.evm_abi import decode, encode

Param = Mapping[str, Any]

REGISTRY, LEDGER = "ConsentRegistry", "AttestationLedger"
_ERROR_STRING, _PANIC = bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71")


def _type(param: Param) -> str:
    kind = str(param["type"])
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(_type(c) for c in param["components"]) + ")" + kind[len("tuple") :]


def _inward(param: Param, value: Any, kind: str | None = None) -> Any:
    """eth_abi's value → ours."""
    kind = kind or str(param["type"])
    if kind.endswith("]"):
        inner = kind[: kind.rindex("[")]
        return tuple(_inward(param, item, inner) for item in value)
    if kind == "tuple":
        return {c["name"]: _inward(c, v) for c, v in zip(param["components"], value, strict=True)}
    return value


def _outward(param: Param, value: Any, kind: str | None = None) -> Any:
    """Ours → eth_abi's; fixed bytes must have their full length, since eth_abi would pad them."""
    kind = kind or str(param["type"])
    if kind.endswith("]"):
        inner = kind[: kind.rindex("[")]
        return [_outward(param, item, inner) for item in value]
    if kind == "tuple":
        fields = value.values() if isinstance(value, Mapping) else value
        return tuple(_outward(c, v) for c, v in zip(param["components"], fields, strict=True))
    size = 20 if kind == "address" else int(kind[5:]) if re.fullmatch(r"bytes\d+", kind) else None
    if size is not None and (not isinstance(value, bytes) or len(value) != size):
        raise Misuse("abi.length", f"{param.get('name', kind)} must be {size} bytes")
    return value


@dataclass(frozen=True)
class Signature:
    """A function, event or error: its name, id and parameters."""

    name: str
    inputs: tuple[Param, ...]
    outputs: tuple[Param, ...]

    @property
    def text(self) -> str:
        return f"{self.name}({','.join(_type(p) for p in self.inputs)})"

    @cached_property
    def digest(self) -> bytes:
        return keccak(self.text.encode())

    @property
    def selector(self) -> bytes:
        return self.digest[:4]

    def call(self, args: Sequence[object]) -> bytes:
        return self.selector + pack(self.inputs, args)

    def named(self, calldata: bytes) -> dict[str, Any]:
        """The arguments in calldata, by name."""
        if calldata[:4] != self.selector:
            raise Hostile("abi.selector", f"not a call of {self.name}")
        return unpack(self.inputs, calldata[4:])


def pack(params: Sequence[Param], args: Sequence[object]) -> bytes:
    try:
        values = [_outward(p, a) for p, a in zip(params, args, strict=True)]
        return encode([_type(p) for p in params], values)
    except (EncodingError, ValueError, TypeError) as error:
        raise Misuse("abi.arguments", f"cannot encode: {error}") from error


def unpack(params: Sequence[Param], data: bytes) -> dict[str, Any]:
    """Raises Hostile ``abi.malformed``."""
    try:
        values = decode([_type(p) for p in params], data)
    except (DecodingError, OverflowError, UnicodeDecodeError) as error:
        raise Hostile("abi.malformed", f"cannot decode: {error}") from error
    return {p["name"] or str(i): _inward(p, v) for i, (p, v) in enumerate(zip(params, values, strict=True))}


def _signature(entry: Mapping[str, Any]) -> Signature:
    return Signature(entry["name"], tuple(entry.get("inputs", ())), tuple(entry.get("outputs", ())))


@dataclass(frozen=True)
class Contract:
    """One compiled contract. ``immutables`` are (start, length) spans of the deployed code."""

    name: str
    bytecode: bytes
    deployed: bytes
    immutables: tuple[tuple[int, int], ...]
    constructor: tuple[Param, ...]
    functions: Mapping[str, Signature]
    events: Mapping[bytes, Signature]
    errors: Mapping[bytes, Signature]

    def encode(self, function: str, *args: object) -> bytes:
        return self.functions[function].call(args)

    def decode(self, function: str, data: bytes) -> dict[str, Any]:
        return unpack(self.functions[function].outputs, data)

    def deployment(self, *args: object) -> bytes:
        return self.bytecode + pack(self.constructor, args)

    def immutable_words(self, code: bytes) -> set[bytes]:
        return {code[start : start + length] for start, length in self.immutables}

    def masked(self, code: bytes) -> bytes:
        """Deployed code with its immutables, which differ from chain to chain, zeroed."""
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return bytes(masked)


@lru_cache
def contract(name: str) -> Contract:
    """The checked-in artifact.

    Raises:
        Misuse: ``artifacts.missing``.
    """
    file = resources.files("consent_contracts") / "artifacts" / f"{name}.json"
    if not file.is_file():
        raise Misuse("artifacts.missing", f"no artifact of {name}", remedy="make contracts")
    raw = json.loads(file.read_text())
    entries = {kind: [_signature(e) for e in raw["abi"] if e["type"] == kind] for kind in _KINDS}
    constructor = next((e["inputs"] for e in raw["abi"] if e["type"] == "constructor"), ())
    return Contract(
        name=name,
        bytecode=_hex(raw["bytecode"]),
        deployed=_hex(raw["deployedBytecode"]),
        immutables=tuple((start, length) for start, length in raw["immutableReferences"]),
        constructor=tuple(constructor),
        functions=_by_name(entries["function"]),
        events={s.digest: s for s in entries["event"]},
        errors={s.selector: s for s in entries["error"]},
    )


def _by_name(signatures: Sequence[Signature]) -> dict[str, Signature]:
    """By full text, as ``head(bytes32)``, and by plain name where that names one function only."""
    names = Counter(s.name for s in signatures)
    plain = {s.name: s for s in signatures if names[s.name] == 1}
    return plain | {s.text: s for s in signatures}


_KINDS = ("function", "event", "error")


def _hex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


@lru_cache
def _errors() -> dict[bytes, Signature]:
    return {**contract(REGISTRY).errors, **contract(LEDGER).errors}


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def revert(data: bytes) -> Refused:
    """The contract's refusal as an error: ``chain.<custom_error>``, else ``chain.reverted``."""
    signature = _errors().get(data[:4])
    if signature is None:
        return Refused("chain.reverted", f"the contract reverted ({_plain(data)})")
    try:
        args = unpack(signature.inputs, data[4:])
    except Hostile:
        args = {}
    shown = ", ".join(f"{k}={'0x' + v.hex() if isinstance(v, bytes) else v}" for k, v in args.items())
    return Refused(f"chain.{snake(signature.name)}", f"the contract refused: {signature.name}({shown})")


def _plain(data: bytes) -> str:
    try:
        if data[:4] == _ERROR_STRING:
            return str(decode(["string"], data[4:])[0])
        if data[:4] == _PANIC:
            return f"panic {decode(['uint256'], data[4:])[0]:#x}"
    except (DecodingError, OverflowError, UnicodeDecodeError):
        pass
    return f"{len(data)} bytes of reason"
