from protos.consilium.v1 import round_pb2 as _round_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HelloRecord(_message.Message):
    __slots__ = ("ctx", "analysis", "hpke_secret", "message")
    CTX_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    HPKE_SECRET_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ctx: _round_pb2.Ctx
    analysis: str
    hpke_secret: bytes
    message: bytes
    def __init__(self, ctx: _Optional[_Union[_round_pb2.Ctx, _Mapping]] = ..., analysis: _Optional[str] = ..., hpke_secret: _Optional[bytes] = ..., message: _Optional[bytes] = ...) -> None: ...

class InputRecord(_message.Message):
    __slots__ = ("values", "fields", "randomness", "commitment", "params", "analysis")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    RANDOMNESS_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    values: bytes
    fields: int
    randomness: bytes
    commitment: bytes
    params: bytes
    analysis: str
    def __init__(self, values: _Optional[bytes] = ..., fields: _Optional[int] = ..., randomness: _Optional[bytes] = ..., commitment: _Optional[bytes] = ..., params: _Optional[bytes] = ..., analysis: _Optional[str] = ...) -> None: ...

class PairSecret(_message.Message):
    __slots__ = ("org", "secret")
    ORG_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    org: bytes
    secret: bytes
    def __init__(self, org: _Optional[bytes] = ..., secret: _Optional[bytes] = ...) -> None: ...

class ReadyRecord(_message.Message):
    __slots__ = ("g", "self_mask", "pairs", "hellos_hash", "hellos", "message")
    G_FIELD_NUMBER: _ClassVar[int]
    SELF_MASK_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    HELLOS_HASH_FIELD_NUMBER: _ClassVar[int]
    HELLOS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    g: bytes
    self_mask: bytes
    pairs: _containers.RepeatedCompositeFieldContainer[PairSecret]
    hellos_hash: bytes
    hellos: _containers.RepeatedCompositeFieldContainer[_round_pb2.Signed]
    message: bytes
    def __init__(self, g: _Optional[bytes] = ..., self_mask: _Optional[bytes] = ..., pairs: _Optional[_Iterable[_Union[PairSecret, _Mapping]]] = ..., hellos_hash: _Optional[bytes] = ..., hellos: _Optional[_Iterable[_Union[_round_pb2.Signed, _Mapping]]] = ..., message: _Optional[bytes] = ...) -> None: ...

class UploadRecord(_message.Message):
    __slots__ = ("plan_hash", "group", "headers", "lock_by", "message", "shares", "pairs")
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    LOCK_BY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    plan_hash: bytes
    group: bytes
    headers: _containers.RepeatedCompositeFieldContainer[_round_pb2.Signed]
    lock_by: int
    message: bytes
    shares: _containers.RepeatedCompositeFieldContainer[PairSecret]
    pairs: _containers.RepeatedCompositeFieldContainer[PairSecret]
    def __init__(self, plan_hash: _Optional[bytes] = ..., group: _Optional[bytes] = ..., headers: _Optional[_Iterable[_Union[_round_pb2.Signed, _Mapping]]] = ..., lock_by: _Optional[int] = ..., message: _Optional[bytes] = ..., shares: _Optional[_Iterable[_Union[PairSecret, _Mapping]]] = ..., pairs: _Optional[_Iterable[_Union[PairSecret, _Mapping]]] = ...) -> None: ...

class UnlockedRecord(_message.Message):
    __slots__ = ("set_hash", "inputs_root", "plan_hash")
    SET_HASH_FIELD_NUMBER: _ClassVar[int]
    INPUTS_ROOT_FIELD_NUMBER: _ClassVar[int]
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    set_hash: bytes
    inputs_root: bytes
    plan_hash: bytes
    def __init__(self, set_hash: _Optional[bytes] = ..., inputs_root: _Optional[bytes] = ..., plan_hash: _Optional[bytes] = ...) -> None: ...

class UnlockRecord(_message.Message):
    __slots__ = ("lock_id", "receipts", "message")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    receipts: _containers.RepeatedCompositeFieldContainer[_round_pb2.Receipt]
    message: bytes
    def __init__(self, lock_id: _Optional[bytes] = ..., receipts: _Optional[_Iterable[_Union[_round_pb2.Receipt, _Mapping]]] = ..., message: _Optional[bytes] = ...) -> None: ...

class RangeRecord(_message.Message):
    __slots__ = ("message", "rows", "value_bits", "limbs", "most", "accused")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VALUE_BITS_FIELD_NUMBER: _ClassVar[int]
    LIMBS_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    ACCUSED_FIELD_NUMBER: _ClassVar[int]
    message: bytes
    rows: _containers.RepeatedScalarFieldContainer[int]
    value_bits: int
    limbs: _containers.RepeatedScalarFieldContainer[int]
    most: bytes
    accused: _containers.RepeatedCompositeFieldContainer[_round_pb2.Accused]
    def __init__(self, message: _Optional[bytes] = ..., rows: _Optional[_Iterable[int]] = ..., value_bits: _Optional[int] = ..., limbs: _Optional[_Iterable[int]] = ..., most: _Optional[bytes] = ..., accused: _Optional[_Iterable[_Union[_round_pb2.Accused, _Mapping]]] = ...) -> None: ...

class SealRecord(_message.Message):
    __slots__ = ("seal", "seal_id", "state", "salt", "sum", "randomness", "next_analysis", "message", "accepted")
    SEAL_FIELD_NUMBER: _ClassVar[int]
    SEAL_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    RANDOMNESS_FIELD_NUMBER: _ClassVar[int]
    NEXT_ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    seal: _round_pb2.Seal
    seal_id: bytes
    state: bytes
    salt: bytes
    sum: bytes
    randomness: bytes
    next_analysis: str
    message: bytes
    accepted: bytes
    def __init__(self, seal: _Optional[_Union[_round_pb2.Seal, _Mapping]] = ..., seal_id: _Optional[bytes] = ..., state: _Optional[bytes] = ..., salt: _Optional[bytes] = ..., sum: _Optional[bytes] = ..., randomness: _Optional[bytes] = ..., next_analysis: _Optional[str] = ..., message: _Optional[bytes] = ..., accepted: _Optional[bytes] = ...) -> None: ...

class AttemptRecord(_message.Message):
    __slots__ = ("ctx", "analysis", "members", "opened_at")
    CTX_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    ctx: _round_pb2.Ctx
    analysis: str
    members: _containers.RepeatedScalarFieldContainer[bytes]
    opened_at: int
    def __init__(self, ctx: _Optional[_Union[_round_pb2.Ctx, _Mapping]] = ..., analysis: _Optional[str] = ..., members: _Optional[_Iterable[bytes]] = ..., opened_at: _Optional[int] = ...) -> None: ...

class PlanRecord(_message.Message):
    __slots__ = ("headers", "lock_by", "plan_hash")
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    LOCK_BY_FIELD_NUMBER: _ClassVar[int]
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    headers: _containers.RepeatedCompositeFieldContainer[_round_pb2.Signed]
    lock_by: int
    plan_hash: bytes
    def __init__(self, headers: _Optional[_Iterable[_Union[_round_pb2.Signed, _Mapping]]] = ..., lock_by: _Optional[int] = ..., plan_hash: _Optional[bytes] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "without", "at")
    CODE_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    code: str
    without: _containers.RepeatedScalarFieldContainer[bytes]
    at: int
    def __init__(self, code: _Optional[str] = ..., without: _Optional[_Iterable[bytes]] = ..., at: _Optional[int] = ...) -> None: ...
