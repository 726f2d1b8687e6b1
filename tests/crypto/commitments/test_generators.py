import logging

import numpy as np
import pytest

from consilium_errors import Misuse, Unavailable
from crypto.commitments import Generators, generators_needed
from crypto.commitments import generators as module
from crypto.commitments.arkworks import Arkworks
from crypto.commitments.blst import Blst
from crypto.commitments.pinned import CHUNK, CHUNK_DIGESTS
from tests.crypto.commitments.curve_reference import compress, from_limbs, multiply


class Counter:
    def __init__(self):
        self.calls = []

    def __call__(self, done, total):
        self.calls.append((done, total))

    @property
    def derived(self):
        return self.calls[-1][0] if self.calls else 0


@pytest.fixture
def own_cache(cache, generators, tmp_path):
    """A cache of one chunk that a test may spoil."""
    for file in cache.glob("*0000.g1"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_are_hashes_to_the_curve(generators):
    for i in (0, 1, CHUNK - 1):
        [row] = Arkworks().hash_to_curve([b"G" + i.to_bytes(8, "big")])
        assert np.array_equal(generators.points[i], row)
    assert np.array_equal(generators.blinder, Arkworks().hash_to_curve([b"H"]))


def test_pins_reach_for_a_million_fields_and_more():
    assert len(CHUNK_DIGESTS) == len(set(CHUNK_DIGESTS)) == 256
    assert len(CHUNK_DIGESTS) * CHUNK >= generators_needed(10_000_000, 22)
    assert len(CHUNK_DIGESTS) * CHUNK >= generators_needed(5_000_000, 44)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 137, 255])
def test_pins_hold_for_the_other_library(index):
    names = [b"G" + i.to_bytes(8, "big") for i in range(index * CHUNK, (index + 1) * CHUNK)]
    assert module.digest(Arkworks().hash_to_curve(names)) == CHUNK_DIGESTS[index]


def test_a_cache_is_used_and_grows(own_cache, generators):
    first = Counter()
    Generators.load(CHUNK, own_cache, first)
    assert first.derived == 0
    more = Counter()
    grown = Generators.load(CHUNK + 1, own_cache, more)
    assert len(grown.points) == 2 * CHUNK
    assert more.derived == CHUNK  # the second chunk only
    assert more.calls == sorted(more.calls)
    assert {total for _, total in more.calls} == {CHUNK}
    assert np.array_equal(grown.points[:CHUNK], generators.points)
    assert sorted(p.name for p in own_cache.iterdir()) == ["pedersen-v1-0000.g1", "pedersen-v1-0001.g1"]
    # The second chunk in the first one's place is a cache of true generators, in the wrong order.
    (own_cache / "pedersen-v1-0000.g1").write_bytes((own_cache / "pedersen-v1-0001.g1").read_bytes())
    assert np.array_equal(Generators.load(1, own_cache).points, generators.points)


def related_points(content):
    """The attack that a bad cache allows: G_1 = 2·G_0 lets one vector pass for another."""
    rows = np.frombuffer(content, "<u8").reshape(CHUNK, 12).copy()
    one = np.array([[2] + [0] * 30], np.uint8)
    doubled = Blst().basis(rows[:1], rows[:1]).combine(one, 248, 0)
    assert doubled == compress(multiply(from_limbs(rows[0]), 2))
    x, y = multiply(from_limbs(rows[0]), 2)
    radix = 1 << 384
    field = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
    rows[1] = np.frombuffer(b"".join((c * radix % field).to_bytes(48, "little") for c in (x, y)), "<u8")
    return rows.tobytes()


@pytest.mark.parametrize(
    "spoil",
    [
        related_points,
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:-1] + bytes([content[-1] ^ 128]),
        lambda content: content[96:] + content[:96],
        lambda content: bytes(len(content)),
    ],
    ids=["related points", "first bit", "last bit", "rotated", "zeros"],
)
def test_an_altered_cache_is_noticed_and_mended(own_cache, generators, caplog, spoil):
    file = own_cache / "pedersen-v1-0000.g1"
    good = file.read_bytes()
    file.write_bytes(spoil(good))
    assert file.read_bytes() != good
    counter = Counter()
    with caplog.at_level(logging.WARNING):
        loaded = Generators.load(1, own_cache, counter)
    assert np.array_equal(loaded.points, generators.points)
    assert counter.derived == CHUNK
    assert "was altered" in caplog.text
    assert file.read_bytes() == good


@pytest.mark.parametrize("content", [b"", b"x" * 10, bytes(CHUNK * 96 + 1)])
def test_a_cut_or_foreign_file_is_replaced(own_cache, generators, content):
    file = own_cache / "pedersen-v1-0000.g1"
    file.write_bytes(content)
    assert np.array_equal(Generators.load(1, own_cache).points, generators.points)
    assert file.stat().st_size == CHUNK * 96


def test_without_a_place_to_cache(tmp_path, generators, caplog):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "pedersen-v1-0000.g1").mkdir()
    for place in (tmp_path / "file", tmp_path / "held"):
        caplog.clear()
        assert np.array_equal(Generators.load(1, place).points, generators.points)
        assert "cannot be written" in caplog.text
    assert [p.name for p in (tmp_path / "held").iterdir()] == ["pedersen-v1-0000.g1"]


def test_unpinned_points_are_never_cached(own_cache, generators, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_DIGESTS", CHUNK_DIGESTS[:1])
    planted = own_cache / "pedersen-v1-0001.g1"
    planted.write_bytes(bytes(CHUNK * 96))
    loaded = Generators.load(CHUNK + 1, own_cache)
    [row] = Arkworks().hash_to_curve([b"G" + CHUNK.to_bytes(8, "big")])
    assert np.array_equal(loaded.points[CHUNK], row)
    assert planted.read_bytes() == bytes(CHUNK * 96)


class Crooked(Blst):
    """A library with one wrong point in it."""

    def hash_to_curve(self, messages, **kwargs):
        points = super().hash_to_curve(messages, **kwargs)
        wrong = b"G" + (7).to_bytes(8, "big")
        if wrong in messages:
            points[messages.index(wrong)] = points[0]
        return points


def test_a_library_that_derives_other_points(tmp_path):
    with pytest.raises(Unavailable) as error:
        Generators.load(1, tmp_path, using=Crooked())
    assert error.value.code == "generators.derivation"
    assert not list(tmp_path.iterdir())


def test_read_only(generators):
    for array in (generators.points, generators.blinder):
        with pytest.raises(ValueError):
            array[0, 0] = 1


@pytest.mark.parametrize("count", [0, -1])
def test_count(count, tmp_path):
    with pytest.raises(Misuse) as error:
        Generators.load(count, tmp_path)
    assert error.value.code == "generators.count"


def test_where_the_cache_is(monkeypatch, tmp_path, generators, own_cache):
    monkeypatch.setenv("CONSILIUM_CACHE", str(own_cache))
    counter = Counter()
    Generators.load(1, progress=counter)
    assert counter.derived == 0
    monkeypatch.delenv("CONSILIUM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert module.default_cache_dir() == tmp_path / "consilium"
