"""A release from the hospitals' vectors to their result: exact, once, and after a crash the same."""

import os
import secrets
import signal
from dataclasses import replace

import numpy as np
import pytest

from consilium_errors import Hostile, Misuse, Unavailable
from crypto import envelopes
from crypto.identity import AgentKey
from crypto.mpc import opening, sharing
from crypto.mpc.links import Links
from tests.crypto.mpc.release import BOUND, D, Fixed, Fresh, check, commitments, read, total, vectors
from tests.crypto.mpc.stand import Committee, Round, Seat, codes, compute, outcome, round_of, upload


def test_a_checked_sum_is_exact_and_proven_by_the_commitments(committee: Committee):
    long = vectors(1, 9)[0] * 50
    round_ = round_of(committee, [*vectors(), long], bound=BOUND)
    outputs = committee.play(compute, round_)
    opened = [read(round_, outputs, reader) for reader in (0, 1)]
    kept = tuple(org for org in round_.terms.orgs if not np.array_equal(round_.vectors[org], long))
    assert opened[0].accepted == opened[1].accepted == kept
    assert np.array_equal(opened[0].total, total(round_, kept))
    assert np.array_equal(opened[0].total, opened[1].total)
    check(round_, opened[0])
    with pytest.raises(Hostile, match="open"):
        opening.open_outputs(round_.terms, outputs, round_.terms.orgs[0], envelopes.generate()[0])


def test_the_committee_cannot_read_what_it_computes(committee: Committee):
    round_ = round_of(committee, vectors())
    outputs = committee.play(compute, round_)
    org = next(iter(round_.readers))
    for seat in committee.seats:
        with pytest.raises(Hostile):
            opening.open_outputs(round_.terms, outputs, org, seat.hpke)
    with pytest.raises(Hostile) as e:
        opening.open_outputs(round_.terms, outputs, round_.terms.orgs[-1], round_.readers[org])
    assert e.value.code == "mpc.outputs"  # no key for an organisation that is no recipient


def test_noise_comes_after_the_check_and_inside_the_proof(committee: Committee):
    round_ = round_of(committee, vectors(), bound=BOUND, noisy=True)
    opened = read(round_, committee.play(compute, round_, Fixed))
    noise = sum(Fixed(rank).draw(D) for rank in range(3))
    assert np.array_equal(opened.total, total(round_, round_.terms.orgs) + noise)
    assert len(opened.noise) == 3
    check(round_, opened)


def test_a_retry_reuses_the_noise_and_opens_the_same(committee: Committee):
    round_ = round_of(committee, vectors(), bound=BOUND, noisy=True)
    first = read(round_, committee.play(compute, round_, Fresh))
    again = {
        org: upload(committee, round_.terms.plan_hash, org, u, round_.randomness[org])
        for org, u in round_.vectors.items()
    }
    for retry in (round_, round_.with_uploads(again)):
        opened = read(retry, committee.play(compute, retry, Fresh))
        assert np.array_equal(opened.total, first.total)
        check(retry, opened)


@pytest.mark.parametrize(("method", "cut"), [("median", 0), ("trimmed", 1)])
def test_median_and_trimmed_mean_over_what_was_accepted(committee: Committee, method, cut):
    huge = np.full(D, 1 << 40, np.int64)
    round_ = round_of(committee, [*vectors(), huge], bound=BOUND, method=method, cut=cut)
    opened = read(round_, committee.play(compute, round_))
    rows = np.stack([round_.vectors[org] for org in opened.accepted])
    assert len(rows) == 4
    expected = np.median(rows, axis=0) if method == "median" else np.sort(rows, axis=0)[1:-1].mean(axis=0)
    assert np.array_equal(opened.total / opened.divisor, expected)
    with pytest.raises(Misuse):
        check(round_, opened)


# Hospitals that send something else than they should.


def test_a_malformed_upload_is_left_out_and_the_rest_is_summed(committee: Committee):
    round_ = round_of(committee, vectors(5), bound=BOUND)
    first, second = round_.terms.orgs[:2]
    garbled = replace(round_.uploads[first], envelopes=(*round_.uploads[first].envelopes[:2], b"garbage"))
    broken = round_.with_uploads({**round_.uploads, first: garbled})
    opened = read(broken, committee.play(compute, broken))
    assert opened.accepted == round_.terms.orgs[1:]
    check(broken, opened)
    assert np.array_equal(opened.total, total(round_, round_.terms.orgs[1:]))
    assert second in opened.accepted


def test_seeds_that_two_members_hold_differently_are_found(committee: Committee):
    """Else the vector that is checked would not be the one that is summed."""
    round_ = round_of(committee, vectors())
    org = round_.terms.orgs[2]
    good = sharing.share(round_.vectors[org], round_.randomness[org])
    for rank in range(3):
        plaintexts = list(good.plaintexts)
        plaintexts[rank] = secrets.token_bytes(32) + plaintexts[rank][32:]
        split = replace(good, plaintexts=tuple(plaintexts))
        sealed = sharing.seal(split, round_.terms.plan_hash, org, committee.public)
        broken = round_.with_uploads({**round_.uploads, org: sealed})
        committee.forget()
        outputs = committee.play(compute, broken)
        assert outputs[0].bad == b"\0\0\1\0"
        assert read(broken, outputs).accepted == tuple(o for o in round_.terms.orgs if o != org)


