import itertools
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from consilium_errors import Misuse
from crypto.secure_sum import masks

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
Q = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


def by_blocks(key: bytes, first: int, blocks: int) -> bytes:
    """AES of the counters themselves, one block at a time."""
    ecb = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    return b"".join(ecb.update((first + i).to_bytes(16, "big")) for i in range(blocks))


def test_keystream_is_aes_of_a_counter():
    key = os.urandom(32)
    words = struct.unpack("<100Q", by_blocks(key, 0, 50))
    assert masks.keystream(key, 100).tolist() == [w % 2**45 for w in words]


def test_scalar_comes_from_its_own_counters():
    key = os.urandom(32)
    raw = by_blocks(key, 1 << 127, 4)
    assert masks.scalar_mask(key, Q) == int.from_bytes(raw, "little") % Q


def test_vectors():
    for v in VECTORS["masks"]:
        key = bytes.fromhex(v["key"])
        assert masks.keystream(key, len(v["keystream"])).tolist() == v["keystream"]
        assert masks.scalar_mask(key, Q) == int(v["scalar"], 16)


@pytest.mark.parametrize(
    "n", [1, 2, 3, masks._CHUNK - 1, masks._CHUNK, masks._CHUNK + 1, 2 * masks._CHUNK + 5]
)
def test_streams_do_not_depend_on_chunks(n):
    key = os.urandom(32)
    assert np.array_equal(masks.keystream(key, n), masks.keystream(key, n + 777)[:n])


@given(st.integers(0, 4), st.integers(0, 4), st.integers(1, 40))
def test_mask_is_the_signed_sum_of_streams(a, s, n):
    add = [os.urandom(32) for _ in range(a)]
    subtract = [os.urandom(32) for _ in range(s)]
    expected = [0] * n
    for sign, keys in ((1, add), (-1, subtract)):
        for key in keys:
            expected = [e + sign * int(x) for e, x in zip(expected, masks.keystream(key, n), strict=True)]
    assert masks.mask(add, subtract, n).tolist() == [e % 2**45 for e in expected]


@pytest.mark.parametrize("parties", [3, 5, 128])
def test_pairwise_masks_cancel_and_no_smaller_set_does(parties):
    n = 50
    keys = {pair: os.urandom(32) for pair in itertools.combinations(range(parties), 2)}
    made = [
        masks.mask(
            [k for (i, _), k in keys.items() if i == me], [k for (_, j), k in keys.items() if j == me], n
        )
        for me in range(parties)
    ]
    total = np.zeros(n, np.uint64)
    for k, m in enumerate(made):
        total = masks.apply(total, m)
        assert total.any() == (k < parties - 1)


def test_self_masks_come_off():
    c = np.arange(1000, dtype=np.uint64)
    keys = [os.urandom(32) for _ in range(3)]
    hidden = masks.apply(c, masks.mask(keys, [], 1000))
    assert np.array_equal(masks.apply(hidden, masks.mask([], keys, 1000)), c)
    assert not np.array_equal(masks.apply(hidden, masks.mask([], keys[:2], 1000)), c)


def test_a_masked_zero_is_uniform():
    n = 1 << 16
    x = masks.apply(np.zeros(n, np.uint64), masks.keystream(os.urandom(32), n))
    assert int(x.max()) < 1 << 45
    for shift in range(0, 45, 5):  # chi-square of each 5 bits, 31 degrees of freedom: > 90 has p < 1e-7
        counts = np.bincount((x >> np.uint64(shift)).astype(np.int64) & 31, minlength=32)
        assert ((counts - n / 32) ** 2 / (n / 32)).sum() < 90


def test_mistakes():
    key = os.urandom(32)
    for call, code in [
        (lambda: masks.keystream(b"short", 1), "mask.key"),
        (lambda: masks.mask([key], [key], 1), "mask.key_reused"),
        (lambda: masks.mask([key, key], [], 1), "mask.key_reused"),
        (lambda: masks.apply(np.zeros(2, np.uint64), np.zeros(3, np.uint64)), "mask.shape"),
        (lambda: masks.scalar_mask(key, 1 << 400), "mask.modulus"),
        (lambda: masks.scalar_mask(key, 1), "mask.modulus"),
    ]:
        with pytest.raises(Misuse) as e:
            call()
        assert e.value.code == code
