"""Where a role can be made to die, and the parts of a role that are wired to it.

Whatever a role does that outlives it has a name, here called an event:

``commit <scope>/<slot>``  a transaction of the record store that contains this record (the study's id is left out);
``say <kind>``             a transaction that records nothing and only queues a message;
``post <kind>``            a message leaves for the mailbox; ``sent <kind>`` it leaves the outbox;
``ack <kind>``             a letter is acknowledged;
``tx-put <function>``      the sender stores signed bytes; ``tx-send <function>`` they go to the node;
``call <function>``        the transaction is mined.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from consent_contracts.rpc import Rpc
from consent_contracts.sender import SqliteStore
from consilium_records import RecordStore
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import FileMailbox, Letter

When = Literal["before", "after"]


@dataclass(frozen=True)
class Fault:
    """Die by SIGKILL around the ``nth`` event that this incarnation makes and ``event`` (a glob) names."""

    event: str
    when: When
    nth: int = 1

    def names(self, events: Iterable[str]) -> bool:
        return any(fnmatchcase(event, self.event) for event in events)


def before(event: str, nth: int = 1) -> Fault:
    return Fault(event, "before", nth)


def after(event: str, nth: int = 1) -> Fault:
    return Fault(event, "after", nth)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Tripwire:
    """Writes every event to ``trace``, once it has happened, and kills its own process at the fault."""

    def __init__(self, trace: Path, fault: Fault | None = None) -> None:
        self._fault, self._seen = fault, 0
        self.function = ""  # of the transaction at hand
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, line: str) -> None:
        os.write(self._trace, line.encode() + b"\n")

    @contextmanager
    def around(self, *events: str) -> Iterator[None]:
        hit = self._hit(events)
        if hit == "before":
            die()
        yield
        self.note(" + ".join(events))
        if hit == "after":
            die()

    def _hit(self, events: Iterable[str]) -> When | None:
        if self._fault is None or not self._fault.names(events):
            return None
        self._seen += 1
        return self._fault.when if self._seen == self._fault.nth else None


_STUDY = re.compile(r"^[0-9a-f]{64}/")


def kind_of(letter: bytes) -> str:
    return wire.parse(pb.Mail, letter).kind


class WiredStore(RecordStore):
    def __init__(self, store: RecordStore, wire_: Tripwire) -> None:
        super().__init__(store._engine, store._cover)
        self._wire = wire_

    def commit(
        self,
        records: Iterable[tuple[str, str, bytes]] = (),
        send: Iterable[tuple[bytes, bytes]] = (),
        forget: Iterable[str] = (),
    ) -> None:
        records, send, forget = list(records), list(send), list(forget)
        names = [f"commit {_STUDY.sub('', f'{scope}/{slot}')}" for scope, slot, _ in records]
        names = names or sorted({f"say {kind_of(body)}" for _, body in send})
        if not names and not forget:
            return super().commit(records, send, forget)
        with self._wire.around(*names):
            return super().commit(records, send, forget)

    def sent(self, *numbers: int) -> None:
        kinds = {kind_of(o.body) for o in self.outgoing() if o.number in numbers}
        with self._wire.around(*(f"sent {kind}" for kind in sorted(kinds))):
            super().sent(*numbers)


class WiredMailbox(FileMailbox):
    def __init__(self, path: Path, wire_: Tripwire) -> None:
        super().__init__(path)
        self._wire = wire_

    def post(self, to: bytes, body: bytes) -> None:
        with self._wire.around(f"post {kind_of(body)}"):
            super().post(to, body)

    def acknowledge(self, to: bytes, number: int) -> None:
        kind = next((kind_of(x.body) for x in self.fetch(to) if x.number == number), "gone")
        with self._wire.around(f"ack {kind}"):
            super().acknowledge(to, number)


class CarelessMailbox(WiredMailbox):
    """What must not be done: whatever is fetched is gone."""

    def fetch(self, to: bytes, most: int = 64) -> list[Letter]:
        letters = super().fetch(to, most)
        for letter in letters:
            FileMailbox.acknowledge(self, to, letter.number)
        return letters


class WiredTransactions(SqliteStore):
    """The sender's own memory: ``chain/account/function/name`` → signed bytes."""

    def __init__(self, path: Path, wire_: Tripwire) -> None:
        super().__init__(path)
        self._wire = wire_

    def get(self, key: str) -> bytes | None:
        self._wire.function = key.split("/")[2]
        return super().get(key)

    def swap(self, key: str, before: bytes | None, after: bytes) -> bool:
        with self._wire.around(f"tx-put {self._wire.function}"):
            return super().swap(key, before, after)


class LyingRpc(Rpc):
    """Shows other code than ours for a while, then what is."""

    def __init__(self, url: str, lies: int = 6) -> None:
        super().__init__(url)
        self._lies = lies

    def code(self, address: bytes, block: str | bytes = "latest") -> bytes:
        self._lies -= 1
        return b"\0" if self._lies >= 0 else super().code(address, block)


class WiredRpc(Rpc):
    def __init__(self, url: str, wire_: Tripwire) -> None:
        super().__init__(url)
        self._wire = wire_

    def call(self, method: str, *params: object) -> Any:
        if method != "eth_sendRawTransaction":
            return super().call(method, *params)
        with self._wire.around(f"tx-send {self._wire.function}"):
            return super().call(method, *params)
