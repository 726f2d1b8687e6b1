"""Valid messages of every kind, drawn from the schema and its table of lengths."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from protos import wire
from protos.consilium import v1


def _modules() -> list[ModuleType]:
    """Every schema whose messages `protos.wire` may know."""
    names = [m.name for m in pkgutil.iter_modules(v1.__path__) if m.name.endswith("_pb2")]
    return [importlib.import_module(f"{v1.__name__}.{name}") for name in names]


KINDS: dict[str, type[Message]] = {
    name: getattr(module, name) for module in _modules() for name in wire.LENGTHS if hasattr(module, name)
}
_SLACK = 40  # bytes above the least, where a field may vary
_MOST = {FieldDescriptor.TYPE_UINT32: 2**32 - 1, FieldDescriptor.TYPE_UINT64: 2**64 - 1}


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Valid messages of one kind."""
    fields = {f.name: _field(kind, f) for f in kind.DESCRIPTOR.fields}
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


def _field(kind: type[Message], field: FieldDescriptor) -> st.SearchStrategy[object]:
    one = _value(kind, field)
    most = min(3, wire.COUNTS.get((kind.DESCRIPTOR.name, field.name), wire.MAX_PARTIES))
    return st.lists(one, max_size=most) if field.is_repeated else one


def _value(kind: type[Message], field: FieldDescriptor) -> st.SearchStrategy[object]:
    name = kind.DESCRIPTOR.name
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return messages(KINDS[field.message_type.name])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type in _MOST:
        least, most = wire.RANGES.get((name, field.name), (0, _MOST[field.type]))
        return st.integers(least, most)
    least, most = wire.LENGTHS[name][field.name]
    upper = min(most, least + _SLACK)
    if field.type == FieldDescriptor.TYPE_STRING:
        letters = st.characters(codec="utf-8")
        return st.text(letters, min_size=least, max_size=upper)
    return st.binary(min_size=least, max_size=least).flatmap(
        lambda head: st.binary(max_size=upper - least).map(lambda tail: head + tail)
    )
