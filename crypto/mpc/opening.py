"""Step 14 at a hospital: three outputs become one result, or somebody is at fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from consilium_errors import Hostile, Misuse
from crypto import envelopes, identity
from crypto.commitments import Q
from crypto.mpc.prg import I64, U64
from crypto.mpc.sharing import reconstruct
from crypto.mpc.words import PARTIES, Output, Terms, output_digest, payload_aad, tagged

#: Checks (X, R, commitments), as `crypto.commitments.Pedersen.verify_sum`; Hostile ``commitment.*``.
VerifySum = Callable[[U64, int, Sequence[bytes]], None]


@dataclass(frozen=True)
class Opened:
    """What the committee computed.

    Args:
        total: int64 (length,); for a median or trimmed mean, to be divided by ``divisor``.
        randomness: the sum of the commitments' randomness mod q.
        accepted: the hospitals that are in it, ascending.
        noise: commitments to the members' noise, or none.
    """

    total: I64
    divisor: int
    randomness: int
    accepted: tuple[bytes, ...]
    noise: tuple[bytes, ...]


def open_outputs(terms: Terms, outputs: Sequence[Output], org: bytes, secret: bytes) -> Opened:
    """The result for hospital ``org``, whose HPKE secret is ``secret``.

    A sum is proven only by `check_sum`; a median and a trimmed mean rest on the committee.

    Raises:
        Hostile: ``mpc.outputs`` unless there is one from each member, ``signature.*``, ``mpc.members_disagree``
            if they speak of different runs, sets or noise, ``envelope.open``, ``mpc.share``.
    """
    ordered = _by_member(terms, outputs)
    for output in ordered:
        common = output.run, output.bad, output.accepted, output.noise
        digest = output_digest(terms, output.member, common, output.payload, output.keys)
        identity.verify(digest, output.signature, output.member)
    if any(output.common() != ordered[0].common() for output in ordered):
        raise Hostile("mpc.members_disagree", "the three outputs are not of one run")
    accepted = _accepted(terms, ordered[0])
    shares = [_open_one(terms, output, org, secret) for output in ordered]
    total = reconstruct([share for share, _ in shares])
    randomness = sum(r for _, r in shares) % Q
    return Opened(total, _divisor(terms, len(accepted)), randomness, accepted, ordered[0].noise)


def as_sum(opened: Opened) -> Opened:
    """A median or trimmed mean as the sum that as many hospitals as are in it would make: what analyses expect.

    Rounded to the nearest grid unit, ties upwards, in integers; a median needs no rounding.
    """
    parties, divisor = len(opened.accepted), opened.divisor
    total = (2 * opened.total * parties + divisor) // (2 * divisor)
    return replace(opened, total=total, divisor=1, randomness=0)


def check_sum(
    terms: Terms,
    opened: Opened,
    commitments: Mapping[bytes, bytes],
    verify: VerifySum,
    *,
    offset: int | U64,
    noise_offset: int = 0,
) -> None:
    """Nothing if the opened sum is the sum of what the accepted hospitals and the members committed to.

    Args:
        commitments: by hospital, as in the plan: to u + ``offset``, one number or one for each field.
        noise_offset: what each member adds to its noise before committing.

    Raises:
        Hostile: ``mpc.out_of_range``, ``commitment.*``: one member or hospital lied, and a dispute finds who.
        Misuse: ``mpc.method`` for anything but a sum.
    """
    if terms.method != "sum":
        raise Misuse("mpc.method", "a median has no sum of commitments: it rests on the committee")
    total = fields(opened, offset, noise_offset)
    posted = [*(commitments[org] for org in opened.accepted), *opened.noise]
    verify(total, opened.randomness, posted)


def fields(opened: Opened, offset: int | U64, noise_offset: int = 0) -> U64:
    """The total with its offsets put back, uint64 (length,), as hospitals encode what they commit to.

    Raises:
        Hostile: ``mpc.out_of_range`` for what no accepted inputs make.
    """
    shift = np.asarray(offset, np.uint64).astype(np.int64) * np.int64(len(opened.accepted))
    shift = shift + np.int64(len(opened.noise) * noise_offset)
    if (opened.total < -shift).any() or int(opened.total.max()) > (1 << 62):
        raise Hostile("mpc.out_of_range", "a total that no sum of accepted inputs reaches")
    return (opened.total + shift).astype(np.uint64)


def _by_member(terms: Terms, outputs: Sequence[Output]) -> list[Output]:
    found = {output.member: output for output in outputs}
    if len(outputs) != PARTIES or set(found) != set(terms.members):
        raise Hostile("mpc.outputs", "one output of each member is needed")
    return [found[member] for member in terms.members]


def _accepted(terms: Terms, output: Output) -> tuple[bytes, ...]:
    flags, bad = output.accepted, output.bad
    if len(flags) != len(bad) or len(flags) != len(terms.orgs) or max(*flags, *bad) > 1:
        raise Hostile("mpc.members_disagree", "a set that is not of this lock")
    accepted = tuple(org for org, yes in zip(terms.orgs, flags, strict=True) if yes)
    wrong = any(yes and out for yes, out in zip(flags, bad, strict=True))
    if wrong or len(accepted) < terms.minimum or (terms.only is not None and accepted != terms.only):
        raise Hostile("mpc.members_disagree", "a set that the terms forbid")
    if len(output.noise) != (PARTIES if terms.noisy else 0):
        raise Hostile("mpc.members_disagree", "noise that the terms do not ask for, or none where they do")
    return accepted


def _open_one(terms: Terms, output: Output, org: bytes, secret: bytes) -> tuple[U64, int]:
    aad = payload_aad(terms, output.member, output.run)
    if org not in output.keys:
        raise Hostile("mpc.outputs", "an output without a key for this hospital")
    key = envelopes.open_sealed(secret, tagged("key", aad, org), output.keys[org])
    if len(key) != envelopes.ONCE_KEY_BYTES:
        raise Hostile("mpc.share", "a key of another length")
    body = envelopes.open_once(key, aad, output.payload)
    if len(body) != 8 * terms.length + 32:
        raise Hostile("mpc.share", "a share of another length")
    share = np.frombuffer(body, "<u8", terms.length)
    return share, int.from_bytes(body[8 * terms.length :], "big") % Q


def _divisor(terms: Terms, n: int) -> int:
    if terms.method == "median":
        return 2 - n % 2
    return n - 2 * terms.cut if terms.method == "trimmed" else 1