def test_a_share_that_is_not_what_was_committed_to_is_found(committee: Committee):
    round_ = round_of(committee, vectors(), bound=BOUND)
    posted = commitments(round_)
    org = round_.terms.orgs[1]
    other = round_.vectors[org].copy()
    other[4] += 1
    sealed = upload(committee, round_.terms.plan_hash, org, other, round_.randomness[org])
    lying = round_.with_uploads({**round_.uploads, org: sealed})
    opened = read(lying, committee.play(compute, lying))
    with pytest.raises(Hostile) as e:
        check(lying, opened, posted)
    assert e.value.code == "commitment.mismatch"


def test_bytes_that_no_receipt_signs_end_the_job(committee: Committee):
    """A coordinator that swaps an upload must not be able to have a hospital left out."""
    round_ = round_of(committee, vectors())
    org = round_.terms.orgs[0]
    swapped = {**round_.uploads, org: replace(round_.uploads[org], blob=bytes(8 * D))}
    assert codes(committee.play(compute, replace(round_, uploads=swapped))) == ["mpc.upload"] * 3


def test_a_replayed_upload_of_another_plan_is_left_out(committee: Committee):
    old, new = (round_of(committee, vectors(4), bound=BOUND) for _ in range(2))
    org, victim = new.terms.orgs[0], old.terms.orgs[0]
    replayed = new.with_uploads({**new.uploads, org: old.uploads[victim]})
    opened = read(replayed, committee.play(compute, replayed))
    assert org not in opened.accepted


# What a release may open, and only once.


def test_a_release_opens_one_set(committee: Committee):
    round_ = round_of(committee, vectors(5), bound=BOUND)
    read(round_, committee.play(compute, round_))
    fewer = tuple(round_.terms.orgs[1:])
    smaller = replace(
        round_.terms,
        orgs=fewer,
        upload_hashes=round_.terms.upload_hashes[1:],
        lock_id=secrets.token_bytes(32),
    )
    uploads = {org: round_.uploads[org] for org in fewer}
    assert (
        codes(committee.play(compute, replace(round_, terms=smaller, uploads=uploads)))
        == ["mpc.other_set"] * 3
    )


def test_a_hospital_cannot_leave_on_a_retry(committee: Committee):
    round_ = round_of(committee, vectors(5), bound=BOUND)
    read(round_, committee.play(compute, round_))
    org = round_.terms.orgs[0]
    gone = replace(round_.uploads[org], envelopes=(b"x", b"y", b"z"))
    retry = round_.with_uploads({**round_.uploads, org: gone})
    found = codes(committee.play(compute, retry))
    assert "mpc.accepted_changed" in found
    assert set(found) <= {"mpc.accepted_changed", "mpc.peer_lost"}


def test_too_few_accepted_or_another_set_than_the_first_opens_nothing(committee: Committee):
    round_ = round_of(committee, [*vectors(3), vectors(1)[0] * 1000], bound=BOUND, minimum=4)
    assert set(codes(committee.play(compute, round_))) <= {"mpc.too_few", "mpc.peer_lost"}
    round_ = round_of(committee, vectors(4), bound=BOUND)
    fixed = replace(round_.terms, only=round_.terms.orgs[:3])
    committee.forget()
    found = codes(committee.play(compute, replace(round_, terms=fixed)))
    assert set(found) <= {"mpc.set_fixed", "mpc.peer_lost"}
    assert "mpc.set_fixed" in found


def die_at(links: Links, seat: Seat, round_: Round, slot: str):
    """Member 1 is killed in the moment in which it has stored ``slot``."""
    if seat.rank == 1:
        journal = seat.journal
        put = journal.put

        def last(name: str, body: bytes) -> None:
            put(name, body)
            if name.startswith(slot):
                os.kill(os.getpid(), signal.SIGKILL)

        journal.put = last  # type: ignore[method-assign]
        from crypto.mpc import job

        member = job.Member(AgentKey.from_bytes(seat.key), seat.hpke)
        return job.run(
            round_.terms, member, round_.uploads, round_.recipients, links, journal, Fresh(seat.rank)
        )
    return compute(links, seat, round_, Fresh)


@pytest.mark.parametrize(
    "slot",
    ["accepted", *(pytest.param(s, marks=pytest.mark.slow) for s in ("set", "noise", "coin/", "coins/"))],
)
def test_killed_at_every_record_and_run_again(committee: Committee, slot):
    round_ = round_of(committee, vectors(), bound=BOUND, noisy=True)
    with committee.started(die_at, round_, slot, timeout_s=20) as jobs:
        found = [outcome(job) for job in jobs]
    assert all(isinstance(f, Unavailable) for f in found), found
    opened = read(round_, committee.play(compute, round_, Fresh))
    assert np.array_equal(opened.total - total(round_, round_.terms.orgs), noise_kept(committee))
    check(round_, opened)


def noise_kept(committee: Committee) -> np.ndarray:
    return sum(np.frombuffer(seat.journal.get("noise") or b"", "<i8", offset=32) for seat in committee.seats)


def test_outputs_of_two_runs_do_not_mix(committee: Committee):
    round_ = round_of(committee, vectors(), bound=BOUND)
    first, second = committee.play(compute, round_), committee.play(compute, round_)
    assert np.array_equal(read(round_, first).total, read(round_, second).total)
    for mixed in ([first[0], *second[1:]], [second[0], first[1], second[2]]):
        with pytest.raises(Hostile) as e:
            read(round_, mixed)
        assert e.value.code == "mpc.members_disagree"
