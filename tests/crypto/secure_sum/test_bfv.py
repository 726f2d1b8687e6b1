import hashlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from consilium_errors import Hostile, Misuse
from crypto.secure_sum import Packing, bfv, masks
from tests.crypto.secure_sum import bfv_reference as reference

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
ROOT = Path(__file__).parents[3]


def random_coefficients(m: int, bits: int = 45) -> np.ndarray:
    return np.frombuffer(os.urandom(8 * m), np.uint64) & np.uint64((1 << bits) - 1)


def add(m: int, uploads: list[bytes]) -> bytes:
    adder = bfv.Adder(m)
    for upload in uploads:
        adder.add(upload)
    return adder.total()


@pytest.mark.parametrize("m", [1, 2, 4095, 4096, 4097, 10_000])
def test_sizes_and_round_trip(m):
    seed, c = os.urandom(32), random_coefficients(m)
    upload = bfv.encrypt(seed, c)
    total = add(m, [upload])
    assert (len(upload), len(total)) == (bfv.upload_size(m), bfv.total_size(m))
    assert np.array_equal(bfv.decrypt(seed, total, m), c)


def test_sizes_against_float32():
    packing = Packing(1_000_000, 5, 2)
    assert bfv.upload_size(packing.coefficients) <= 0.89 * 4_000_000
    assert bfv.total_size(packing.coefficients) <= 1.78 * 4_000_000


@pytest.mark.parametrize("fields", [1, 2])
@pytest.mark.parametrize("parties", [3, 5, 46, 47, 128])
def test_the_worst_sum_is_exact_under_all_masks(parties, fields):
    packing = Packing(8195 if fields == 2 else 4097, parties, fields)
    m, seed = packing.coefficients, os.urandom(32)
    pair = {p: os.urandom(32) for p in itertools.combinations(range(parties), 2)}
    selfs = [os.urandom(32) for _ in range(parties)]
    adder = bfv.Adder(m)
    worst = packing.pack(np.full(packing.length, packing.max_value, np.uint64))
    for me in range(parties):
        plus = [selfs[me], *(k for (i, _), k in pair.items() if i == me)]
        minus = [k for (_, j), k in pair.items() if j == me]
        adder.add(bfv.encrypt(seed, masks.apply(worst, masks.mask(plus, minus, m))))
    opened = bfv.decrypt(seed, adder.total(), m)
    X = packing.unpack(masks.apply(opened, masks.mask([], selfs, m)))
    packing.check_total(X, parties)
    assert (parties * packing.max_value == X).all()


def test_the_sum_is_modulo_t():
    seed, m = os.urandom(32), 5000
    vectors = [random_coefficients(m) for _ in range(7)]
    opened = bfv.decrypt(seed, add(m, [bfv.encrypt(seed, c) for c in vectors]), m)
    assert np.array_equal(opened, sum(vectors) & masks.PLAIN_MASK)


def test_a_second_implementation_opens_it_and_sees_bounded_noise():
    seed, c = os.urandom(32), random_coefficients(4200)
    plain, noise = reference.open_upload(seed, bfv.encrypt(seed, c), c.size)
    assert plain == c.tolist()
    assert max(map(abs, noise)) <= 22  # centred binomial of 2·21 bits, and the rounding of the scaling
    assert float(np.std(noise)) == pytest.approx(3.24, abs=0.25)  # sqrt(21/2)
    assert abs(np.mean(noise)) < 0.3


def test_vectors():
    for v in VECTORS["bfv"]:
        seed, upload = bytes.fromhex(v["seed"]), bytes.fromhex(v["upload"])
        m = len(v["coefficients"])
        ternary = bfv.secret(seed).astype("<u8").tobytes()
        assert hashlib.sha256(ternary).hexdigest() == v["ternary_sha256"]
        assert bfv.decrypt(seed, add(m, [upload]), m).tolist() == v["coefficients"]
        assert reference.open_upload(seed, upload, m)[0] == v["coefficients"]


