import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from consilium_errors import Hostile, Misuse
from crypto.commitments import Q, scalars

EDGES = [0, 1, 2, Q - 1, Q - 2, Q // 2, (1 << 32) - 1, 1 << 32, (1 << 224) - 1, 1 << 254, 2**255 - Q]
numbers = st.lists(st.sampled_from(EDGES) | st.integers(0, Q - 1), min_size=1, max_size=8)


def drawn(key, n):
    """The definition, word by word."""
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    found = []
    while len(found) < n:
        word = int.from_bytes(stream.update(bytes(32)), "little") & (1 << 255) - 1
        if word < Q:
            found.append(word)
    return found


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_sums_and_differences_are_those_of_integers(data):
    a = data.draw(numbers)
    b = data.draw(st.lists(st.sampled_from(a + EDGES), min_size=len(a), max_size=len(a)))
    rows = scalars.from_ints(a), scalars.from_ints(b)
    assert scalars.to_ints(scalars.add(*rows)) == [(x + y) % Q for x, y in zip(a, b, strict=True)]
    assert scalars.to_ints(scalars.subtract(*rows)) == [(x - y) % Q for x, y in zip(a, b, strict=True)]
    assert scalars.to_ints(scalars.from_bytes(rows[0].tobytes(), len(a))) == a


@pytest.mark.parametrize("n", [0, 1, 7, 16, 17, 3000])
def test_a_stream_is_the_words_below_q(n):
    key = hashlib.sha256(n.to_bytes(2, "big")).digest()
    assert scalars.to_ints(scalars.uniform(key, n)) == drawn(key, n)


def test_a_shorter_stream_is_the_beginning_of_a_longer_one():
    long = scalars.uniform(bytes(32), 500)
    assert np.array_equal(scalars.uniform(bytes(32), 33), long[:33])


def test_no_bit_of_a_stream_leans():
    """Each of the low 254 bits over 40,000 numbers: six sigma. The top one is set as often as Q says."""
    rows = scalars.uniform(b"\7" * 32, 40_000)
    share = np.unpackbits(rows, axis=1, bitorder="little").mean(0)
    assert np.abs(share[:248] - 0.5).max() < 6 * 0.5 / 200
    assert abs(share[254] - (Q - (1 << 254)) / Q) < 0.02
    assert share[255] == 0


@pytest.mark.parametrize("value", [Q, Q + 1, (1 << 255) - 1, 1 << 255, (1 << 256) - 1])
def test_numbers_from_outside_are_below_q(value):
    good = (Q - 1).to_bytes(32, "little")
    with pytest.raises(Hostile) as e:
        scalars.from_bytes(good + value.to_bytes(32, "little"), 2)
    assert e.value.code == "scalars.range"
    with pytest.raises(Hostile) as e:
        scalars.from_bytes(good + b"\0", 1)
    assert e.value.code == "scalars.length"


def test_a_key_has_its_length():
    with pytest.raises(Misuse) as e:
        scalars.uniform(b"short", 1)
    assert e.value.code == "scalars.key"
