"""The rules of `protos.exchange` and `protos.spool`, against a wire that loses, repeats, reorders and replays."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consilium_errors import Hostile, Misuse, Unavailable
from protos import wire
from protos.consilium.v1 import exchange_pb2 as pb
from protos.exchange import ACK_S, LEAST, MOST, Correspondence
from protos.spool import Part, Spool

A, B, C = b"\xaa" * 20, b"\xbb" * 20, b"\xcc" * 20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Pair:
    """Coordinator ``a`` and hospital ``b``, with a wire between that a test plays."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.a_spool, self.b_spool = Spool(folder / "a.db", A), Spool(folder / "b.db", B)
        self.a = Correspondence(self.a_spool, B, self.clock)
        self.b = Correspondence(self.b_spool, A, self.clock)
        self.number = 0

    def exchange(self, *, lose_question: bool = False, lose_answer: bool = False) -> tuple[bytes, bytes]:
        self.clock.now += 3.0
        self.number += 1
        question, answer = self.a.frame(self.number), b""
        if not lose_question:
            self.b.take(question)
            self.b.still_awaited({self.number})
            answer = self.b.frame(self.number)
            if not lose_answer:
                self.a.take(answer)
        self.a.answered(self.number)
        return question, answer

    def at_b(self) -> list[bytes]:
        return [letter.body for letter in self.b_spool.fetch(B, 1000)]

    def at_a(self) -> list[bytes]:
        return [letter.body for letter in self.a_spool.fetch(A, 1000)]

    def close(self) -> None:
        self.a_spool.close()
        self.b_spool.close()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_letters_of_all_sizes_arrive_in_order_both_ways(pair: Pair) -> None:
    down = [os.urandom(size) for size in (0, 1, 70_000, 3 << 20, 5)]
    up = [os.urandom(size) for size in (2 << 20, 0, 9)]
    for body in down:
        pair.a_spool.post(B, body)
    for body in up:
        pair.b_spool.post(A, body)
    for _ in range(12):
        pair.exchange()
    assert (pair.at_b(), pair.at_a()) == (down, up)
    assert pair.a_spool.numbering(B).first == 6  # nothing is kept of what arrived
    assert not pair.a.has_news()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["ok", "question", "answer", "repeat", "restart_a", "restart_b", "old"]), max_size=14
    ),
    st.lists(st.integers(0, 200_000), min_size=1, max_size=4),
)
def test_any_loss_repeat_or_crash_delivers_each_letter_once_in_order(
    faults: list[str], sizes: list[int]
) -> None:
    with TemporaryDirectory() as folder:
        pair = Pair(Path(folder))
        down, up = [os.urandom(s) for s in sizes], [os.urandom(s // 2 + 1) for s in sizes]
        pair.a.budget = pair.b.budget = LEAST
        for body in down:
            pair.a_spool.post(B, body)
        for body in up:
            pair.b_spool.post(A, body)
        seen: list[tuple[bytes, bytes]] = []
        for fault in faults:
            seen.append(pair.exchange(lose_question=fault == "question", lose_answer=fault == "answer"))
            if fault == "repeat" and seen[-1][1]:
                pair.b.take(seen[-1][0])
                pair.a.take(seen[-1][1])
            if fault == "old":
                pair.b.take(seen[0][0])
                if seen[0][1]:
                    pair.a.take(seen[0][1])
            if fault == "restart_a":
                pair.a = Correspondence(pair.a_spool, B, pair.clock)
            if fault == "restart_b":
                pair.b = Correspondence(pair.b_spool, A, pair.clock)
        for _ in range(60):
            pair.exchange()
        assert (pair.at_b(), pair.at_a()) == (down, up)
        pair.close()


def test_equal_letters_look_different_on_the_wire(pair: Pair) -> None:
    frames = {pair.a.frame(number) for number in range(20)}
    assert len(frames) == 20


def test_pieces_on_their_way_are_not_sent_twice(pair: Pair) -> None:
    pair.a_spool.post(B, b"once")
    first, second = pair.a.frame(1), pair.a.frame(2, (1,))
    assert len(wire.parse(pb.Frame, first).pieces) == 1
    assert len(wire.parse(pb.Frame, second).pieces) == 0
    pair.b.take(second)
    pair.b.take(first)
    assert pair.at_b() == [b"once"]


def test_the_hospital_sends_again_what_the_coordinator_no_longer_awaits(pair: Pair) -> None:
    pair.b_spool.post(A, b"letter")
    pair.b.frame(1)
    pair.b.still_awaited({2, 1})
    assert not wire.parse(pb.Frame, pair.b.frame(2)).pieces
    pair.b.still_awaited({3})
    pair.clock.now += 10
    assert wire.parse(pb.Frame, pair.b.frame(3)).pieces


def test_an_acknowledgement_waits_for_company_unless_more_is_to_come(pair: Pair) -> None:
    pair.a_spool.post(B, b"one")
    pair.b.take(pair.a.frame(1))
    assert not pair.b.has_news()
    assert pair.b.patience() == pytest.approx(ACK_S)
    pair.clock.now += ACK_S
    assert pair.b.has_news()
    pair.a.take(pair.b.frame(1))
    pair.a_spool.post(B, os.urandom(3 << 20))
    pair.b.take(pair.a.frame(2))
    assert pair.b.has_news()


def test_a_slow_peer_gets_small_frames_and_a_fast_one_large(pair: Pair) -> None:
    pair.a_spool.post(B, bytes(40 << 20))
    for seconds, expected in ((100.0, (1 << 20) // 10), (0.01, (1 << 20) // 10 * 1000), (0.001, MOST)):
        question = pair.a.frame(pair.number)
        pair.clock.now += seconds
        pair.b.take(question)
        pair.a.take(pair.b.frame(pair.number))
        assert pair.a.budget == pytest.approx(min(expected, MOST), abs=1000)
        pair.number += 1


def test_losses_make_frames_smaller_and_pause(pair: Pair) -> None:
    pair.a_spool.post(B, bytes(1 << 20))
    pair.a.frame(1)
    before = pair.a.budget
    pair.a.answered(1)
    assert pair.a.budget == before // 2
    assert not pair.a.has_news()
    assert pair.a.patience()
    pair.clock.now += 5
    assert pair.a.has_news()


def _copy(spool: Spool, path: Path) -> None:
    spool.close()
    for suffix in ("", "-wal", "-shm"):
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", f"{path}{suffix}.old")


def _restore(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
        if Path(f"{path}{suffix}.old").exists():
            shutil.copy(f"{path}{suffix}.old", f"{path}{suffix}")


def test_a_sender_restored_from_an_old_copy_loses_no_new_letter(pair: Pair) -> None:
    pair.a_spool.post(B, b"1")
    pair.exchange()
    _copy(pair.a_spool, pair.folder / "a.db")
    pair.a_spool = Spool(pair.folder / "a.db", A)
    pair.a = Correspondence(pair.a_spool, B, pair.clock)
    pair.a_spool.post(B, b"2")
    pair.a_spool.post(B, b"3")
    pair.exchange()
    pair.a_spool.close()
    _restore(pair.folder / "a.db")
    pair.a_spool = Spool(pair.folder / "a.db", A)
    pair.a = Correspondence(pair.a_spool, B, pair.clock)
    pair.exchange()
    pair.a_spool.post(B, b"new")
    pair.exchange()
    pair.exchange()
    assert pair.at_b() == [b"1", b"2", b"3", b"new"]


def test_a_receiver_restored_from_an_old_copy_goes_on(pair: Pair) -> None:
    pair.exchange()
    _copy(pair.b_spool, pair.folder / "b.db")
    pair.b_spool = Spool(pair.folder / "b.db", B)
    pair.b = Correspondence(pair.b_spool, A, pair.clock)
    pair.a_spool.post(B, b"lost with the disk")
    pair.exchange()
    pair.b_spool.close()
    _restore(pair.folder / "b.db")
    pair.b_spool = Spool(pair.folder / "b.db", B)
    pair.b = Correspondence(pair.b_spool, A, pair.clock)
    pair.a_spool.post(B, b"next")
    for _ in range(3):
        pair.exchange()
    assert pair.at_b() == [b"next"]


def test_a_numbering_that_was_given_up_never_comes_back(pair: Pair) -> None:
    pair.a_spool.post(B, b"1")
    old = pair.a.frame(1)
    pair.b.take(old)
    pair.a_spool.renew_stream(B)
    pair.a = Correspondence(pair.a_spool, B, pair.clock)
    pair.exchange()
    with pytest.raises(Hostile) as caught:
        pair.b.take(old)
    assert caught.value.code == "spool.retired"


def _with(frame: bytes, change: Callable[[pb.Frame], object]) -> bytes:
    message = wire.parse(pb.Frame, frame)
    change(message)
    return wire.encode(message)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda f: f.__setattr__("sender", C), "exchange.address"),
        (lambda f: f.__setattr__("recipient", C), "exchange.address"),
        (lambda f: f.__setattr__("noise", b""), "wire.length"),
        (lambda f: f.__setattr__("stream", b"x" * 15), "wire.length"),
        (lambda f: f.__setattr__("first", 0), "exchange.number"),
        (lambda f: f.__setattr__("number", 1 << 63), "exchange.number"),
        (lambda f: f.__setattr__("offset", 1 << 40), "exchange.number"),
        (lambda f: f.pieces[0].__setattr__("number", 1 << 62), "exchange.number"),
        (lambda f: f.pieces[0].__setattr__("total", 1 << 50), "exchange.number"),
        (lambda f: f.pieces[0].__setattr__("total", 2), "spool.piece"),
        (lambda f: f.pieces[0].__setattr__("data", b""), "spool.piece"),
        (lambda f: f.pieces.extend([f.pieces[0]] * 200), "wire.count"),
    ],
)
def test_a_hostile_frame_is_refused_and_changes_nothing(
    pair: Pair, change: Callable[[pb.Frame], object], code: str
) -> None:
    pair.a_spool.post(B, b"letter")
    good = pair.a.frame(1)
    with pytest.raises(Hostile) as caught:
        pair.b.take(_with(good, change))
    assert caught.value.code == code
    assert pair.at_b() == []
    pair.b.take(good)
    assert pair.at_b() == [b"letter"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_random_bytes_are_hostile(pair: Pair, data: bytes) -> None:
    with pytest.raises(Hostile):
        pair.b.take(data)


def test_a_letter_that_changes_its_length_half_way_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", A)
    spool.accept(B, b"s" * 16, 1, [Part(1, 10, 0, b"12345")])
    with pytest.raises(Hostile) as caught:
        spool.accept(B, b"s" * 16, 1, [Part(1, 9, 5, b"6789")])
    assert caught.value.code == "spool.piece"


def test_a_flood_waits_outside(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", A, most_backlog=100)
    sent = [Part(n, 60, 0, bytes(60)) for n in (1, 2, 3)]
    spool.accept(B, b"s" * 16, 1, sent)
    assert len(spool.fetch(A)) == 1
    assert spool.wanted(B).number == 2
    spool.accept(C, b"c" * 16, 1, [Part(1, 60, 0, bytes(60))])  # another's share is its own
    assert len(spool.fetch(A)) == 2
    spool.acknowledge(A, spool.fetch(A)[0].number)
    assert spool.accept(B, b"s" * 16, 1, sent)


def test_the_file_is_private_and_a_full_disk_is_named(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", A)
    assert stat.S_IMODE((tmp_path / "s.db").stat().st_mode) == 0o600
    spool._db.execute("PRAGMA max_page_count = 20")
    with pytest.raises(Unavailable) as caught:
        spool.post(B, bytes(1_000_000))
    assert caught.value.code == "spool.disk"
    assert caught.value.remedy
    kept = spool.last(B)
    spool._db.execute("PRAGMA max_page_count = 100000")
    spool.post(B, b"again")
    assert spool.last(B) == kept + 1


def test_a_letter_beyond_the_limit_is_the_callers_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protos.spool.MAX_LETTER", 10)
    with pytest.raises(Misuse):
        Spool(tmp_path / "s.db", A).post(B, bytes(11))
