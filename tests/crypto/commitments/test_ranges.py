"""Proofs of range: true ones pass, and whoever committed beyond the range cannot make one."""

import os
from hashlib import shake_256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilium_errors import Error, Misuse
from crypto.commitments import Generators, Pedersen, Q, random_scalar, ranges, scalars
from crypto.commitments.ranges import Range

BITS = 6  # of a value: proofs stay small, and every bit is in play
CONTEXT = b"lock and organisation"


def stream(seed):
    return lambda n: shake_256(seed).digest(n)


class One:
    """A commitment to 13 fields in three scalars, and true statements about it."""

    def __init__(self, pedersen, fill=None):
        self.pedersen = pedersen
        self.u = np.random.default_rng(1).integers(0, 1 << BITS, 13).astype(np.uint64)
        self.u[12] |= np.uint64(1)
        if fill is not None:
            self.u[:] = fill
        self.r = random_scalar()
        self.c = pedersen.commit(self.u, self.r)
        self.value = int(self.u[3]) + (int(self.u[12]) << BITS)
        self.what = Range((0, 2), BITS, (3, 12), self.value + 5)

    def prove(self, what=None, context=CONTEXT, seed=None):
        random = os.urandom if seed is None else stream(seed)
        return ranges.prove(self.pedersen, what or self.what, context, (self.u, self.r), random)

    def verify(self, proof, what=None, context=CONTEXT, c=None):
        ranges.verify(self.pedersen, what or self.what, context, c or self.c, proof)


@pytest.fixture(scope="module")
def one(generators):
    return One(Pedersen(13, 44, generators))


@pytest.fixture(scope="module")
def proof(one):
    return one.prove()


def code_of(call):
    with pytest.raises(Error) as e:
        call()
    return e.value.code


def test_true_statements_are_proven(one, proof):
    one.verify(proof)
    assert len(proof) == ranges.proof_bytes(one.pedersen, one.what)
    for what in (Range((1,), BITS), Range((0, 1, 2), BITS + 3), Range((2,), BITS, (12,), int(one.u[12]))):
        one.verify(one.prove(what), what)


def test_the_other_library_verifies_and_makes_the_same(one, library, generators):
    other = One(Pedersen(13, 44, generators, using=library))
    other.r, other.c = one.r, one.c
    small = Range((2,), BITS)
    made = one.prove(small, seed=b"x")
    other.verify(made, small)
    assert other.prove(small, seed=b"x") == made


@pytest.mark.parametrize(("fill", "most"), [(0, 0), (0, (1 << BITS) - 1), ((1 << BITS) - 1, (1 << BITS) - 1)])
def test_values_at_the_ends_of_the_range(generators, fill, most):
    one = One(Pedersen(13, 44, generators), fill)
    what = Range((0,), BITS, (1,), most)
    one.verify(one.prove(what), what)


def test_nothing_else_is_proven_by_it(one, proof):
    u = one.u.copy()
    u[0] ^= np.uint64(1)
    other = one.pedersen.commit(u, one.r)
    assert code_of(lambda: one.verify(proof, c=other)) == "range.proof"
    assert code_of(lambda: one.verify(proof, context=b"another lock")) == "range.proof"
    tighter = Range(one.what.rows, BITS, one.what.limbs, one.what.most - 1)
    assert code_of(lambda: one.verify(proof, tighter)) == "range.sum"
    assert code_of(lambda: one.verify(proof, Range((0, 1), BITS, (3, 8), one.what.most))) == "range.length"
    assert code_of(lambda: one.verify(proof, Range((0, 2), BITS, (4, 12), one.what.most))) == "range.sum"


@pytest.mark.parametrize("limbs", [(), (3, 12)])
def test_a_false_statement_is_not_proven_by_the_honest_program(one, limbs):
    beyond = Range((0, 2), BITS, (3, 12), one.value - 1) if limbs else Range((0, 2), BITS - 3)
    assert code_of(lambda: one.prove(beyond)) == "range.false"


def cheated(one, committed, pretended, what, monkeypatch):
    """The prover's program, made to open C by ``committed`` while its bits are those of ``pretended``."""
    held = one.pedersen.scalars(committed)
    with monkeypatch.context() as patch:
        patch.setattr(one.pedersen, "scalars", lambda u: held)
        return ranges.prove(one.pedersen, what, CONTEXT, (pretended, one.r), os.urandom)


def test_bits_of_another_value_than_the_committed_one(one, monkeypatch):
    """A field of 2^40 behind C, shown as the bits of a small one: the link to C fails."""
    u = one.u.copy()
    u[12] = 1 << 40
    c = one.pedersen.commit(u, one.r)
    what = Range((2,), BITS)
    with pytest.raises(Misuse):
        ranges.prove(one.pedersen, what, CONTEXT, (u, one.r), os.urandom)
    forged = cheated(one, u, one.u, what, monkeypatch)
    assert code_of(lambda: one.verify(forged, what, c=c)) == "range.proof"
    one.verify(cheated(one, one.u, one.u, what, monkeypatch), what)  # the same program with nothing to hide


