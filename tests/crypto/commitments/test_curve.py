import hashlib
import importlib.metadata
import secrets
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilium_errors import Hostile, Unavailable
from crypto.commitments import blst, curve
from crypto.commitments.arkworks import Arkworks
from crypto.commitments.blst import Blst
from tests.crypto.commitments.curve_reference import P, Q, add, compress, from_limbs, multiply, root

BLST, ARKWORKS = Blst(), Arkworks()
BLINDER = BLST.hash_to_curve([b"H"])
POINTS = BLST.hash_to_curve([b"G" + i.to_bytes(8, "big") for i in range(600)])
VALID = [compress(from_limbs(row)) for row in POINTS[:3]]

# RFC 9380, appendix J.9.1 (BLS12381G1_XMD:SHA-256_SSWU_RO_).
RFC_DST = b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
RFC_POINTS = {
    b"": (
        0x052926ADD2207B76CA4FA57A8734416C8DC95E24501772C814278700EED6D1E4E8CF62D9C09DB0FAC349612B759E79A1,
        0x08BA738453BFED09CB546DBB0783DBB3A5F1F566ED67BB6BE0E8C67E2E81A4CC68EE29813BB7994998F3EAE0C9C6A265,
    ),
    b"abc": (
        0x03567BC5EF9C690C2AB2ECDF6A96EF1C139CC0B2F284DCA0A9A7943388A49A3AEE664BA5379A7655D3C68900BE2F6903,
        0x0B9C15F3FE6E5CF4211F346271D7B01C8F3B28BE689C8429C85B67AF215533311F0B8DFAAA154FA6B88176C229F2885D,
    ),
}


