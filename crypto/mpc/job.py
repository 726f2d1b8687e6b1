"""One member's part in one release: steps 8 to 13 of the MPC round. One job is one process.

Rules
* The terms and the lock were checked on the member's own nodes before; here begins what bytes can show.
* Kept for good, per release (study, round, k), before anything depends on it: `set` (who, with which committed
  inputs, by which rules), `accepted`, `noise` with its commitment's randomness; and per lock: the coin. A retry
  that would open another set is refused, so no two openings of a release can be subtracted from one another.
* Steps: open the envelopes; greet; compare seeds, join the bad bits, sign; coin; check; sign what is accepted;
  only then compute the output. A member that has signed `accepted` has stored it, and no output leaves before
  all three have signed.
* An error anywhere ends the job and loses nothing: run it again from the stored uploads. A repeated run makes
  fresh zero-shares, hence another `run` name; outputs of one name belong together.
* A hospital's malformed upload is its own bad bit. Bytes that do not match its receipt are not its doing: they end
  the job (Hostile ``mpc.upload``).

What is trusted: that at most one member is corrupted; and, of that one, that it computes the check as it says
(semi-honest). A false output, set, coin or noise commitment of one member is found out: by the signatures here, or by
the commitments' sum at the hospitals (`opening`). For a median there is no such sum.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from consilium_errors import Hostile, Misuse, Refused
from crypto import envelopes
from crypto.commitments import POINT_BYTES, Q, random_scalar
from crypto.identity import AgentKey
from crypto.mpc import checks, robust, seam
from crypto.mpc.agreement import Table
from crypto.mpc.links import Links
from crypto.mpc.prg import I64, U64
from crypto.mpc.sharing import Held, Upload, add_own, open_upload, own_matrix
from crypto.mpc.words import Journal, Output, Terms, bitmap, keep, output_digest, payload_aad, tagged


@dataclass(frozen=True)
class Member:
    """A member's own secrets: agent key, and the HPKE secret that envelopes are sealed to."""

    key: AgentKey
    secret: bytes

    def __repr__(self) -> str:
        return f"Member(0x{self.key.address.hex()})"


@dataclass(frozen=True)
class NoiseSource:
    """How a member draws its noise under differential privacy; drawn once per release.

    Args:
        draw: ``n`` fresh integers, int64 (n,).
        offset: added before committing, so that fields are not negative.
        commit: Pedersen commitment to uint64 (n,) under a scalar.
    """

    draw: Callable[[int], I64]
    offset: int
    commit: Callable[[U64, int], bytes]


@dataclass(frozen=True)
class _Noise:
    values: I64
    blinding: int
    commitment: bytes


def run(
    terms: Terms,
    member: Member,
    uploads: Mapping[bytes, Upload],
    recipients: Mapping[bytes, bytes],
    links: Links,
    journal: Journal,
    noise: NoiseSource | None = None,
) -> Output:
    """Compute this member's output.

    Args:
        uploads: by hospital, as they came; recipients: HPKE public keys of those who may open the result.
        journal: of this release. noise: None in exact mode.

    Raises:
        Refused: ``mpc.other_set``, ``mpc.accepted_changed``, ``mpc.too_few``, ``mpc.set_fixed``,
            ``mpc.other_terms``, ``mpc.coin_changed``, ``mpc.stock_part``.
        Hostile: ``mpc.upload``, ``mpc.members_disagree``, ``mpc.coin``, ``mpc.frame``, ``envelope.public_key``.
        Unavailable: ``mpc.silent_peer``, ``mpc.peer_lost``: run again.
        Misuse: ``mpc.noise``, ``mpc.members``.
    """
    _check_rules(terms, noise)
    keep(journal, "set", terms.set_digest(), "mpc.other_set")
    table = Table(terms, links, member.key, journal)
    held = _open_uploads(terms, member, uploads, links.rank)
    own_noise = _noise(terms, noise, journal)
    name = table.greet()
    bad = table.bad_inputs(name, held)
    good = [held[org] for org, out in zip(terms.orgs, bad, strict=True) if not out]
    if len(good) < terms.minimum:
        raise Refused("mpc.too_few", f"{len(good)} readable uploads; {terms.minimum} are needed")
    engine = seam.start(links)
    try:
        found, verdicts = _check(engine, table, good)
        accepted = _spread(bad, verdicts)
        commitments = _settle(table, accepted, own_noise)
        chosen = [h for h, yes in zip(good, verdicts, strict=True) if yes]
        share = _combine(engine, terms, chosen, found, good, verdicts)
        blinding = sum(h.blinding for h in chosen) + engine.zero_scalar(Q)
        share = share + engine.zero(terms.length)
    finally:
        engine.close()
    if own_noise is not None:
        share = share + own_noise.values.view(np.uint64)
        blinding += own_noise.blinding
    common = (name, bitmap(bad), bitmap(accepted), commitments)
    return _sealed(terms, member, common, share, blinding % Q, recipients)


