from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Signed(_message.Message):
    __slots__ = ("kind", "sender", "payload", "signature")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    sender: bytes
    payload: bytes
    signature: bytes
    def __init__(self, kind: _Optional[str] = ..., sender: _Optional[bytes] = ..., payload: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Ctx(_message.Message):
    __slots__ = ("chain_id", "registry", "ledger", "study", "analysis", "spec_hash", "code_hash", "round", "release", "attempt", "prev_seal", "state_commit", "mode", "rho", "delta", "noise")
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    CODE_HASH_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PREV_SEAL_FIELD_NUMBER: _ClassVar[int]
    STATE_COMMIT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    RHO_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    chain_id: int
    registry: bytes
    ledger: bytes
    study: bytes
    analysis: bytes
    spec_hash: bytes
    code_hash: bytes
    round: int
    release: int
    attempt: int
    prev_seal: bytes
    state_commit: bytes
    mode: int
    rho: int
    delta: int
    noise: bytes
    def __init__(self, chain_id: _Optional[int] = ..., registry: _Optional[bytes] = ..., ledger: _Optional[bytes] = ..., study: _Optional[bytes] = ..., analysis: _Optional[bytes] = ..., spec_hash: _Optional[bytes] = ..., code_hash: _Optional[bytes] = ..., round: _Optional[int] = ..., release: _Optional[int] = ..., attempt: _Optional[int] = ..., prev_seal: _Optional[bytes] = ..., state_commit: _Optional[bytes] = ..., mode: _Optional[int] = ..., rho: _Optional[int] = ..., delta: _Optional[int] = ..., noise: _Optional[bytes] = ...) -> None: ...

class Use(_message.Message):
    __slots__ = ("dataset", "version", "epoch", "leave_site_out")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LEAVE_SITE_OUT_FIELD_NUMBER: _ClassVar[int]
    dataset: bytes
    version: int
    epoch: int
    leave_site_out: bool
    def __init__(self, dataset: _Optional[bytes] = ..., version: _Optional[int] = ..., epoch: _Optional[int] = ..., leave_site_out: _Optional[bool] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("ctx", "analysis")
    CTX_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    ctx: Ctx
    analysis: str
    def __init__(self, ctx: _Optional[_Union[Ctx, _Mapping]] = ..., analysis: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("ctx_hash", "org", "hpke_key")
    CTX_HASH_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    HPKE_KEY_FIELD_NUMBER: _ClassVar[int]
    ctx_hash: bytes
    org: bytes
    hpke_key: bytes
    def __init__(self, ctx_hash: _Optional[bytes] = ..., org: _Optional[bytes] = ..., hpke_key: _Optional[bytes] = ...) -> None: ...

class Hellos(_message.Message):
    __slots__ = ("ctx_hash", "hellos")
    CTX_HASH_FIELD_NUMBER: _ClassVar[int]
    HELLOS_FIELD_NUMBER: _ClassVar[int]
    ctx_hash: bytes
    hellos: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, ctx_hash: _Optional[bytes] = ..., hellos: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class ReadyHeader(_message.Message):
    __slots__ = ("ctx_hash", "org", "hellos_hash", "uses", "commitment", "g_hash", "fields", "length", "mask_hash", "shares_root")
    CTX_HASH_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    HELLOS_HASH_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    G_HASH_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    MASK_HASH_FIELD_NUMBER: _ClassVar[int]
    SHARES_ROOT_FIELD_NUMBER: _ClassVar[int]
    ctx_hash: bytes
    org: bytes
    hellos_hash: bytes
    uses: _containers.RepeatedCompositeFieldContainer[Use]
    commitment: bytes
    g_hash: bytes
    fields: int
    length: int
    mask_hash: bytes
    shares_root: bytes
    def __init__(self, ctx_hash: _Optional[bytes] = ..., org: _Optional[bytes] = ..., hellos_hash: _Optional[bytes] = ..., uses: _Optional[_Iterable[_Union[Use, _Mapping]]] = ..., commitment: _Optional[bytes] = ..., g_hash: _Optional[bytes] = ..., fields: _Optional[int] = ..., length: _Optional[int] = ..., mask_hash: _Optional[bytes] = ..., shares_root: _Optional[bytes] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("ctx_hash", "hellos_hash", "org", "to", "sealed")
    CTX_HASH_FIELD_NUMBER: _ClassVar[int]
    HELLOS_HASH_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    ctx_hash: bytes
    hellos_hash: bytes
    org: bytes
    to: bytes
    sealed: bytes
    def __init__(self, ctx_hash: _Optional[bytes] = ..., hellos_hash: _Optional[bytes] = ..., org: _Optional[bytes] = ..., to: _Optional[bytes] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("header", "boxes")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    BOXES_FIELD_NUMBER: _ClassVar[int]
    header: Signed
    boxes: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, header: _Optional[_Union[Signed, _Mapping]] = ..., boxes: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("ctx_hash", "headers", "boxes", "lock_by")
    CTX_HASH_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BOXES_FIELD_NUMBER: _ClassVar[int]
    LOCK_BY_FIELD_NUMBER: _ClassVar[int]
    ctx_hash: bytes
    headers: _containers.RepeatedCompositeFieldContainer[Signed]
    boxes: _containers.RepeatedCompositeFieldContainer[Signed]
    lock_by: int
    def __init__(self, ctx_hash: _Optional[bytes] = ..., headers: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., boxes: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., lock_by: _Optional[int] = ...) -> None: ...

class Complaint(_message.Message):
    __slots__ = ("ctx_hash", "org", "against", "hpke_secret", "box")
    CTX_HASH_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    HPKE_SECRET_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    ctx_hash: bytes
    org: bytes
    against: bytes
    hpke_secret: bytes
    box: Signed
    def __init__(self, ctx_hash: _Optional[bytes] = ..., org: _Optional[bytes] = ..., against: _Optional[bytes] = ..., hpke_secret: _Optional[bytes] = ..., box: _Optional[_Union[Signed, _Mapping]] = ...) -> None: ...

class Upload(_message.Message):
    __slots__ = ("plan_hash", "org", "ciphertext", "rho_box", "signature")
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    RHO_BOX_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    plan_hash: bytes
    org: bytes
    ciphertext: bytes
    rho_box: bytes
    signature: bytes
    def __init__(self, plan_hash: _Optional[bytes] = ..., org: _Optional[bytes] = ..., ciphertext: _Optional[bytes] = ..., rho_box: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("org", "ciphertext_digest", "rho_box", "signature")
    ORG_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    RHO_BOX_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    org: bytes
    ciphertext_digest: bytes
    rho_box: bytes
    signature: bytes
    def __init__(self, org: _Optional[bytes] = ..., ciphertext_digest: _Optional[bytes] = ..., rho_box: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Locked(_message.Message):
    __slots__ = ("lock_id", "plan_hash", "receipts")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    plan_hash: bytes
    receipts: _containers.RepeatedCompositeFieldContainer[Receipt]
    def __init__(self, lock_id: _Optional[bytes] = ..., plan_hash: _Optional[bytes] = ..., receipts: _Optional[_Iterable[_Union[Receipt, _Mapping]]] = ...) -> None: ...

class Unlock(_message.Message):
    __slots__ = ("lock_id", "org", "sealed")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    org: bytes
    sealed: bytes
    def __init__(self, lock_id: _Optional[bytes] = ..., org: _Optional[bytes] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class Recover(_message.Message):
    __slots__ = ("lock_id", "org")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    org: bytes
    def __init__(self, lock_id: _Optional[bytes] = ..., org: _Optional[bytes] = ...) -> None: ...

class MaskShare(_message.Message):
    __slots__ = ("lock_id", "org", "of", "sealed")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    OF_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    org: bytes
    of: bytes
    sealed: bytes
    def __init__(self, lock_id: _Optional[bytes] = ..., org: _Optional[bytes] = ..., of: _Optional[bytes] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class Sum(_message.Message):
    __slots__ = ("lock_id", "total", "unlocks", "recovered")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    UNLOCKS_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    total: bytes
    unlocks: _containers.RepeatedCompositeFieldContainer[Signed]
    recovered: _containers.RepeatedCompositeFieldContainer[RecoveredMask]
    def __init__(self, lock_id: _Optional[bytes] = ..., total: _Optional[bytes] = ..., unlocks: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., recovered: _Optional[_Iterable[_Union[RecoveredMask, _Mapping]]] = ...) -> None: ...

class RecoveredMask(_message.Message):
    __slots__ = ("org", "shares")
    ORG_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    org: bytes
    shares: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, org: _Optional[bytes] = ..., shares: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class Dispute(_message.Message):
    __slots__ = ("lock_id", "org", "code")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    org: bytes
    code: str
    def __init__(self, lock_id: _Optional[bytes] = ..., org: _Optional[bytes] = ..., code: _Optional[str] = ...) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("lock_id", "disputes")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    DISPUTES_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    disputes: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, lock_id: _Optional[bytes] = ..., disputes: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class Checked(_message.Message):
    __slots__ = ("lock_id", "org", "sealed")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    org: bytes
    sealed: bytes
    def __init__(self, lock_id: _Optional[bytes] = ..., org: _Optional[bytes] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class CheckedAll(_message.Message):
    __slots__ = ("lock_id", "checked", "unlocks", "recovered")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    UNLOCKS_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    checked: _containers.RepeatedCompositeFieldContainer[Signed]
    unlocks: _containers.RepeatedCompositeFieldContainer[Signed]
    recovered: _containers.RepeatedCompositeFieldContainer[RecoveredMask]
    def __init__(self, lock_id: _Optional[bytes] = ..., checked: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., unlocks: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., recovered: _Optional[_Iterable[_Union[RecoveredMask, _Mapping]]] = ...) -> None: ...

class RangeProof(_message.Message):
    __slots__ = ("lock_id", "org", "proof")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    org: bytes
    proof: bytes
    def __init__(self, lock_id: _Optional[bytes] = ..., org: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class Ranges(_message.Message):
    __slots__ = ("lock_id", "proofs")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    PROOFS_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    proofs: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, lock_id: _Optional[bytes] = ..., proofs: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class Accused(_message.Message):
    __slots__ = ("code", "orgs")
    CODE_FIELD_NUMBER: _ClassVar[int]
    ORGS_FIELD_NUMBER: _ClassVar[int]
    code: str
    orgs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, code: _Optional[str] = ..., orgs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("lock_id", "org", "about", "accused", "sealed")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    ACCUSED_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    org: bytes
    about: bytes
    accused: _containers.RepeatedCompositeFieldContainer[Accused]
    sealed: bool
    def __init__(self, lock_id: _Optional[bytes] = ..., org: _Optional[bytes] = ..., about: _Optional[bytes] = ..., accused: _Optional[_Iterable[_Union[Accused, _Mapping]]] = ..., sealed: _Optional[bool] = ...) -> None: ...

class Inputs(_message.Message):
    __slots__ = ("ctx", "hellos", "headers", "lock_by", "lock_id", "receipts")
    CTX_FIELD_NUMBER: _ClassVar[int]
    HELLOS_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    LOCK_BY_FIELD_NUMBER: _ClassVar[int]
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    ctx: Ctx
    hellos: _containers.RepeatedCompositeFieldContainer[Signed]
    headers: _containers.RepeatedCompositeFieldContainer[Signed]
    lock_by: int
    lock_id: bytes
    receipts: _containers.RepeatedCompositeFieldContainer[Receipt]
    def __init__(self, ctx: _Optional[_Union[Ctx, _Mapping]] = ..., hellos: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., headers: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., lock_by: _Optional[int] = ..., lock_id: _Optional[bytes] = ..., receipts: _Optional[_Iterable[_Union[Receipt, _Mapping]]] = ...) -> None: ...

class Compute(_message.Message):
    __slots__ = ("lock_id", "number")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    number: int
    def __init__(self, lock_id: _Optional[bytes] = ..., number: _Optional[int] = ...) -> None: ...

class JobFailed(_message.Message):
    __slots__ = ("lock_id", "org", "number", "code")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    org: bytes
    number: int
    code: str
    def __init__(self, lock_id: _Optional[bytes] = ..., org: _Optional[bytes] = ..., number: _Optional[int] = ..., code: _Optional[str] = ...) -> None: ...

class SealedKey(_message.Message):
    __slots__ = ("org", "sealed")
    ORG_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    org: bytes
    sealed: bytes
    def __init__(self, org: _Optional[bytes] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("lock_id", "org", "run", "bad", "accepted", "payload", "keys", "signature")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    BAD_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    org: bytes
    run: bytes
    bad: bytes
    accepted: bytes
    payload: bytes
    keys: _containers.RepeatedCompositeFieldContainer[SealedKey]
    signature: bytes
    def __init__(self, lock_id: _Optional[bytes] = ..., org: _Optional[bytes] = ..., run: _Optional[bytes] = ..., bad: _Optional[bytes] = ..., accepted: _Optional[bytes] = ..., payload: _Optional[bytes] = ..., keys: _Optional[_Iterable[_Union[SealedKey, _Mapping]]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Outputs(_message.Message):
    __slots__ = ("lock_id", "outputs")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    outputs: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, lock_id: _Optional[bytes] = ..., outputs: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class Seal(_message.Message):
    __slots__ = ("lock_id", "plan_hash", "receipts_root", "state_before", "state_after", "result_hash", "rho", "delta", "method", "params", "code_hash", "prev_seal")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_ROOT_FIELD_NUMBER: _ClassVar[int]
    STATE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    STATE_AFTER_FIELD_NUMBER: _ClassVar[int]
    RESULT_HASH_FIELD_NUMBER: _ClassVar[int]
    RHO_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    CODE_HASH_FIELD_NUMBER: _ClassVar[int]
    PREV_SEAL_FIELD_NUMBER: _ClassVar[int]
    lock_id: bytes
    plan_hash: bytes
    receipts_root: bytes
    state_before: bytes
    state_after: bytes
    result_hash: bytes
    rho: int
    delta: int
    method: bytes
    params: bytes
    code_hash: bytes
    prev_seal: bytes
    def __init__(self, lock_id: _Optional[bytes] = ..., plan_hash: _Optional[bytes] = ..., receipts_root: _Optional[bytes] = ..., state_before: _Optional[bytes] = ..., state_after: _Optional[bytes] = ..., result_hash: _Optional[bytes] = ..., rho: _Optional[int] = ..., delta: _Optional[int] = ..., method: _Optional[bytes] = ..., params: _Optional[bytes] = ..., code_hash: _Optional[bytes] = ..., prev_seal: _Optional[bytes] = ...) -> None: ...

class SealShare(_message.Message):
    __slots__ = ("seal", "org", "signature", "next_analysis")
    SEAL_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    NEXT_ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    seal: Seal
    org: bytes
    signature: bytes
    next_analysis: str
    def __init__(self, seal: _Optional[_Union[Seal, _Mapping]] = ..., org: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., next_analysis: _Optional[str] = ...) -> None: ...

class Attested(_message.Message):
    __slots__ = ("study", "seal_id", "shares")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    SEAL_ID_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    seal_id: bytes
    shares: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, study: _Optional[bytes] = ..., seal_id: _Optional[bytes] = ..., shares: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("study", "org", "code", "about")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    org: bytes
    code: str
    about: bytes
    def __init__(self, study: _Optional[bytes] = ..., org: _Optional[bytes] = ..., code: _Optional[str] = ..., about: _Optional[bytes] = ...) -> None: ...

class CatchUpRequest(_message.Message):
    __slots__ = ("study", "org", "seal_id", "hpke_key")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    SEAL_ID_FIELD_NUMBER: _ClassVar[int]
    HPKE_KEY_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    org: bytes
    seal_id: bytes
    hpke_key: bytes
    def __init__(self, study: _Optional[bytes] = ..., org: _Optional[bytes] = ..., seal_id: _Optional[bytes] = ..., hpke_key: _Optional[bytes] = ...) -> None: ...

class CatchUp(_message.Message):
    __slots__ = ("study", "org", "to", "seal_id", "sealed")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    SEAL_ID_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    org: bytes
    to: bytes
    seal_id: bytes
    sealed: bytes
    def __init__(self, study: _Optional[bytes] = ..., org: _Optional[bytes] = ..., to: _Optional[bytes] = ..., seal_id: _Optional[bytes] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class StateHandover(_message.Message):
    __slots__ = ("state", "salt")
    STATE_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    state: bytes
    salt: bytes
    def __init__(self, state: _Optional[bytes] = ..., salt: _Optional[bytes] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("study", "org", "recipient", "seal_ids", "sealed")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    SEAL_IDS_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    org: bytes
    recipient: bytes
    seal_ids: _containers.RepeatedScalarFieldContainer[bytes]
    sealed: bytes
    def __init__(self, study: _Optional[bytes] = ..., org: _Optional[bytes] = ..., recipient: _Optional[bytes] = ..., seal_ids: _Optional[_Iterable[bytes]] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class StudyOffer(_message.Message):
    __slots__ = ("study", "spec", "sponsor_key")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SPONSOR_KEY_FIELD_NUMBER: _ClassVar[int]
    study: bytes
    spec: bytes
    sponsor_key: bytes
    def __init__(self, study: _Optional[bytes] = ..., spec: _Optional[bytes] = ..., sponsor_key: _Optional[bytes] = ...) -> None: ...

class SealedRound(_message.Message):
    __slots__ = ("ctx", "headers", "lock_by", "receipts", "shares")
    CTX_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    LOCK_BY_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    ctx: Ctx
    headers: _containers.RepeatedCompositeFieldContainer[Signed]
    lock_by: int
    receipts: _containers.RepeatedCompositeFieldContainer[Receipt]
    shares: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, ctx: _Optional[_Union[Ctx, _Mapping]] = ..., headers: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., lock_by: _Optional[int] = ..., receipts: _Optional[_Iterable[_Union[Receipt, _Mapping]]] = ..., shares: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class Opening(_message.Message):
    __slots__ = ("seal_id", "sum", "randomness", "salt_before", "state_before", "salt", "state", "accepted")
    SEAL_ID_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    RANDOMNESS_FIELD_NUMBER: _ClassVar[int]
    SALT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    STATE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    seal_id: bytes
    sum: bytes
    randomness: bytes
    salt_before: bytes
    state_before: bytes
    salt: bytes
    state: bytes
    accepted: bytes
    def __init__(self, seal_id: _Optional[bytes] = ..., sum: _Optional[bytes] = ..., randomness: _Optional[bytes] = ..., salt_before: _Optional[bytes] = ..., state_before: _Optional[bytes] = ..., salt: _Optional[bytes] = ..., state: _Optional[bytes] = ..., accepted: _Optional[bytes] = ...) -> None: ...

class Openings(_message.Message):
    __slots__ = ("openings",)
    OPENINGS_FIELD_NUMBER: _ClassVar[int]
    openings: _containers.RepeatedCompositeFieldContainer[Opening]
    def __init__(self, openings: _Optional[_Iterable[_Union[Opening, _Mapping]]] = ...) -> None: ...

class Bundle(_message.Message):
    __slots__ = ("spec", "rounds", "sealed_openings")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    SEALED_OPENINGS_FIELD_NUMBER: _ClassVar[int]
    spec: bytes
    rounds: _containers.RepeatedCompositeFieldContainer[SealedRound]
    sealed_openings: bytes
    def __init__(self, spec: _Optional[bytes] = ..., rounds: _Optional[_Iterable[_Union[SealedRound, _Mapping]]] = ..., sealed_openings: _Optional[bytes] = ...) -> None: ...

class Mail(_message.Message):
    __slots__ = ("kind", "study", "sender", "body")
    KIND_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    kind: str
    study: bytes
    sender: bytes
    body: bytes
    def __init__(self, kind: _Optional[str] = ..., study: _Optional[bytes] = ..., sender: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...