def random_scalars(count, bits):
    scalars = (
        np.frombuffer(secrets.token_bytes(count * ((bits + 7) // 8)), np.uint8).reshape(count, -1).copy()
    )
    scalars[:, -1] &= (1 << ((bits - 1) % 8 + 1)) - 1
    return scalars


def refused(library, points):
    with pytest.raises(Hostile) as error:
        library.add(points)
    return error.value.code


# The seam ---------------------------------------------------------------------------------------------


def test_this_build_of_ckzg_is_the_tested_one():
    assert importlib.metadata.version("ckzg") == blst.VERSION
    file = blst._tested_file()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in blst.TESTED_BUILDS
    assert curve.curve().name == "blst"


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("VERSION", "2.1.9"),
        ("TESTED_BUILDS", {}),
        ("_PROJECTIVE", 17),
        ("_KNOWN_X", "00" * 48),
        ("_SIGNATURES", {**blst._SIGNATURES, "p1s_gone": (None, [])}),
    ],
)
def test_any_other_build_falls_back(monkeypatch, attribute, value):
    monkeypatch.setattr(blst, attribute, value)
    with pytest.raises(Unavailable) as error:
        Blst()
    assert error.value.code == "commitment.blst"
    assert curve.curve.__wrapped__().name == "arkworks"


def test_a_missing_ckzg_falls_back(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(Unavailable):
        Blst()


# Both libraries, the RFC and plain Python agree -------------------------------------------------------


@pytest.mark.parametrize("message", RFC_POINTS)
def test_hash_to_curve_is_rfc9380(library, message):
    assert from_limbs(library.hash_to_curve([message], dst=RFC_DST)[0]) == RFC_POINTS[message]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_both_libraries_hash_alike(messages):
    assert np.array_equal(BLST.hash_to_curve(messages), ARKWORKS.hash_to_curve(messages))


@pytest.mark.parametrize("bits", [242, 220])
@pytest.mark.parametrize("count", [1, 2, 3, 31, 32, 33, 255, 256, 257, 600])
def test_both_libraries_combine_alike(count, bits):
    scalars, blind = random_scalars(count, bits), secrets.randbelow(Q)
    scalars[count // 3] = 0
    ours = BLST.basis(POINTS[:count], BLINDER).combine(scalars, bits, blind)
    assert ours == ARKWORKS.basis(POINTS[:count], BLINDER).combine(scalars, bits, blind)


@pytest.mark.parametrize("fill", [0, 1, 255])
@pytest.mark.parametrize("blind", [0, 1, Q - 1], ids=["0", "1", "Q-1"])
@pytest.mark.parametrize("same", [False, True], ids=["distinct points", "one point repeated"])
def test_extreme_scalars(library, fill, blind, same):
    count, bits = 40, 240
    points = np.repeat(POINTS[:1], count, axis=0) if same else POINTS[:count]
    scalars = np.full((count, bits // 8), fill, np.uint8)
    scalar = int.from_bytes(bytes([fill]) * (bits // 8), "little")
    total = None
    for row in points:
        total = add(total, from_limbs(row))
    expected = add(multiply(total, scalar), multiply(from_limbs(BLINDER[0]), blind))
    assert library.basis(points, BLINDER).combine(scalars, bits, blind) == compress(expected)


def test_combine_against_plain_python(library):
    scalars, blind = random_scalars(5, 242), secrets.randbelow(Q)
    expected = multiply(from_limbs(BLINDER[0]), blind)
    for row, scalar in zip(POINTS[:5], scalars, strict=True):
        expected = add(expected, multiply(from_limbs(row), int.from_bytes(scalar.tobytes(), "little")))
    assert library.basis(POINTS[:5], BLINDER).combine(scalars, 242, blind) == compress(expected)


def test_add_against_plain_python(library):
    total = None
    for row in POINTS[:3]:
        total = add(total, from_limbs(row))
    assert library.add(VALID) == compress(total)
    assert library.add(VALID[:1]) == VALID[0]
    assert library.add([VALID[0], VALID[0]]) == compress(multiply(from_limbs(POINTS[0]), 2))
    assert library.add([]) == compress(None)


@pytest.mark.parametrize("count", [1, 5, 300])
def test_full_width_scalars_both_ways_and_in_both_libraries(library, count):
    """As the fixed points of a basis, and as points that came from outside."""
    weights = [secrets.randbelow(Q) for _ in range(count)]
    weights[count // 2] = Q - 1
    rows = np.frombuffer(b"".join(w.to_bytes(32, "little") for w in weights), np.uint8).reshape(-1, 32)
    points = library.compressed(POINTS[:count])
    assert points == [compress(from_limbs(row)) for row in POINTS[:count]]
    assert library.basis(POINTS[:count], BLINDER).combine(rows, 255, 0) == library.weighted(points, weights)


def test_weighted_against_plain_python(library):
    weights = [0, Q - 1, secrets.randbelow(Q)]
    total = None
    for row, weight in zip(POINTS[:3], weights, strict=True):
        total = add(total, multiply(from_limbs(row), weight))
    assert library.weighted(VALID, weights) == compress(total)
    assert library.weighted([VALID[0]], [0]) == library.weighted([], []) == compress(None)
    assert library.weighted([VALID[0], VALID[0]], [5, Q - 5]) == compress(None)


def test_scalars_that_do_not_fit_never_reach_native_code(library):
    basis = library.basis(POINTS[:3], BLINDER)
    for scalars in (np.zeros((2, 31), np.uint8), np.zeros((3, 30), np.uint8), np.zeros((3, 31), np.uint16)):
        with pytest.raises(ValueError):
            basis.combine(scalars, 242, 1)


def flip_bit(bit):
    return (int.from_bytes(VALID[0], "big") ^ 1 << bit).to_bytes(48, "big")


# What an attacker may send as a point -----------------------------------------------------------------


def off_curve():
    return next(x for x in range(1, 100) if root(x) is None)


def outside_subgroup():
    return next((x, root(x)) for x in range(100) if root(x) and multiply((x, root(x)), Q) is not None)


def second_encoding():
    """A point of G1 whose x leaves room for x + p below the flags."""
    point, step = None, from_limbs(POINTS[0])
    while point is None or point[0] + P >= 1 << 381:
        point = add(point, step)
    sign = compress(point)[0] & 0x20
    encoded = (point[0] + P | 1 << 383).to_bytes(48, "big")
    return compress(point), bytes([encoded[0] | sign]) + encoded[1:]


BAD_POINTS = {
    "empty": b"",
    "short": VALID[0][:-1],
    "long": VALID[0] + b"\0",
    "uncompressed": bytes(96),
    "no flag": bytes([VALID[0][0] & 0x7F]) + VALID[0][1:],
    "neutral": b"\xc0" + bytes(47),
    "neutral with sign": b"\xe0" + bytes(47),
    "neutral with rest": b"\xc0" + bytes(46) + b"\1",
    "neutral flag on a point": bytes([VALID[0][0] | 0x40]) + VALID[0][1:],
    "zeros": bytes(48),
    "ones": b"\xff" * 48,
    "x is p": (P | 1 << 383).to_bytes(48, "big"),
    "x above p": ((1 << 381) - 1 | 1 << 383).to_bytes(48, "big"),
    "off the curve": compress((off_curve(), 0)),
    "outside the subgroup": compress(outside_subgroup()),
    "order three": compress((0, 2)),
}


@pytest.mark.parametrize("name", BAD_POINTS)
def test_bad_points(library, name):
    for points in ([BAD_POINTS[name]], [*VALID, BAD_POINTS[name]]):
        assert refused(library, points) == "commitment.point"
        with pytest.raises(Hostile, match="one encoding"):
            library.weighted(points, [1] * len(points))


def test_the_points_meant_to_be_on_the_curve_are(library):
    """Else the subgroup check above would not be what refuses them."""
    for x, y in (outside_subgroup(), (0, 2)):
        assert (y * y - x**3 - 4) % P == 0
        assert multiply((x, y), Q) is not None


def test_a_second_encoding_of_a_good_point(library):
    good, other = second_encoding()
    assert library.add([good]) == good
    assert refused(library, [other]) == "commitment.point"
    curve.check_encoding(good)
    with pytest.raises(Hostile):  # ours to refuse, whatever a library makes of it
        curve.check_encoding(other)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 383).map(flip_bit) | st.binary(min_size=47, max_size=49))
def test_altered_points_are_refused_or_other_points_alike(point):
    outcomes = set()
    for library in (BLST, ARKWORKS):
        try:
            outcomes.add(library.add([point]))
        except Hostile as error:
            outcomes.add(error.code)
    assert outcomes <= {point} or outcomes == {"commitment.point"}


def test_the_domain_is_ours():
    assert curve.DST == b"CONSILIUM-PEDERSEN-V1-BLS12381G1_XMD:SHA-256_SSWU_RO_"
    assert (curve.P, curve.Q) == (P, Q)
