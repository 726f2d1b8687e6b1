"""What a hospital sends, and what an attacker can make of it."""

import secrets
from dataclasses import replace

import numpy as np
import pytest

from consilium_errors import Hostile, Misuse
from crypto import envelopes
from crypto.commitments import Q
from crypto.mpc import sharing
from crypto.mpc.prg import Stream

D = sharing.CHUNK + 77
MEMBERS = [(bytes([j]) * 20, envelopes.generate()[0]) for j in range(3)]
PUBLIC = [(address, envelopes.public_of(secret)) for address, secret in MEMBERS]
PLAN, ORG = secrets.token_bytes(32), secrets.token_bytes(20)


def vector(seed: int = 0) -> np.ndarray:
    u = np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, D, dtype=np.int64)
    u[:3] = -(2**63), 2**63 - 1, 0
    return u


def opened(upload: sharing.Upload, rank: int, **other) -> sharing.Held:
    facts = {"plan_hash": PLAN, "org": ORG, "member": MEMBERS[rank][0], "length": D, **other}
    return sharing.open_upload(upload, rank, MEMBERS[rank][1], **facts)


def test_the_three_shares_make_the_vector_and_the_randomness():
    u, r = vector(), secrets.randbelow(Q)
    upload = sharing.seal(sharing.share(u, r), PLAN, ORG, PUBLIC)
    held = [opened(upload, rank) for rank in range(3)]
    assert np.array_equal(sharing.reconstruct([sharing.add_own([h], D) for h in held]), u)
    assert sum(h.blinding for h in held) % Q == r


def test_each_share_has_two_holders():
    upload = sharing.seal(sharing.share(vector(), 1), PLAN, ORG, PUBLIC)
    streams = [opened(upload, rank).stream(D) for rank in range(3)]
    own, following = zip(*[[part.copy() for part in stream.next()] for stream in streams], strict=True)
    for rank in range(3):
        assert np.array_equal(following[rank], own[(rank + 1) % 3])


def test_sums_over_hospitals_against_numpy():
    vectors = [vector(seed) for seed in range(4)]
    shared = [sharing.share(u, 1) for u in vectors]
    parts = []
    for rank in range(3):
        held = [
            sharing.Held(rank, s.plaintexts[rank][:32], s.plaintexts[rank][32:64], 0, s.blob) for s in shared
        ]
        parts.append(sharing.add_own(held, D))
        assert np.array_equal(sharing.own_matrix(held, D).sum(0, dtype=np.uint64), parts[-1])
    assert np.array_equal(sharing.reconstruct(parts), np.sum(vectors, axis=0, dtype=np.int64))


def test_a_weighted_mean_is_two_sums():
    rng = np.random.default_rng(3)
    values, weights = rng.integers(-1000, 1000, (5, 6)), rng.integers(1, 100, 5)
    vectors = [np.append(w * row, w).astype(np.int64) for row, w in zip(values, weights, strict=True)]
    shared = [sharing.share(u, 0) for u in vectors]
    parts = [
        sharing.add_own(
            [sharing.Held(j, s.plaintexts[j][:32], s.plaintexts[j][32:64], 0, s.blob) for s in shared], 7
        )
        for j in range(3)
    ]
    total = sharing.reconstruct(parts)
    np.testing.assert_allclose(
        total[:-1] / total[-1], np.average(values, axis=0, weights=weights), rtol=1e-12
    )


def test_an_upload_has_eight_bytes_a_value_and_a_constant():
    sizes = []
    for d in (10, 1010):
        upload = sharing.seal(sharing.share(np.zeros(d, np.int64), 0), PLAN, ORG, PUBLIC)
        sizes.append(len(upload.blob) + sum(map(len, upload.envelopes)))
    assert sizes[1] - sizes[0] == 8 * 1000
    assert sizes[0] - 80 == 3 * (96 + envelopes.OVERHEAD)


def test_a_member_and_the_coordinator_together_see_noise():
    """Equal vectors of zeros: with two seeds and c, what is left is the third stream, new in each upload."""
    zeros = np.zeros(D, np.int64)
    for rank in range(3):
        left = []
        for _ in range(2):
            s = sharing.share(zeros, 0)
            own, following = (Stream(s.plaintexts[rank][at : at + 32]).words(D) for at in (0, 32))
            left.append(np.frombuffer(s.blob, "<u8") + own + following)
        bits = np.unpackbits(left[0].view(np.uint8))
        assert abs(bits.mean() - 0.5) < 6 * 0.5 / np.sqrt(bits.size)
        assert not np.any(left[0] == left[1])


@pytest.mark.parametrize("other", ["plan_hash", "org", "member"])
def test_a_replayed_share_does_not_open(other):
    upload = sharing.seal(sharing.share(vector(), 1), PLAN, ORG, PUBLIC)
    size = 32 if other == "plan_hash" else 20
    with pytest.raises(Hostile) as e:
        opened(upload, 0, **{other: secrets.token_bytes(size)})
    assert e.value.code == "envelope.open"


def test_envelopes_of_two_uploads_do_not_mix_in_one_receipt():
    first, second = (sharing.seal(sharing.share(vector(), 1), PLAN, ORG, PUBLIC) for _ in range(2))
    mixed = replace(first, envelopes=(first.envelopes[0], second.envelopes[1], first.envelopes[2]))
    assert (
        len({first.digest(), second.digest(), mixed.digest(), replace(first, blob=second.blob).digest()}) == 4
    )


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b[:-8], lambda b: b""])
def test_another_length_is_malformed(change):
    good = sharing.share(vector(), 1)
    upload = sharing.seal(replace(good, blob=change(good.blob)), PLAN, ORG, PUBLIC)
    with pytest.raises(Hostile, match="length"):
        opened(upload, 1)
    plaintexts = tuple(map(change, good.plaintexts))
    upload = sharing.seal(replace(good, plaintexts=plaintexts), PLAN, ORG, PUBLIC)
    with pytest.raises(Hostile, match="length"):
        opened(upload, 1)


def test_randomness_that_is_not_reduced_is_malformed():
    good = sharing.share(vector(), 1)
    raised = good.plaintexts[0][:64] + (Q + 5).to_bytes(32, "big")
    upload = sharing.seal(replace(good, plaintexts=(raised, *good.plaintexts[1:])), PLAN, ORG, PUBLIC)
    with pytest.raises(Hostile) as e:
        opened(upload, 0)
    assert e.value.code == "mpc.share"


def test_a_stream_is_aes_ctr_and_cannot_be_cloned():
    import copy
    import pickle

    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = secrets.token_bytes(32)
    block = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()  # CTR by hand
    expected = b"".join(block.update(i.to_bytes(16, "big")) for i in range(50))
    stream = Stream(key)
    parts = [stream.words(n) for n in (1, 2, 30, 67)]
    assert np.concatenate(parts).tobytes() == expected
    for clone in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(Misuse) as e:
            clone(stream)
        assert e.value.code == "mpc.cloned_generator"
