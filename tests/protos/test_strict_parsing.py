"""Every message has one encoding; all else is refused with a stable code, and nothing crashes."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consilium_errors import Hostile
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb
from tests.protos.wire_strategies import KINDS, messages

CODES = {
    "wire.size",
    "wire.malformed",
    "wire.not_canonical",
    "wire.length",
    "wire.range",
    "wire.count",
    "wire.missing",
}
quick = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
every_kind = pytest.mark.parametrize("name", sorted(KINDS))


def refused(kind: type[Message], data: bytes) -> str:
    """The code, or nothing if the bytes are the one encoding of another valid message."""
    try:
        found = wire.parse(kind, data)
    except Hostile as error:
        code = error.code
    else:
        assert wire.encode(found) == data
        return ""
    assert code in CODES
    return code


def test_every_message_of_the_schema_has_rules() -> None:
    assert set(wire.LENGTHS) == set(KINDS) >= set(pb.DESCRIPTOR.message_types_by_name)
    for name, kind in KINDS.items():
        sized = {FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING}
        assert set(wire.LENGTHS[name]) == {f.name for f in kind.DESCRIPTOR.fields if f.type in sized}


@every_kind
@quick
@given(data=st.data())
def test_round_trip(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(KINDS[name]))
    assert wire.parse(KINDS[name], wire.encode(message)) == message


@every_kind
@quick
@given(data=st.data())
def test_truncation(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(KINDS[name]))
    body = wire.encode(message)
    cut = data.draw(st.integers(0, max(len(body) - 1, 0)))
    refused(KINDS[name], body[:cut])


@every_kind
@quick
@given(data=st.data())
def test_flipped_bits(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(KINDS[name]))
    body = bytearray(wire.encode(message))
    if not body:
        return
    for at in data.draw(st.lists(st.integers(0, 8 * len(body) - 1), min_size=1, max_size=4, unique=True)):
        body[at // 8] ^= 1 << at % 8
    if not refused(KINDS[name], bytes(body)):
        assert wire.parse(KINDS[name], bytes(body)) != message


@every_kind
@quick
@given(data=st.data())
def test_unknown_fields(name: str, data: st.DataObject) -> None:
    body = wire.encode(data.draw(messages(KINDS[name])))
    number = data.draw(st.integers(50, 5000))
    stranger = pb_varint(number << 3) + pb_varint(data.draw(st.integers(0, 2**64 - 1)))
    assert refused(KINDS[name], body + stranger) == "wire.not_canonical"
    assert refused(KINDS[name], stranger + body) == "wire.not_canonical"


@every_kind
@quick
@given(data=st.data())
def test_repeated_or_reordered_fields(name: str, data: st.DataObject) -> None:
    body = wire.encode(data.draw(messages(KINDS[name])))
    parts = fields(body)
    distinct = list(dict.fromkeys(number for number, _ in parts))
    if len(distinct) > 1:
        turned = sorted(parts, key=lambda part: distinct.index(part[0]), reverse=True)
        assert refused(KINDS[name], b"".join(p for _, p in turned)) == "wire.not_canonical"
    for number, part in parts:
        field = KINDS[name].DESCRIPTOR.fields_by_number[number]
        if not field.is_repeated and field.type != field.TYPE_MESSAGE:
            assert refused(KINDS[name], body + part) == "wire.not_canonical"
            break


@every_kind
@quick
@given(data=st.data())
def test_long_varints(name: str, data: st.DataObject) -> None:
    """A tag may be written in more bytes than it needs; not here."""
    body = wire.encode(data.draw(messages(KINDS[name])))
    if body and body[0] < 128:
        assert refused(KINDS[name], bytes([body[0] | 128, 0]) + body[1:]) in (
            "wire.not_canonical",
            "wire.malformed",
        )


LENGTHS = [(name, field, *bounds) for name, rules in wire.LENGTHS.items() for field, bounds in rules.items()]


@pytest.mark.parametrize(("name", "field", "least", "most"), LENGTHS)
def test_each_length_is_enforced(name: str, field: str, least: int, most: int) -> None:
    kind = KINDS[name]
    text = kind.DESCRIPTOR.fields_by_name[field].type == FieldDescriptor.TYPE_STRING
    sizes = {least - 1: least > 0, most + 1: most < 1 << 21, least: False}
    for size, bad in sizes.items():
        if size < 0 or (not bad and size != least):
            continue
        message = example(kind)
        value: object = "x" * size if text else bytes(size)
        if kind.DESCRIPTOR.fields_by_name[field].is_repeated:
            getattr(message, field).append(value)
        else:
            setattr(message, field, value)
        code = refused(kind, wire.encode(message))
        assert code == ("wire.length" if bad else "")


@pytest.mark.parametrize(("name", "field"), sorted(wire.RANGES))
def test_each_range_is_enforced(name: str, field: str) -> None:
    least, most = wire.RANGES[name, field]
    for value in (least - 1, most + 1, 2**32 - 1):
        message = example(KINDS[name])
        setattr(message, field, value)
        assert refused(KINDS[name], wire.encode(message)) == "wire.range"


@pytest.mark.parametrize("name", sorted(wire.REQUIRED))
def test_required_parts(name: str) -> None:
    for field in wire.REQUIRED[name]:
        message = example(KINDS[name])
        message.ClearField(field)
        assert refused(KINDS[name], wire.encode(message)) == "wire.missing"


@pytest.mark.parametrize(
    ("name", "field"),
    [(n, f.name) for n, k in KINDS.items() for f in k.DESCRIPTOR.fields if f.is_repeated],
)
def test_lists_are_bounded(name: str, field: str) -> None:
    kind = KINDS[name]
    repeated = kind.DESCRIPTOR.fields_by_name[field]
    most = wire.COUNTS.get((name, field), wire.MAX_PARTIES)
    item: object = 1
    if repeated.type == FieldDescriptor.TYPE_BYTES:
        item = bytes(wire.LENGTHS[name][field][0])
    if repeated.message_type:
        item = example(KINDS[repeated.message_type.name])
    message = example(kind)
    getattr(message, field).extend([item] * most)
    assert refused(kind, wire.encode(message)) == ""
    getattr(message, field).append(item)
    assert refused(kind, wire.encode(message)) == "wire.count"


def test_the_size_is_checked_before_anything_is_parsed() -> None:
    assert refused_with_cap(bytes(65), 64) == "wire.size"


def refused_with_cap(data: bytes, most: int) -> str:
    with pytest.raises(Hostile) as caught:
        wire.parse(pb.Signed, data, most=most)
    return caught.value.code


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=300))
def test_any_bytes(name: str, body: bytes) -> None:
    refused(KINDS[name], body)


@settings(max_examples=50, deadline=None)
@given(messages(pb.Ctx))
def test_whatever_parses_can_be_hashed_and_written_back(message: pb.Ctx) -> None:
    """The contract's types hold all that the parser lets through."""
    ctx = wire.ctx_from(wire.parse(pb.Ctx, wire.encode(message)))
    assert len(ctx.digest()) == 32
    assert wire.ctx_to(ctx) == message


