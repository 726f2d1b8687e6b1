"""The agent's rules, with two spools and a clock, without Flower."""

from __future__ import annotations

from pathlib import Path

import pytest

from participants.transport.agent import HOLD_S, Agent
from protos.exchange import ACK_S, Correspondence
from protos.spool import Spool

A, B = b"\xaa" * 20, b"\xbb" * 20


class Question:
    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.answered: bytes | None = None
        self.code = ""

    def answer(self, payload: bytes) -> None:
        assert self.answered is None
        self.answered = payload

    def refuse(self, code: str) -> None:
        self.code = code


class Desk:
    def __init__(self, folder: Path) -> None:
        self.now = 50.0
        self.coordinator_spool, self.spool = Spool(folder / "a.db", A), Spool(folder / "b.db", B)
        self.coordinator = Correspondence(self.coordinator_spool, B, lambda: self.now)
        self.agent = Agent(self.spool, A, clock=lambda: self.now)
        self.number = 0
        self.first = self.ask()
        self.coordinator.answered(1)

    def ask(self, *awaiting: int) -> Question:
        self.number += 1
        question = Question(self.coordinator.frame(self.number, awaiting))
        self.agent.asked(question)
        return question

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.agent.speak()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_first_question_is_answered_at_once(desk: Desk) -> None:
    assert desk.first.answered


def test_a_question_is_held_until_there_is_a_letter(desk: Desk) -> None:
    question = desk.ask()
    desk.wait(1)
    assert question.answered is None
    desk.spool.post(A, b"letter")
    desk.wait(0.02)
    assert question.answered
    desk.coordinator.take(question.answered)
    assert [letter.body for letter in desk.coordinator_spool.fetch(A)] == [b"letter"]


def test_a_question_is_not_held_for_ever(desk: Desk) -> None:
    question = desk.ask()
    desk.wait(HOLD_S + 0.1)
    assert question.answered


def test_the_oldest_question_is_answered_and_one_stays(desk: Desk) -> None:
    first = desk.ask()
    second = desk.ask(2)
    assert first.answered
    assert second.answered is None


def test_an_acknowledgement_waits_for_the_letter_it_can_go_with(desk: Desk) -> None:
    first = desk.ask()
    desk.coordinator_spool.post(B, b"down")
    second = desk.ask(2)
    assert first.answered is None
    desk.spool.post(A, b"up")
    desk.wait(0.02)
    assert first.answered
    assert second.answered is None
    desk.coordinator.take(first.answered)
    assert not desk.coordinator_spool.read(B, 1, 0, 1)  # acknowledged by the same answer


def test_without_a_letter_it_goes_alone(desk: Desk) -> None:
    desk.coordinator_spool.post(B, b"down")
    question = desk.ask()
    assert question.answered is None
    desk.wait(ACK_S)
    assert question.answered


def test_a_question_nobody_awaits_is_dropped(desk: Desk) -> None:
    first = desk.ask()
    second = desk.ask()  # the coordinator began anew and awaits only this
    desk.spool.post(A, b"letter")
    desk.wait(0.02)
    assert first.answered is None
    assert first.code == "exchange.not_awaited"
    assert second.answered


def test_a_letter_that_went_with_a_lost_answer_goes_again(desk: Desk) -> None:
    lost = desk.ask()
    desk.spool.post(A, b"letter")
    desk.wait(0.02)
    assert lost.answered
    again = desk.ask()
    desk.wait(3)
    assert again.answered
    desk.coordinator.take(again.answered)
    assert [letter.body for letter in desk.coordinator_spool.fetch(A)] == [b"letter"]


def test_rubbish_and_repeats_get_a_code(desk: Desk) -> None:
    rubbish = Question(b"rubbish")
    desk.agent.asked(rubbish)
    assert rubbish.code.startswith("wire.")
    good = desk.ask()
    repeat = Question(good.payload)
    desk.agent.asked(repeat)
    assert repeat.code == "exchange.repeated"
    desk.spool.post(A, b"letter")
    desk.wait(0.02)
    assert good.answered


def test_a_full_disk_is_a_code_and_the_next_question_works(desk: Desk) -> None:
    desk.spool._db.execute("PRAGMA max_page_count = 22")
    desk.coordinator_spool.post(B, bytes(500_000))
    question = desk.ask()
    assert question.code == "spool.disk"
    desk.spool._db.execute("PRAGMA max_page_count = 100000")
    desk.coordinator.answered(2)
    desk.now += 5
    desk.ask()
    assert len(desk.spool.fetch(B)) == 1