def committing(monkeypatch, at, digit):
    """The prover's ``at``-th bit commitment holds another number than the bit that it proves."""
    original, calls = ranges._Group.commit, []

    def commit(self, value, blind):
        calls.append(value)
        return original(self, digit if len(calls) == at + 1 else value, blind)

    monkeypatch.setattr(ranges._Group, "commit", commit)


@pytest.mark.parametrize("digit", [2, Q - 1, 1 << 40])
def test_a_bit_that_is_two_is_no_bit(one, monkeypatch, digit):
    what = Range((2,), BITS)
    with monkeypatch.context() as patch:
        committing(patch, 0, digit)
        forged = one.prove(what)
    assert code_of(lambda: one.verify(forged, what)) == "range.proof"


def test_the_rest_to_the_bound_cannot_be_negative(one, monkeypatch):
    """A value one above the bound: the commitments add up with a rest of -1, which is no bit."""
    value = int(one.u[12])
    assert value & 1  # so that the bound below has as many bits
    real, false = Range((2,), BITS, (12,), value), Range((2,), BITS, (12,), value - 1)
    challenge = ranges._challenge
    with monkeypatch.context() as patch:
        committing(patch, 3 * BITS, Q - 1)
        patch.setattr(ranges, "_challenge", lambda what, *rest: challenge(false, *rest))
        forged = one.prove(real)
    assert code_of(lambda: one.verify(forged, false)) == "range.proof"
    one.verify(one.prove(real), real)


def test_proofs_of_one_commitment_differ_and_tell_nothing_alike(one):
    """No byte of a response repeats: nonces are drawn anew."""
    a, b = one.prove(), one.prove()
    words = [{p[i : i + 32] for i in range(0, len(p) - 31, 32)} for p in (a, b)]
    assert not words[0] & words[1]


def test_the_simulator_makes_a_proof_without_a_witness(one, monkeypatch):
    """Zero knowledge, played: who may choose the challenge first proves even what is false, from random words.

    Its words are distributed as an honest prover's, so theirs tell no more than "in range".
    """
    what, c = Range((1,), BITS), random_scalar()
    u = one.u.copy()
    u[6] = 1 << 43
    false = one.pedersen.commit(u, one.r)
    group, n = ranges._Group(one.pedersen), len(ranges._places(one.pedersen, what))
    bits = [
        ranges._Bit(group.commit(0, random_scalar()), *(random_scalar() for _ in range(3))) for _ in range(n)
    ]
    values = scalars.to_ints(scalars.uniform(os.urandom(32), one.pedersen.rows))
    made = ranges._Proof(c, random_scalar(), [random_scalar()], bits, values).to_bytes()
    assert code_of(lambda: one.verify(made, what, c=false)) == "range.proof"
    monkeypatch.setattr(ranges, "_challenge", lambda *_: c)
    one.verify(made, what, c=false)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_altered_proofs_are_refused(one, proof, data):
    made = bytearray(proof)
    bit = data.draw(st.integers(0, 8 * len(made) - 1))
    made[bit // 8] ^= 1 << bit % 8
    code = code_of(lambda: one.verify(bytes(made)))
    assert code in ("range.proof", "range.sum", "scalars.range", "commitment.point")


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_no_proof(one, data):
    assert code_of(lambda: one.verify(data)) == "range.length"


@pytest.mark.parametrize(
    "what",
    [
        Range((), BITS),
        Range((3,), BITS),
        Range((1, 0), BITS),
        Range((0, 0), BITS),
        Range((0,), 45),
        Range((0,), 0),
        Range((0,), BITS, (5,), 1),  # a field of a scalar that is not shown
        Range((0,), BITS, (1, 1), 1),
        Range((0,), BITS, (1,), 1 << 250),
        Range((0, 1), 44, (0, 1, 2, 3, 4, 5), 1),  # wider than the group's order allows
    ],
)
def test_statements_that_make_no_sense(one, what):
    assert code_of(lambda: one.prove(what)) == "range.statement"
    assert code_of(lambda: one.verify(b"", what)) == "range.statement"


def test_a_full_scalar_of_eleven_fields(cache):
    pedersen = Pedersen(30, 22, Generators.load(1, cache))
    u = np.random.default_rng(5).integers(0, 1 << 20, 30).astype(np.uint64)
    r = random_scalar()
    what = Range((1,), 20)
    proof = ranges.prove(pedersen, what, CONTEXT, (u, r), os.urandom)
    ranges.verify(pedersen, what, CONTEXT, pedersen.commit(u, r), proof)