def _check_rules(terms: Terms, noise: NoiseSource | None) -> None:
    if terms.bound is not None:
        checks.check_bound(terms.bound, terms.length)
    if terms.noisy != (noise is not None):
        raise Misuse("mpc.noise", "the terms and the source of noise say different things")


def _open_uploads(
    terms: Terms, member: Member, uploads: Mapping[bytes, Upload], rank: int
) -> dict[bytes, Held]:
    held = {}
    for org, receipt in zip(terms.orgs, terms.upload_hashes, strict=True):
        if org not in uploads or uploads[org].digest() != receipt:
            raise Hostile("mpc.upload", f"not the upload that 0x{org.hex()} signed")
        try:
            held[org] = open_upload(
                uploads[org],
                rank,
                member.secret,
                plan_hash=terms.plan_hash,
                org=org,
                member=terms.members[rank],
                length=terms.length,
            )
        except Hostile:
            continue  # its bad bit
    return held


def _noise(terms: Terms, source: NoiseSource | None, journal: Journal) -> _Noise | None:
    """This release's noise: stored before it is committed to, and never drawn again."""
    stored = journal.get("noise")
    if source is None:
        return None
    if stored is None:
        fresh = source.draw(terms.length)
        if fresh.dtype != np.int64 or fresh.shape != (terms.length,):
            raise Misuse(
                "mpc.noise", f"expected int64[{terms.length}], found {fresh.dtype}{list(fresh.shape)}"
            )
        stored = random_scalar().to_bytes(32, "big") + fresh.astype("<i8", copy=False).tobytes()
        journal.put("noise", stored)
    blinding, values = int.from_bytes(stored[:32], "big"), np.frombuffer(stored, "<i8", offset=32)
    if int(values.min()) < -source.offset:
        raise Misuse("mpc.noise", "noise below its offset", "an offset of at least 12 deviations")
    shifted = (values + source.offset).astype(np.uint64)
    return _Noise(values, blinding, source.commit(shifted, blinding))


def _check(engine: seam.Engine, table: Table, good: Sequence[Held]) -> tuple[checks.Scan | None, list[bool]]:
    bound = table.terms.bound
    if bound is None:
        return None, [True] * len(good)
    found = checks.scan(good, table.terms.length, table.coin())
    return found, checks.accepted(engine, found, bound)


def _spread(bad: Sequence[bool], verdicts: Sequence[bool]) -> list[bool]:
    """Verdicts over the readable uploads as flags over the locked set."""
    waiting = iter(verdicts)
    return [not out and next(waiting) for out in bad]


def _settle(table: Table, accepted: list[bool], noise: _Noise | None) -> tuple[bytes, ...]:
    """Store what is accepted, then sign it together with everybody's noise commitment.

    Raises:
        Refused: ``mpc.too_few``, ``mpc.set_fixed``, ``mpc.accepted_changed``. Hostile: ``mpc.members_disagree``.
    """
    terms = table.terms
    orgs = tuple(org for org, yes in zip(terms.orgs, accepted, strict=True) if yes)
    if len(orgs) < terms.minimum:
        raise Refused("mpc.too_few", f"{len(orgs)} accepted vectors; {terms.minimum} are needed")
    if terms.only is not None and orgs != terms.only:
        raise Refused("mpc.set_fixed", "an exact analysis opens one set; this one is another")
    keep(table.journal, "accepted", bitmap(accepted), "mpc.accepted_changed")
    commitments: tuple[bytes, ...] = ()
    if noise is not None:
        found = table.links.exchange(noise.commitment, POINT_BYTES)
        commitments = tuple(found[rank] for rank in sorted(found))
    table.confirm("accepted set", tagged("accepted", bitmap(accepted), *commitments))
    return commitments


def _combine(
    engine: seam.Engine,
    terms: Terms,
    chosen: Sequence[Held],
    found: checks.Scan | None,
    good: Sequence[Held],
    verdicts: Sequence[bool],
) -> U64:
    if terms.method == "median":
        return robust.median(engine, own_matrix(chosen, terms.length))[0]
    if terms.method == "trimmed":
        return robust.trimmed_sum(engine, own_matrix(chosen, terms.length), terms.cut)[0]
    if found is None:
        return add_own(chosen, terms.length)
    return checks.sum_accepted(found, good, verdicts)


def _sealed(
    terms: Terms,
    member: Member,
    common: tuple[bytes, bytes, bytes, tuple[bytes, ...]],
    share: U64,
    blinding: int,
    recipients: Mapping[bytes, bytes],
) -> Output:
    """Seal the share to the recipients; the committee passes it on and cannot read it."""
    run_name, bad, accepted, commitments = common
    address = member.key.address
    aad = payload_aad(terms, address, run_name)
    key = secrets.token_bytes(envelopes.ONCE_KEY_BYTES)
    body = share.astype("<u8", copy=False).tobytes() + blinding.to_bytes(32, "big")
    payload = envelopes.seal_once(key, aad, body)
    keys = {org: envelopes.seal(public, tagged("key", aad, org), key) for org, public in recipients.items()}
    signature = member.key.sign(output_digest(terms, address, common, payload, keys))
    return Output(address, run_name, bad, accepted, commitments, payload, keys, signature)
