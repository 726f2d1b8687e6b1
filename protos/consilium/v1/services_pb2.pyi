from protos.consilium.v1 import round_pb2 as _round_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    OFFERED: _ClassVar[Phase]
    AWAITING: _ClassVar[Phase]
    RUNNING: _ClassVar[Phase]
    HALTED: _ClassVar[Phase]
    SEALED: _ClassVar[Phase]
    FINISHED: _ClassVar[Phase]
    CANCELLED: _ClassVar[Phase]
    CLOSED: _ClassVar[Phase]
PHASE_UNSPECIFIED: Phase
OFFERED: Phase
AWAITING: Phase
RUNNING: Phase
HALTED: Phase
SEALED: Phase
FINISHED: Phase
CANCELLED: Phase
CLOSED: Phase

class Study(_message.Message):
    __slots__ = ("id", "name", "phase", "spec_hash", "sponsor", "roster", "consents", "round", "attempt", "analysis", "waiting_for", "missing", "last", "halted", "seals", "releases", "needed", "spec", "accused")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    SPONSOR_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    CONSENTS_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    HALTED_FIELD_NUMBER: _ClassVar[int]
    SEALS_FIELD_NUMBER: _ClassVar[int]
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    NEEDED_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ACCUSED_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    name: str
    phase: Phase
    spec_hash: bytes
    sponsor: bytes
    roster: _containers.RepeatedScalarFieldContainer[bytes]
    consents: _containers.RepeatedScalarFieldContainer[bytes]
    round: int
    attempt: int
    analysis: str
    waiting_for: str
    missing: _containers.RepeatedScalarFieldContainer[bytes]
    last: str
    halted: str
    seals: int
    releases: int
    needed: int
    spec: bytes
    accused: _containers.RepeatedCompositeFieldContainer[Accusation]
    def __init__(self, id: _Optional[bytes] = ..., name: _Optional[str] = ..., phase: _Optional[_Union[Phase, str]] = ..., spec_hash: _Optional[bytes] = ..., sponsor: _Optional[bytes] = ..., roster: _Optional[_Iterable[bytes]] = ..., consents: _Optional[_Iterable[bytes]] = ..., round: _Optional[int] = ..., attempt: _Optional[int] = ..., analysis: _Optional[str] = ..., waiting_for: _Optional[str] = ..., missing: _Optional[_Iterable[bytes]] = ..., last: _Optional[str] = ..., halted: _Optional[str] = ..., seals: _Optional[int] = ..., releases: _Optional[int] = ..., needed: _Optional[int] = ..., spec: _Optional[bytes] = ..., accused: _Optional[_Iterable[_Union[Accusation, _Mapping]]] = ...) -> None: ...

class Accusation(_message.Message):
    __slots__ = ("round", "code", "orgs", "by")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ORGS_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    round: int
    code: str
    orgs: _containers.RepeatedScalarFieldContainer[bytes]
    by: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, round: _Optional[int] = ..., code: _Optional[str] = ..., orgs: _Optional[_Iterable[bytes]] = ..., by: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("offer",)
    OFFER_FIELD_NUMBER: _ClassVar[int]
    offer: _round_pb2.StudyOffer
    def __init__(self, offer: _Optional[_Union[_round_pb2.StudyOffer, _Mapping]] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    def __init__(self, study: _Optional[bytes] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("page_size", "after")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    after: bytes
    def __init__(self, page_size: _Optional[int] = ..., after: _Optional[bytes] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("studies", "next")
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[Study]
    next: bytes
    def __init__(self, studies: _Optional[_Iterable[_Union[Study, _Mapping]]] = ..., next: _Optional[bytes] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("study", "after_seal")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEAL_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    after_seal: int
    def __init__(self, study: _Optional[bytes] = ..., after_seal: _Optional[int] = ...) -> None: ...

class StudyEvent(_message.Message):
    __slots__ = ("state", "seal")
    STATE_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    state: Study
    seal: SealInfo
    def __init__(self, state: _Optional[_Union[Study, _Mapping]] = ..., seal: _Optional[_Union[SealInfo, _Mapping]] = ...) -> None: ...

class StartRequest(_message.Message):
    __slots__ = ("study", "at_least")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    at_least: int
    def __init__(self, study: _Optional[bytes] = ..., at_least: _Optional[int] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    def __init__(self, study: _Optional[bytes] = ...) -> None: ...

class ResultRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    def __init__(self, study: _Optional[bytes] = ...) -> None: ...

class ReleasePart(_message.Message):
    __slots__ = ("org", "data", "last")
    ORG_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    org: bytes
    data: bytes
    last: bool
    def __init__(self, org: _Optional[bytes] = ..., data: _Optional[bytes] = ..., last: _Optional[bool] = ...) -> None: ...

class SealInfo(_message.Message):
    __slots__ = ("number", "seal_id", "analysis", "members", "signers")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEAL_ID_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    number: int
    seal_id: bytes
    analysis: str
    members: _containers.RepeatedScalarFieldContainer[bytes]
    signers: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, number: _Optional[int] = ..., seal_id: _Optional[bytes] = ..., analysis: _Optional[str] = ..., members: _Optional[_Iterable[bytes]] = ..., signers: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ListSealsRequest(_message.Message):
    __slots__ = ("study", "after")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    after: int
    def __init__(self, study: _Optional[bytes] = ..., after: _Optional[int] = ...) -> None: ...

class ListSealsResponse(_message.Message):
    __slots__ = ("seals", "next")
    SEALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    seals: _containers.RepeatedCompositeFieldContainer[SealInfo]
    next: int
    def __init__(self, seals: _Optional[_Iterable[_Union[SealInfo, _Mapping]]] = ..., next: _Optional[int] = ...) -> None: ...

class GetBundleRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    def __init__(self, study: _Optional[bytes] = ...) -> None: ...

class BundlePart(_message.Message):
    __slots__ = ("spec", "round")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    spec: bytes
    round: _round_pb2.SealedRound
    def __init__(self, spec: _Optional[bytes] = ..., round: _Optional[_Union[_round_pb2.SealedRound, _Mapping]] = ...) -> None: ...

class VerdictRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    def __init__(self, study: _Optional[bytes] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("name", "subject", "outcome", "code")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    name: str
    subject: str
    outcome: str
    code: str
    def __init__(self, name: _Optional[str] = ..., subject: _Optional[str] = ..., outcome: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class VerdictResponse(_message.Message):
    __slots__ = ("checks", "block", "events", "locks", "seals", "signatures", "made_at")
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LOCKS_FIELD_NUMBER: _ClassVar[int]
    SEALS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[Check]
    block: int
    events: int
    locks: int
    seals: int
    signatures: int
    made_at: int
    def __init__(self, checks: _Optional[_Iterable[_Union[Check, _Mapping]]] = ..., block: _Optional[int] = ..., events: _Optional[int] = ..., locks: _Optional[int] = ..., seals: _Optional[int] = ..., signatures: _Optional[int] = ..., made_at: _Optional[int] = ...) -> None: ...
