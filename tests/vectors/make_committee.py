"""Writes ``tests/vectors/committee.json``: what a second implementation of the committee's words must agree on.

python -m tests.vectors.make_committee
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from crypto.identity import AgentKey
from crypto.mpc import checks, sharing
from crypto.mpc.prg import Stream
from crypto.mpc.words import Terms, method_id, output_digest, payload_aad
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb

FILE = Path(__file__).with_name("committee.json")


def made(name: str, size: int = 32) -> bytes:
    return hashlib.shake_256(f"consilium committee vector {name}".encode()).digest(size)


def terms(**changes: Any) -> Terms:
    orgs = tuple(sorted(made(f"org {i}", 20) for i in range(4)))
    return Terms(
        **{
            "lock_id": made("lock"),
            "plan_hash": made("plan"),
            "inputs_root": made("inputs"),
            "release": digests.committee_release(made("study"), 3, 1),
            "orgs": orgs,
            "upload_hashes": tuple(sharing.upload_digest(made(f"ciphertext {i}")) for i in range(4)),
            "members": tuple(made(f"member {i}", 20) for i in range(3)),
            "length": 5,
            "bound": None,
            "minimum": 3,
            **changes,
        }
    )


def make() -> dict[str, Any]:
    plain, checked = terms(), terms(bound=1000, method="trimmed", cut=1)
    member, run = AgentKey.from_bytes(made("agent")), made("run")
    common = (run, bytes(4), b"\1\1\0\1", ())
    keys = {org: made(f"sealed {org.hex()}", 64) for org in plain.orgs}
    payload = made("payload", 88)
    signed = output_digest(plain, member.address, common, payload, keys)
    plaintext = made("first") + made("second") + (7).to_bytes(32, "big")
    blob = made("blob", 40)
    held = sharing.Held(1, plaintext[:32], plaintext[32:64], 7, blob)
    own, following = held.stream(5).next()
    rows = checks.projection_rows(
        Stream(made("coin")), 2, bytearray(64), np.empty((2, checks.PROJECTIONS // 4, 4))
    )
    upload = sharing.Upload(blob, tuple(made(f"envelope {i}", sharing.ENVELOPE_BYTES) for i in range(3)))
    found = {
        "release": digests.committee_release(made("study"), 3, 1),
        "session": digests.committee_session(made("lock"), 2),
        "result_hash": digests.result_hash(made("salt"), made("sum", 40), made("r"), b"\1\1\0\1"),
        "terms": plain.digest(),
        "terms_checked": checked.digest(),
        "set": plain.set_digest(),
        "set_checked": checked.set_digest(),
        "method_sum": method_id("sum", 0, None, False),
        "method_checked": method_id("sum", 0, 1000, True),
        "method_median": method_id("median", 0, 1000, False),
        "envelope_info": sharing.envelope_info(made("plan"), plain.orgs[0], plain.members[0]),
        "payload_aad": payload_aad(plain, plain.members[0], run),
        "output": signed,
        "output_signature": member.sign(signed),
        "upload": upload.digest(),
        "upload_bytes": hashlib.sha256(upload.to_bytes()).digest(),
        "words": Stream(made("first")).words(4).tobytes(),
        "held_own": own.tobytes(),
        "held_following": following.tobytes(),
        "projections": rows.astype(np.int8).tobytes(),
    }
    return {**{name: value.hex() for name, value in found.items()}, "messages": messages()}


def messages() -> dict[str, str]:
    """One of each kind that only a committee's round has, in its one encoding."""
    lock, org, signature = made("lock"), made("org 0", 20), made("signature", 65)
    ctx = digests.Ctx(
        31337,
        *(made(name, 20) for name in ("registry", "ledger")),
        *(made(name) for name in ("study", "analysis", "spec", "code")),
        *(3, 1, 2),
        *(made(name) for name in ("previous", "state")),
        *(digests.EXACT, 0, 0),
        digests.ZERO32,
    )
    signed = pb.Signed(kind="hello", sender=org, payload=made("payload", 9), signature=signature)
    receipt = pb.Receipt(org=org, ciphertext_digest=made("c"), rho_box=made("point", 48), signature=signature)
    key = pb.SealedKey(org=org, sealed=made("sealed", 80))
    output = pb.Output(
        lock_id=lock,
        org=org,
        run=made("run"),
        bad=bytes(3),
        accepted=b"\1\1\1",
        payload=made("share", 56),
        keys=[key],
        signature=signature,
    )
    every = [
        pb.Inputs(
            ctx=wire.ctx_to(ctx),
            hellos=[signed],
            headers=[signed],
            lock_by=9,
            lock_id=lock,
            receipts=[receipt],
        ),
        pb.Compute(lock_id=lock, number=2),
        pb.JobFailed(lock_id=lock, org=org, number=2, code="mpc.silent_peer"),
        key,
        output,
        pb.Outputs(lock_id=lock, outputs=[signed] * 3),
    ]
    return {message.DESCRIPTOR.name: wire.encode(message).hex() for message in every}


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1) + "\n")
