import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilium_errors import Hostile, Misuse
from crypto.secure_sum import Packing

FIELDS = st.sampled_from([1, 2])


def u64(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


@pytest.mark.parametrize(
    ("parties", "fields", "bits"),
    [
        *[(1, 2, 22), (2, 2, 21), (3, 2, 20), (4, 2, 20), (5, 2, 19), (32, 2, 17), (33, 2, 16), (128, 2, 15)],
        *[(1, 1, 44), (3, 1, 42), (128, 1, 37)],
    ],
)
def test_value_bits(parties, fields, bits):
    assert Packing(10, parties, fields).value_bits == bits


@pytest.mark.parametrize("parties", [*range(3, 18), 31, 32, 33, 64, 65, 127, 128])
@pytest.mark.parametrize("fields", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_worst_sum_is_exact(parties, fields, length):
    packing = Packing(length, parties, fields)
    worst = np.full(length, packing.max_value, np.uint64)
    c = sum(packing.pack(worst) for _ in range(parties))
    X = packing.unpack(c)
    assert X.tolist() == [parties * packing.max_value] * length
    packing.check_total(X, parties)


def test_one_party_more_than_planned_would_carry():
    packing = Packing(2, 4, 2)
    c = sum(packing.pack(u64(packing.max_value, 0)) for _ in range(5))
    assert packing.unpack(c).tolist() != [5 * packing.max_value, 0]


@given(FIELDS, st.integers(1, 9), st.integers(1, 128), st.data())
def test_sums_of_fields_are_fields_of_sums(fields, length, parties, data):
    packing = Packing(length, parties, fields)
    edge = st.sampled_from([0, 1, packing.max_value - 1, packing.max_value])
    value = edge | st.integers(0, packing.max_value)
    n = data.draw(st.integers(1, min(parties, 6)))
    vectors = [data.draw(st.lists(value, min_size=length, max_size=length)) for _ in range(n)]
    total = sum(packing.pack(u64(*v)) for v in vectors)
    X = packing.unpack(total)
    assert X.tolist() == [sum(column) for column in zip(*vectors, strict=True)]
    packing.check_total(X, n)


@pytest.mark.parametrize("fields", [1, 2])
@pytest.mark.parametrize("where", [0, 2, 4])
def test_never_clamps(fields, where):
    packing = Packing(5, 3, fields)
    u = np.zeros(5, np.uint64)
    u[where] = packing.max_value
    packing.pack(u)
    u[where] += 1
    with pytest.raises(Misuse) as e:
        packing.pack(u)
    assert e.value.code == "sum.out_of_range"


@pytest.mark.parametrize(
    ("length", "fields", "coefficient", "value"),
    [
        (4, 2, 0, 1 << 44),
        (4, 1, 3, 1 << 44),
        (4, 2, 1, 1 << 63),
        (3, 2, 1, 1 << 22),  # the padding field of an odd vector
        (3, 2, 1, 1 << 43),
    ],
)
def test_unused_bits_are_refused(length, fields, coefficient, value):
    packing = Packing(length, 3, fields)
    c = np.zeros(packing.coefficients, np.uint64)
    packing.unpack(c)
    c[coefficient] = value
    with pytest.raises(Hostile) as e:
        packing.unpack(c)
    assert e.value.code == "sum.unused_bits"


def test_totals_beyond_what_the_parties_can_reach():
    packing = Packing(3, 5, 2)
    limit = 4 * packing.max_value
    packing.check_total(u64(0, 1, limit), 4)
    with pytest.raises(Hostile) as e:
        packing.check_total(u64(0, 1, limit + 1), 4)
    assert e.value.code == "sum.total_out_of_range"
    packing.check_total(u64(0, 1, limit + 1), 5)


@pytest.mark.parametrize("n", [0, 6, -1])
def test_impossible_numbers_of_parties(n):
    with pytest.raises(Misuse):
        Packing(3, 5, 2).check_total(u64(0, 0, 0), n)


@pytest.mark.parametrize(
    "bad", [np.zeros(4, np.uint64), np.zeros(3, np.int64), np.zeros((3, 1), np.uint64), np.zeros(3)]
)
def test_shapes_and_types(bad):
    packing = Packing(3, 3, 1)
    for call in (packing.pack, packing.unpack, lambda x: packing.check_total(x, 3)):
        with pytest.raises(Misuse) as e:
            call(bad)
        assert e.value.code == "sum.shape"


@pytest.mark.parametrize(("args", "code"), [((0, 3, 2), "sum.empty"), ((1, 0, 2), "sum.parties")])
def test_packings_that_cannot_be(args, code):
    with pytest.raises(Misuse) as e:
        Packing(*args)
    assert e.value.code == code
    for other in [(1, 129, 2), (1, 3, 3)]:
        with pytest.raises(Misuse):
            Packing(*other)


def test_inputs_are_left_alone():
    packing = Packing(5, 3, 1)
    u = u64(1, 2, 3, 4, 5)
    c = packing.pack(u)
    c += 1
    assert u.tolist() == [1, 2, 3, 4, 5]
    packing.unpack(c)[:] = 0
    assert c.tolist() == [2, 3, 4, 5, 6]