@settings(max_examples=50, deadline=None)
@given(messages(pb.Seal))
def test_seals_too(message: pb.Seal) -> None:
    seal = wire.seal_from(message)
    assert len(seal.digest(bytes(32))) == 32
    assert wire.seal_to(seal) == message


@settings(max_examples=50, deadline=None)
@given(st.lists(messages(pb.Use), max_size=4))
def test_uses_ascend(uses: list[pb.Use]) -> None:
    names = [u.dataset for u in uses]
    if all(a < b for a, b in pairwise(names)):
        found = wire.uses_from(uses)
        assert [wire.use_to(u) for u in found] == uses
        assert len(digests.uses_hash(found)) == 32
        return
    with pytest.raises(Hostile) as caught:
        wire.uses_from(uses)
    assert caught.value.code == "wire.order"


def test_codes_are_stable_names_and_errors_do_not_echo_data() -> None:
    secret = "S3CRET" * 5
    for kind, body in (
        (pb.Refusal, wire.encode(pb.Refusal(study=bytes(32), org=bytes(20), code=secret * 9))),
        (pb.Signed, secret.encode()),
    ):
        with pytest.raises(Hostile) as caught:
            wire.parse(kind, body)
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", caught.value.code)
        assert "S3CRET" not in str(caught.value)
        assert caught.value.__cause__ is None


# helpers ----------------------------------------------------------------------------------------------------


def example(kind: type[Message]) -> Message:
    """The least valid message."""
    made = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.is_repeated:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(made, field.name).CopyFrom(example(KINDS[field.message_type.name]))
        elif field.name in wire.LENGTHS[kind.DESCRIPTOR.name]:
            least, _ = wire.LENGTHS[kind.DESCRIPTOR.name][field.name]
            text = field.type == FieldDescriptor.TYPE_STRING
            setattr(made, field.name, "x" * least if text else b"\1" * least)
        elif (kind.DESCRIPTOR.name, field.name) in wire.RANGES:
            setattr(made, field.name, wire.RANGES[kind.DESCRIPTOR.name, field.name][0])
    return made


def pb_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def fields(body: bytes) -> list[tuple[int, bytes]]:
    """(field number, its bytes with tag) of a message of ours: varints and length-delimited fields."""
    found, at = [], 0
    while at < len(body):
        start = at
        tag, at = _read(body, at)
        size, at = _read(body, at)
        at += size if tag & 7 == 2 else 0
        found.append((tag >> 3, body[start:at]))
    return found


def _read(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
