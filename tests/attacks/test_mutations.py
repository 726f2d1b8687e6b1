"""Letters changed on their way, by the thousand: each is refused with a code, and none is taken for the honest one.

A slice runs always; ``CONSILIUM_NIGHTLY=1`` runs a million, with those of `tests.crypto.secure_sum.mutate`.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from google.protobuf.message import Message

from consilium_errors import Error
from consilium_records import RecordStore
from tests.attacks.test_fuzzed_machines import ANSWERS, MESSAGES, SAID, STAGES, desk, stage

# A verdict that was held back comes after its round is sealed, and is not heard.
HEARD = [kind for kind in ANSWERS if kind != "verdict"]
Said = tuple[tuple[str, bytes], ...]

# What a coordinator may choose, so that another choice is no forgery.
FREE: dict[str, Callable[[Message], object]] = {
    "task": lambda task: task.ctx.__setattr__("attempt", 0),  # type: ignore[attr-defined]
    "plan": lambda plan: plan.__setattr__("lock_by", 0),
}


class Overlay:
    """A store that takes records in and keeps them to itself, so that every mutant meets the same hearer."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._new: dict[tuple[str, str], bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, scope: str, slot: str) -> bytes | None:
        return self._new.get((scope, slot)) or self._store.get(scope, slot)

    def add(self, records: Iterable[tuple[str, str, bytes]]) -> None:
        self._new.update({(scope, slot): body for scope, slot, body in records})


def at_hospital(kind: str) -> Callable[[bytes], Said]:
    """What a hospital that waits for a letter of ``kind`` says to one."""
    me = stage(kind).world["a"]

    def hear(body: bytes) -> Said:
        store: Any = Overlay(me.store)
        step = me.machine.handle(kind, body, store, me.view())
        while step.again:
            store.add(step.records)
            step = me.machine.handle(kind, body, store, me.view())
        return step.send

    return hear


def at_coordinator(kind: str) -> Callable[[bytes], Said]:
    """What the coordinator records of one, while it waits for a letter of ``kind``."""
    hub, _ = desk(kind)

    def hear(body: bytes) -> Said:
        step = hub.machine.receive(kind, body, hub.store, hub.view())
        return tuple((record.slot, record.body) for record in step.records)

    return hear


def mutate(rng: random.Random, body: bytes, other: bytes) -> bytes:
    """One to three changes: bits, bytes, runs cut, doubled, moved or filled, a splice with another letter."""
    out = bytearray(body)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at, size = rng.randrange(len(out) or 1), rng.randrange(1, 80)
        match rng.randrange(9):
            case 0 | 1 | 2:
                out[at : at + 1] = bytes([(out[at] if out else 0) ^ 1 << rng.randrange(8)])
            case 3:
                out[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])
            case 4:
                del out[at : at + size]
            case 5:
                out[at:at] = out[at : at + size]
            case 6:
                out[at : at + size] = rng.randbytes(size)
            case 7:
                out[at : at + size] = other[at : at + size]
            case _:
                out[at:] = rng.choice((b"", other[at:]))
    return bytes(out)


def same(kind: str, message: type[Message], mutant: bytes, honest: bytes) -> bool:
    """Whether two letters differ at most in what the sender may choose."""
    found = [message.FromString(body) for body in (mutant, honest)]
    for each in found:
        FREE.get(kind, lambda _: None)(each)
    return found[0] == found[1]


def play(
    rng: random.Random,
    kind: str,
    message: type[Message],
    honest: bytes,
    others: list[bytes],
    hear: Callable[[bytes], Said],
    count: int,
) -> Counter[str]:
    """What became of ``count`` mutants; ``hear`` tells what the hearer would say."""
    seen, expected = Counter[str](), hear(honest)
    for _ in range(count):
        mutant = mutate(rng, honest, rng.choice(others))
        if mutant == honest:
            continue
        try:
            said = hear(mutant)
        except Error as error:
            seen["refused" if "." in error.code else "without a code"] += 1
            continue
        if [name for name, _ in said] == ["dispute"]:
            seen["disputed"] += 1
        elif kind in ("sum", "checked-all") and said == expected:
            seen["the same sum"] += (
                1  # a ciphertext with a little more noise, a word that the check does not need
            )
        else:
            assert same(kind, message, mutant, honest), (kind, mutant.hex())
            seen["a lawful choice"] += 1
    return seen


@pytest.mark.parametrize(
    "count", [2_000, pytest.param(450_000, marks=[pytest.mark.nightly, pytest.mark.timeout(5400)])]
)
def test_mutated_letters_are_refused(count: int) -> None:
    seed = int.from_bytes(os.urandom(4), "little")
    rng, seen = random.Random(seed), Counter[str]()
    bodies = [stage(kind).body for kind in STAGES] + [desk(kind)[1] for kind in HEARD]
    share = count // (len(STAGES) + len(HEARD))
    print("seed", seed)
    for kind in STAGES:
        # A letter with a ciphertext costs a child process.
        some = share // 4 if kind == "sum" else share
        seen += play(rng, kind, MESSAGES[kind], stage(kind).body, bodies, at_hospital(kind), some)
    for kind in HEARD:
        seen += play(rng, kind, SAID[kind], desk(kind)[1], bodies, at_coordinator(kind), share)
    print(dict(seen))
    assert seen["refused"] > 0.8 * sum(seen.values())
    assert seen["disputed"]
    assert not seen["without a code"]
