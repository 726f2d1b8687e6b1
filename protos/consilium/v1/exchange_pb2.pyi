from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Piece(_message.Message):
    __slots__ = ("number", "total", "offset", "data")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    number: int
    total: int
    offset: int
    data: bytes
    def __init__(self, number: _Optional[int] = ..., total: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("noise", "sender", "recipient", "exchange", "awaiting", "stream", "first", "heard", "number", "offset", "pieces", "more")
    NOISE_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    AWAITING_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    noise: bytes
    sender: bytes
    recipient: bytes
    exchange: int
    awaiting: _containers.RepeatedScalarFieldContainer[int]
    stream: bytes
    first: int
    heard: bytes
    number: int
    offset: int
    pieces: _containers.RepeatedCompositeFieldContainer[Piece]
    more: bool
    def __init__(self, noise: _Optional[bytes] = ..., sender: _Optional[bytes] = ..., recipient: _Optional[bytes] = ..., exchange: _Optional[int] = ..., awaiting: _Optional[_Iterable[int]] = ..., stream: _Optional[bytes] = ..., first: _Optional[int] = ..., heard: _Optional[bytes] = ..., number: _Optional[int] = ..., offset: _Optional[int] = ..., pieces: _Optional[_Iterable[_Union[Piece, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...
