"""Strict reading of messages from other organisations.

`parse` accepts exactly one encoding of each message: no unknown fields, no field out of its length, lists in
ascending order without repeats, and the bytes must be those that we would write ourselves. Everything else is
`Hostile`, with a code and no echo of the data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from consilium_errors import Hostile
from protos import digests
from protos.consilium.v1 import round_pb2 as pb

M = TypeVar("M", bound=Message)

MAX_PARTIES = 128
MAX_BLOB = 256 << 20
SMALL = 64 << 10
HASH, ADDRESS, SIGNATURE, POINT = (32, 32), (20, 20), (65, 65), (48, 48)
HPKE_PUBLIC, HPKE_SECRET = (1216, 1216), (32, 4096)
TEXT = (1, 64)

# message → field → (least, most) bytes. A repeated field has at most MAX_PARTIES items, unless in COUNTS.
LENGTHS: dict[str, dict[str, tuple[int, int]]] = {
    "Signed": {"kind": TEXT, "sender": ADDRESS, "payload": (1, MAX_BLOB), "signature": SIGNATURE},
    "Ctx": {
        "registry": ADDRESS,
        "ledger": ADDRESS,
        **dict.fromkeys(
            ("study", "analysis", "spec_hash", "code_hash", "prev_seal", "state_commit", "noise"), HASH
        ),
    },
    "Use": {"dataset": HASH},
    "Task": {"analysis": TEXT},
    "Hello": {"ctx_hash": HASH, "org": ADDRESS, "hpke_key": HPKE_PUBLIC},
    "Hellos": {"ctx_hash": HASH},
    "ReadyHeader": {
        "ctx_hash": HASH,
        "org": ADDRESS,
        "hellos_hash": HASH,
        "commitment": POINT,
        "g_hash": HASH,
        "mask_hash": HASH,
        "shares_root": HASH,
    },
    "Box": {"ctx_hash": HASH, "hellos_hash": HASH, "org": ADDRESS, "to": ADDRESS, "sealed": (64, 4096)},
    "Ready": {},
    "Plan": {"ctx_hash": HASH},
    "Complaint": {"ctx_hash": HASH, "org": ADDRESS, "against": ADDRESS, "hpke_secret": HPKE_SECRET},
    "Upload": {
        "plan_hash": HASH,
        "org": ADDRESS,
        "ciphertext": (1, MAX_BLOB),
        "rho_box": POINT,
        "signature": SIGNATURE,
    },
    "Receipt": {"org": ADDRESS, "ciphertext_digest": HASH, "rho_box": POINT, "signature": SIGNATURE},
    "Locked": {"lock_id": HASH, "plan_hash": HASH},
    "Unlock": {"lock_id": HASH, "org": ADDRESS, "sealed": POINT},
    "Recover": {"lock_id": HASH, "org": ADDRESS},
    "MaskShare": {"lock_id": HASH, "org": ADDRESS, "of": ADDRESS, "sealed": (48, 512)},
    "Sum": {"lock_id": HASH, "total": (1, MAX_BLOB)},
    "RecoveredMask": {"org": ADDRESS},
    "Dispute": {"lock_id": HASH, "org": ADDRESS, "code": TEXT},
    "CheckRequest": {"lock_id": HASH},
    "Checked": {"lock_id": HASH, "org": ADDRESS, "sealed": (16 + 32 + 2 * 48 + 32, MAX_BLOB)},
    "CheckedAll": {"lock_id": HASH},
    "RangeProof": {"lock_id": HASH, "org": ADDRESS, "proof": (1, MAX_BLOB)},
    "Ranges": {"lock_id": HASH},
    "Accused": {"code": TEXT, "orgs": ADDRESS},
    "Verdict": {"lock_id": HASH, "org": ADDRESS, "about": HASH},
    "Inputs": {"lock_id": HASH},
    "Compute": {"lock_id": HASH},
    "JobFailed": {"lock_id": HASH, "org": ADDRESS, "code": TEXT},
    "SealedKey": {"org": ADDRESS, "sealed": (64, 4096)},
    "Output": {
        "lock_id": HASH,
        "org": ADDRESS,
        "run": HASH,
        "bad": (3, MAX_PARTIES),
        "accepted": (3, MAX_PARTIES),
        "payload": (48, MAX_BLOB),
        "signature": SIGNATURE,
    },
    "Outputs": {"lock_id": HASH},
    "Seal": dict.fromkeys(
        (
            "lock_id",
            "plan_hash",
            "receipts_root",
            "state_before",
            "state_after",
            "result_hash",
            "method",
            "params",
            "code_hash",
            "prev_seal",
        ),
        HASH,
    ),
    "SealShare": {"org": ADDRESS, "signature": SIGNATURE, "next_analysis": (0, 64)},
    "Attested": {"study": HASH, "seal_id": HASH},
    "Refusal": {"study": HASH, "org": ADDRESS, "code": TEXT, "about": (0, 32)},
    "CatchUpRequest": {"study": HASH, "org": ADDRESS, "seal_id": HASH, "hpke_key": HPKE_PUBLIC},
    "CatchUp": {"study": HASH, "org": ADDRESS, "to": ADDRESS, "seal_id": HASH, "sealed": (64, MAX_BLOB)},
    "StateHandover": {"state": (1, MAX_BLOB), "salt": HASH},
    "Release": {
        "study": HASH,
        "org": ADDRESS,
        "recipient": HASH,
        "seal_ids": HASH,
        "sealed": (64, MAX_BLOB),
    },
    "StudyOffer": {"study": HASH, "spec": (2, 1 << 20), "sponsor_key": HPKE_PUBLIC},
    "SealedRound": {},
    "Opening": {
        "seal_id": HASH,
        "sum": (8, MAX_BLOB),
        "randomness": HASH,
        "salt_before": HASH,
        "state_before": (1, MAX_BLOB),
        "salt": HASH,
        "state": (1, MAX_BLOB),
        "accepted": (0, MAX_PARTIES),
    },
    "Openings": {},
    "Bundle": {"spec": (2, 1 << 20), "sealed_openings": (0, MAX_BLOB)},
    "Mail": {"kind": TEXT, "study": HASH, "sender": ADDRESS, "body": (0, MAX_BLOB)},
    "Piece": {"data": (0, MAX_BLOB)},
    "Frame": {
        "noise": (16, 16),
        "sender": ADDRESS,
        "recipient": ADDRESS,
        "stream": (16, 16),
        "heard": (0, 16),
    },
}
# What the contracts' types cannot hold must not reach a hash: (message, field) → (least, most).
RANGES = {("Ctx", "mode"): (digests.EXACT, digests.DP)}
COUNTS = {
    ("Bundle", "rounds"): 4096,
    ("Openings", "openings"): 4096,
    ("Release", "seal_ids"): 4096,
    ("Accused", "orgs"): 2,
    ("Verdict", "accused"): 3 * MAX_PARTIES + MAX_PARTIES * MAX_PARTIES // 2,  # all, and every pair
}
REQUIRED = {
    "Task": ("ctx",),
    "Inputs": ("ctx",),
    "Ready": ("header",),
    "Complaint": ("box",),
    "SealShare": ("seal",),
    "SealedRound": ("ctx",),
}


def parse(kind: type[M], data: bytes, *, most: int = MAX_BLOB + SMALL) -> M:
    """The message in ``data``.

    Raises:
        Hostile: ``wire.size``, ``wire.malformed``, ``wire.not_canonical``, ``wire.length``, ``wire.range``,
            ``wire.count``, ``wire.missing``.
    """
    if len(data) > most:
        raise Hostile("wire.size", f"{kind.DESCRIPTOR.name} of {len(data)} bytes, at most {most}")
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Hostile("wire.malformed", f"not a {kind.DESCRIPTOR.name}") from None
    message.DiscardUnknownFields()
    if encode(message) != data:
        raise Hostile("wire.not_canonical", f"{kind.DESCRIPTOR.name} is not in canonical form")
    _check(message)
    return message


def encode(message: Message) -> bytes:
    """The one encoding of a message."""
    return message.SerializeToString(deterministic=True)


def _check(message: Message) -> None:
    name = message.DESCRIPTOR.name
    rules = LENGTHS[name]
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            if len(value) > COUNTS.get((name, field.name), MAX_PARTIES):
                raise Hostile("wire.count", f"too many {name}.{field.name}")
            for item in value:
                _check_value(name, field.name, item, rules)
        elif field.type != field.TYPE_MESSAGE:
            _check_value(name, field.name, value, rules)
        elif message.HasField(field.name):
            _check(value)
        elif field.name in REQUIRED.get(name, ()):
            raise Hostile("wire.missing", f"{name}.{field.name} is missing")


def _check_value(name: str, field: str, value: object, rules: dict[str, tuple[int, int]]) -> None:
    if isinstance(value, Message):
        _check(value)
    elif isinstance(value, bytes | str):
        least, most = rules[field]
        size = len(value)
        if not least <= size <= most:
            raise Hostile("wire.length", f"{name}.{field} has {size} bytes, expected {least} to {most}")
    elif isinstance(value, int) and (name, field) in RANGES:
        least, most = RANGES[name, field]
        if not least <= value <= most:
            raise Hostile("wire.range", f"{name}.{field} is {value}, expected {least} to {most}")


def ascending(values: Iterable[bytes], what: str) -> None:
    """Strictly ascending, hence distinct.

    Raises:
        Hostile: ``wire.order``.
    """
    last: bytes | None = None
    for value in values:
        if last is not None and value <= last:
            raise Hostile("wire.order", f"{what} are not strictly ascending")
        last = value


# between the wire and the digests ---------------------------------------------------------------------


def ctx_from(message: pb.Ctx) -> digests.Ctx:
    return digests.Ctx(*(getattr(message, field.name) for field in pb.Ctx.DESCRIPTOR.fields))


def ctx_to(ctx: digests.Ctx) -> pb.Ctx:
    return pb.Ctx(**dict(zip((f.name for f in pb.Ctx.DESCRIPTOR.fields), astuple(ctx), strict=True)))


def seal_from(message: pb.Seal) -> digests.Seal:
    return digests.Seal(*(getattr(message, field.name) for field in pb.Seal.DESCRIPTOR.fields))


def seal_to(seal: digests.Seal) -> pb.Seal:
    return pb.Seal(**dict(zip((f.name for f in pb.Seal.DESCRIPTOR.fields), astuple(seal), strict=True)))


def uses_from(messages: Iterable[pb.Use]) -> tuple[digests.Use, ...]:
    uses = tuple(digests.Use(m.dataset, m.version, m.epoch, m.leave_site_out) for m in messages)
    ascending((u.dataset for u in uses), "datasets")
    return uses


def use_to(use: digests.Use) -> pb.Use:
    return pb.Use(
        dataset=use.dataset, version=use.version, epoch=use.epoch, leave_site_out=use.leave_site_out
    )
