"""One member lies, and is found out."""

from dataclasses import replace

import numpy as np
import pytest

from consilium_errors import Hostile
from crypto.mpc.links import Links
from crypto.mpc.words import Output
from tests.crypto.mpc.release import BOUND, OFFSET, D, Fixed, check, read, vectors
from tests.crypto.mpc.stand import Committee, Round, Seat, codes, compute, round_of


def liar(links: Links, seat: Seat, round_: Round, lie: str):
    """Member 1 does as ``lie`` says; the others are honest."""
    from crypto.mpc import agreement, job

    if seat.rank != 1:
        return compute(links, seat, round_, Fixed)
    if lie == "output":
        combine = job._combine
        job._combine = lambda *a: combine(*a) + np.eye(1, D, 5, dtype=np.uint64)[0]
    elif lie == "noise":
        noise = job._noise
        job._noise = lambda *a: replace(found := noise(*a), values=found.values + 1)
    elif lie == "terms":
        round_ = replace(round_, terms=replace(round_.terms, bound=BOUND * 2))
    elif lie == "coin":
        keep_real = agreement.keep
        agreement.keep = lambda *a: (keep_real(*a), two_faced(links, 32, alike=True))[0]
    else:
        sizes = {"bad bits": len(round_.terms.orgs), "verdicts": 8 * len(round_.terms.orgs), "commitment": 48}
        two_faced(links, sizes[lie])
    return compute(links, seat, round_, Fixed)


def two_faced(links: Links, size: int, alike: bool = False) -> None:
    """From now on frames of ``size`` bytes reach member 2 (or both) with their first bit flipped."""
    send = links.send

    def altered(peer, body):
        raw = bytes(body)
        if len(raw) == size and (alike or peer == 2):
            raw = bytes([raw[0] ^ 1]) + raw[1:]
        send(peer, raw)

    links.send = altered  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ("terms", "mpc.other_terms"),
        ("bad bits", "mpc.members_disagree"),
        ("coin", "mpc.coin"),
        ("verdicts", "mpc.members_disagree"),
        ("commitment", "mpc.members_disagree"),
    ],
)
def test_a_member_that_says_two_things_is_found_before_anything_opens(committee: Committee, lie, code):
    # with five hospitals no other frame is as long as the one that is altered
    round_ = round_of(committee, vectors(5), bound=BOUND, noisy=True)
    found = committee.play(liar, round_, lie)
    assert not any(isinstance(f, Output) for f in found)
    honest = [found[0], found[2]]
    assert code in codes(honest)
    # whoever notices first leaves; the other may see no more than that
    assert set(codes(honest)) <= {code, "mpc.peer_lost"}


@pytest.mark.parametrize("lie", ["output", "noise"])
def test_a_false_output_is_found_by_the_commitments(committee: Committee, lie):
    round_ = round_of(committee, vectors(), bound=BOUND, noisy=True)
    opened = read(round_, committee.play(liar, round_, lie))
    with pytest.raises(Hostile) as e:
        check(round_, opened)
    assert e.value.code == "commitment.mismatch"


def test_a_coin_cannot_be_thrown_again(committee: Committee):
    round_ = round_of(committee, vectors(), bound=BOUND)
    read(round_, committee.play(compute, round_))
    for file in committee.seats[1].folder.glob("coin*"):
        file.unlink()  # the liar forgets what it committed to
    found = committee.play(compute, round_)
    assert codes([found[0], found[2]]) != ["done", "done"]
    assert "mpc.coin_changed" in codes([found[0], found[2]])


def test_altered_outputs_are_refused(committee: Committee):
    round_ = round_of(committee, vectors(), bound=BOUND)
    outputs = committee.play(compute, round_)
    first = outputs[0]
    org = next(iter(round_.readers))
    flipped = bytes([first.payload[0] ^ 1]) + first.payload[1:]
    foreign = bytes(20)
    for other in (
        replace(first, payload=flipped),
        replace(first, run=bytes(32)),
        replace(first, accepted=bytes([0]) + first.accepted[1:]),
        replace(first, bad=bytes([1]) + first.bad[1:]),
        replace(first, noise=(bytes(48),) * 3),
        replace(first, keys={**first.keys, org: first.keys[org][:-1] + b"x"}),
        replace(first, member=foreign),
        replace(first, signature=outputs[1].signature),
    ):
        with pytest.raises(Hostile):
            read(round_, [other, *outputs[1:]])
    for wrong in ([], outputs[:2], [*outputs, first], [first, first, outputs[2]]):
        with pytest.raises(Hostile) as e:
            read(round_, wrong)
        assert e.value.code == "mpc.outputs"
    other_terms = replace(round_, terms=replace(round_.terms, bound=BOUND + 1))
    with pytest.raises(Hostile) as e:
        read(other_terms, outputs)
    assert e.value.code.startswith("signature.")


def test_a_total_out_of_range_is_refused_before_the_commitments(committee: Committee):
    round_ = round_of(committee, vectors())
    opened = read(round_, committee.play(compute, round_))
    for value in (-(1 << 63), -len(opened.accepted) * OFFSET - 1, (1 << 62) + 1):
        wrong = opened.total.copy()
        wrong[0] = value
        with pytest.raises(Hostile) as e:
            check(round_, replace(opened, total=wrong))
        assert e.value.code == "mpc.out_of_range"