def test_keys_are_ternary_and_as_the_reference_draws_them():
    seed = os.urandom(32)
    s = bfv.secret(seed).astype(np.int64)
    s[s == (1 << 45) - 1] = -1
    assert s.tolist() == reference.ternary(seed)
    assert (np.bincount(s + 1, minlength=3) > 4096 / 3 - 200).all()
    assert not np.array_equal(bfv.secret(seed), bfv.secret(os.urandom(32)))


def test_another_process_makes_the_same_key():
    seed, c = os.urandom(32), random_coefficients(4097)
    code = (
        "import sys, numpy as np; from crypto.secure_sum import bfv\n"
        "c = np.frombuffer(sys.stdin.buffer.read(), np.uint64)\n"
        f"sys.stdout.buffer.write(bfv.encrypt(bytes.fromhex('{seed.hex()}'), c))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input=c.tobytes(), capture_output=True, check=True, cwd=ROOT
    )
    both = add(c.size, [run.stdout, bfv.encrypt(seed, c)])
    assert np.array_equal(bfv.decrypt(seed, both, c.size), c + c & masks.PLAIN_MASK)


def test_expansion_seeds_are_never_used_twice():
    seed, c = os.urandom(32), np.zeros(5 * bfv.N, np.uint64)
    infos = [info for _ in range(20) for info in bfv.parse_upload(bfv.encrypt(seed, c), c.size)[1]]
    assert len(set(infos)) == 100


def test_a_forked_process_draws_other_noise_and_its_own_scratch():
    code = """
import os, sys, numpy as np
from crypto.secure_sum import bfv
c = np.arange(3 * 4096, dtype=np.uint64)
bfv.encrypt(bytes(32), c)
read, write = os.pipe()
child = os.fork()
for _ in range(30):
    uploads = [bfv.encrypt(bytes(32), c) for _ in range(3)]
    adder = bfv.Adder(c.size)
    for u in uploads: adder.add(u)
    assert np.array_equal(bfv.decrypt(bytes(32), adder.total(), c.size), 3 * c)
if not child:
    os.write(write, uploads[-1][-65:]); os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert os.read(read, 65) != uploads[-1][-65:]
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_the_order_of_uploads_does_not_matter():
    seed, m = os.urandom(32), 4100
    uploads = [bfv.encrypt(seed, random_coefficients(m)) for _ in range(4)]
    assert add(m, uploads) == add(m, uploads[::-1])


def test_a_total_can_be_taken_at_any_time():
    seed, m = os.urandom(32), 100
    c, d = random_coefficients(m, 44), random_coefficients(m, 44)
    adder = bfv.Adder(m)
    adder.add(bfv.encrypt(seed, c))
    assert np.array_equal(bfv.decrypt(seed, adder.total(), m), c)
    adder.add(bfv.encrypt(seed, d))
    assert adder.total() == adder.total()
    assert np.array_equal(bfv.decrypt(seed, adder.total(), m), c + d)


def test_a_refused_upload_changes_nothing():
    seed, m = os.urandom(32), 5000
    adder = bfv.Adder(m)
    upload = bfv.encrypt(seed, random_coefficients(m))
    adder.add(upload)
    before = adder.total()
    for bad, code in malformed(upload, m):
        with pytest.raises(Hostile) as e:
            adder.add(bad)
        assert e.value.code == code
    assert adder.total() == before


def malformed(upload: bytes, m: int) -> list[tuple[bytes, str]]:
    q = bfv.Q.to_bytes(7, "little")
    out = [
        (upload[:-1], "ciphertext.length"),
        (upload + b"\0", "ciphertext.length"),
        (b"", "ciphertext.length"),
    ]
    for i in (0, 1, m - 2, m - 1):
        for word in (q, b"\xff" * 7):
            out.append((upload[: 7 * i] + word + upload[7 * i + 7 :], "ciphertext.coefficient"))
    for block in range(2):
        for kind in (0, 2, 255):
            at = 7 * m + 65 * block
            out.append((upload[:at] + bytes([kind]) + upload[at + 1 :], "ciphertext.prng"))
    return out


def test_malformed_totals():
    seed, m = os.urandom(32), 4100
    total = add(m, [bfv.encrypt(seed, random_coefficients(m))])
    c1 = 7 * m
    cases = [
        (total[:-1], "ciphertext.length"),
        (total + b"\0", "ciphertext.length"),
        (b"\xff" * 7 + total[7:], "ciphertext.coefficient"),
        (total[:-7] + b"\xff" * 7, "ciphertext.coefficient"),
        (total[:c1] + bfv.Q.to_bytes(7, "little") + total[c1 + 7 :], "ciphertext.coefficient"),
        (total[:c1] + bytes(len(total) - c1), "ciphertext.transparent"),
        (total[: -7 * bfv.N] + bytes(7 * bfv.N), "ciphertext.transparent"),
    ]
    for bad, code in cases:
        with pytest.raises(Hostile) as e:
            bfv.decrypt(seed, bad, m)
        assert e.value.code == code


def test_mistakes():
    c, seed = np.zeros(3, np.uint64), bytes(32)
    for call, code in [
        (lambda: bfv.encrypt(b"short", c), "sum.key"),
        (lambda: bfv.encrypt(seed, c[:0]), "sum.shape"),
        (lambda: bfv.encrypt(seed, c.astype(np.int64)), "sum.shape"),
        (lambda: bfv.encrypt(seed, c + np.uint64(1 << 45)), "sum.out_of_range"),
        (lambda: bfv.Adder(3).total(), "sum.empty"),
        (lambda: bfv.Adder(0), "sum.empty"),
        (lambda: bfv.upload_size(-1), "sum.empty"),
    ]:
        with pytest.raises(Misuse) as e:
            call()
        assert e.value.code == code


def test_no_more_uploads_than_the_noise_allows():
    upload = bfv.encrypt(bytes(32), np.zeros(1, np.uint64))
    adder = bfv.Adder(1)
    for _ in range(128):
        adder.add(upload)
    with pytest.raises(Misuse):
        adder.add(upload)


def test_a_single_upload_shows_only_noise_to_a_key_holder():
    packing, seed = Packing(8192, 5, 2), os.urandom(32)
    m, u = packing.coefficients, np.tile(np.arange(4096, dtype=np.uint64), 2)
    c = packing.pack(u)

    def colluding(upload: bytes) -> np.ndarray:
        """What the coordinator and one hospital with the group key make of somebody's upload."""
        return bfv.decrypt(seed, add(m, [upload]), m)

    def correlation(opened: np.ndarray) -> float:
        low = (opened & np.uint64((1 << 22) - 1)).astype(float)
        return abs(np.corrcoef(low, u[0::2].astype(float))[0, 1])

    bare = colluding(bfv.encrypt(seed, c))
    assert np.array_equal(packing.unpack(bare), u)  # without a mask the attack succeeds
    hidden = colluding(bfv.encrypt(seed, masks.apply(c, masks.keystream(os.urandom(32), m))))
    assert correlation(bare) > 0.99
    assert correlation(hidden) < 0.1
    with pytest.raises(Hostile):
        packing.unpack(hidden)


