import json
import os
from pathlib import Path

import numpy as np
import pytest

from consilium_errors import Hostile, Misuse
from crypto.secure_sum import Packing, masks, schemes

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
BOTH = pytest.mark.parametrize("scheme", [schemes.fhe(), schemes.clear()], ids=lambda s: s.name)


@BOTH
@pytest.mark.parametrize("masked", [False, True])
def test_one_round(scheme, masked):
    packing, seed = Packing(9001, 3, 2), os.urandom(32)
    m, rng = packing.coefficients, np.random.default_rng(3)
    vectors = [rng.integers(0, packing.max_value + 1, 9001, dtype=np.uint64) for _ in range(3)]
    selfs = [os.urandom(32) for _ in range(3)] if masked else []
    adder = scheme.adder(m)
    for i, u in enumerate(vectors):
        upload = scheme.encrypt(seed, masks.apply(packing.pack(u), masks.mask(selfs[i : i + 1], [], m)))
        assert len(upload) == scheme.upload_size(m)
        adder.add(upload)
    total = adder.total()
    assert len(total) == scheme.total_size(m)
    c = masks.apply(scheme.open(seed, total, m), masks.mask([], selfs, m))
    assert np.array_equal(packing.unpack(c), sum(vectors))


@BOTH
def test_malformed_bytes(scheme):
    m, seed = 100, os.urandom(32)
    adder = scheme.adder(m)
    upload = scheme.encrypt(seed, np.arange(m, dtype=np.uint64))
    with pytest.raises(Misuse):
        adder.total()
    adder.add(upload)
    total = adder.total()
    scheme.check(upload, m)
    for bad, code in [(upload[1:], "length"), (b"\xff" * 7 + upload[7:], "coefficient")]:
        for refuse in (adder.add, lambda bad: scheme.check(bad, m)):
            with pytest.raises(Hostile) as e:
                refuse(bad)
            assert e.value.code == f"ciphertext.{code}"
    for bad, code in [(total + b"0", "length"), (b"\xff" * 7 + total[7:], "coefficient")]:
        with pytest.raises(Hostile) as e:
            scheme.open(seed, bad, m)
        assert e.value.code == f"ciphertext.{code}"
    assert adder.total() == total


def test_by_name():
    assert schemes.by_name("fhe") is schemes.fhe()
    assert schemes.by_name("clear") is schemes.clear()
    with pytest.raises(Misuse) as e:
        schemes.by_name("ckks")
    assert e.value.code == "sum.unknown_scheme"
    assert e.value.remedy


def test_method_ids_are_pinned():
    assert {n: schemes.by_name(n).method_id.hex() for n in ("fhe", "clear")} == VECTORS["methods"]
    assert schemes.fhe().masked
    assert not schemes.clear().masked


def test_clear_is_clear_and_fhe_is_not():
    c = np.full(4096, 0x123456789AB, np.uint64)
    word = int(c[0]).to_bytes(6, "little")
    assert schemes.clear().encrypt(b"", c).count(word) == 4096
    upload = schemes.fhe().encrypt(os.urandom(32), c)
    assert upload.count(word) == 0
    words = {upload[i : i + 7] for i in range(0, 7 * 4096, 7)}
    assert len(words) > 4090


@BOTH
def test_too_many_uploads(scheme):
    adder, upload = scheme.adder(1), scheme.encrypt(bytes(32), np.zeros(1, np.uint64))
    for _ in range(128):
        adder.add(upload)
    with pytest.raises(Misuse) as e:
        adder.add(upload)
    assert e.value.code == "sum.parties"
