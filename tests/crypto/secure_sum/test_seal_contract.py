"""What we rely on in tenseal 0.3.18. A new version must pass this before the pin moves."""

import importlib.metadata
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from consilium_errors import Unavailable
from crypto.secure_sum import _seal, bfv

ROOT = Path(__file__).parents[3]


def test_versions():
    assert importlib.metadata.version("tenseal") == _seal.TENSEAL == "0.3.18"


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.3.19")
    with pytest.raises(Unavailable) as e:
        _seal.api.__wrapped__()
    assert e.value.code == "sum.seal_version"


def test_parameters():
    context = _seal.context()
    parameters = context.key_context_data().parms()
    assert parameters.poly_modulus_degree() == 4096
    assert [p.value() for p in parameters.coeff_modulus()] == [_seal.Q]
    assert parameters.plain_modulus().value() == 1 << 45
    assert context.first_parms_id() == context.key_parms_id() == context.last_parms_id()
    assert _seal.Q.bit_length() == 56
    assert _seal.Q % (2 * 4096) == 1
    s = _seal.api()
    assert s.CoeffModulus.MaxBitCount(4096, s.SEC_LEVEL_TYPE.TC256) >= 56


def test_what_seal_writes_is_the_layout_we_write():
    s = _seal.api()
    secret = bfv.secret(bytes(32))
    ct = s.Ciphertext()
    _seal.encryptor(secret).encrypt_symmetric(_seal.plaintext(np.arange(4096, dtype=np.uint64)), ct)
    raw = _seal._save(ct, 73 + 24 + 16 * 4096)
    assert raw[:73] == _seal._meta()
    assert raw[73:97] == struct.pack("<HBBBBHQQ", 0xA15E, 16, 4, 3, 0, 0, 24 + 16 * 4096, 2 * 4096)
    c0, c1 = _seal.parts(ct)
    again = _seal.ciphertext(c0, c1)
    assert _seal._save(again, len(raw)) == raw
    assert [ct[0], ct[4096]] == [c0[0], c1[0]]


def test_only_the_one_argument_form_is_seeded():
    s = _seal.api()
    encryptor = _seal.encryptor(bfv.secret(bytes(32)))
    plain = _seal.plaintext(np.zeros(1, np.uint64))
    full = s.Ciphertext()
    encryptor.encrypt_symmetric(plain, full)
    with pytest.raises(Unavailable):
        _seal.seeded_parts(full)
    _, info = _seal.seeded_parts(encryptor.encrypt_symmetric(plain))
    assert (len(info), info[0]) == (65, 1)
    assert s.prng_type.blake2xb.value == 1


def test_expansion_is_a_function_of_the_seed():
    info = b"\1" + os.urandom(64)
    zero = np.zeros(4096, np.uint64)
    first, second = (_seal.parts(_seal.seeded(zero, info))[1] for _ in range(2))
    assert np.array_equal(first, second)
    assert int(first.max()) < _seal.Q


@pytest.mark.parametrize("top", [0, 1, 17, 4095])
def test_plaintexts_with_leading_zeros(top):
    c = np.zeros(4096, np.uint64)
    c[top] = (1 << 45) - 1
    assert np.array_equal(_seal.coefficients(_seal.plaintext(c)), c)


def test_threads_have_their_own_scratch():
    failures = []

    def work(k: int) -> None:
        seed, c = bytes([k]) * 32, np.full(4096, k, np.uint64)
        for _ in range(20):
            adder = bfv.Adder(4096)
            adder.add(bfv.encrypt(seed, c))
            if not np.array_equal(bfv.decrypt(seed, adder.total(), 4096), c):
                failures.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_no_key_stays_in_the_scratch():
    _seal.encryptor(bfv.secret(bytes(32)))
    assert _seal._scratch().read() == b""


def test_one_seam():
    named = [p.name for p in (ROOT / "crypto" / "secure_sum").rglob("*.py") if "sealapi" in p.read_text()]
    assert named == ["_seal.py"]