@pytest.mark.parametrize("fields", [1, 2])
def test_a_wrong_key_is_noticed(fields):
    packing = Packing(200, 3, fields)
    m, seed = packing.coefficients, os.urandom(32)
    total = add(m, [bfv.encrypt(seed, packing.pack(np.ones(200, np.uint64)))])
    for _ in range(100):
        opened = bfv.decrypt(os.urandom(32), total, m)
        with pytest.raises(Hostile) as e:
            packing.unpack(opened)
        assert e.value.code == "sum.unused_bits"


@pytest.mark.slow
def test_ten_million_values_fit_in_memory():
    code = """
import os, resource, numpy as np
from crypto.secure_sum import Packing, bfv, masks, schemes
p, fhe = Packing(10_000_000, 5, 2), schemes.fhe()
keys = [os.urandom(32) for _ in range(5)]
c = masks.apply(p.pack(np.full(p.length, 9, np.uint64)), masks.mask(keys[:3], keys[3:], p.coefficients))
upload = fhe.encrypt(keys[0], c)
adder = fhe.adder(p.coefficients)
adder.add(upload); adder.add(upload)
opened = fhe.open(keys[0], adder.total(), p.coefficients)
assert np.array_equal(opened, c + c & masks.PLAIN_MASK)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, timeout=120)
    assert int(run.stdout) < 1.5e9
