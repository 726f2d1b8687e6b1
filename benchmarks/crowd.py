"""One round of many hospitals on all cores: the coordinator here, the hospitals shared out among processes.

Each hospital is the product's own, with its store, vault, keys and two proxies, and is worked on when it would be in a
process of its own: when a letter has come, or when it is time to look. Letters pass between processes by pipes.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from analytics.study import StudySpec
from benchmarks.council import MadeAnalyst, names, no_table, study
from consent_contracts.chain import Addresses, Chain
from consent_contracts.proxy import Proxy
from consilium_errors import Unavailable
from coordinator.round import Rules
from deploy.council import Council, MadeData, hospital_at
from deploy.hospital import LOOK_S
from participants.analyst import SpecAnalyst
from participants.hospital import Hospital
from participants.ports import ports_for
from participants.round import Ports
from protos.consilium.v1 import round_pb2 as pb
from protos.mailbox import Letter, MemoryMailbox

PATIENCE_S = 1800.0
Line = Connection


class Round(NamedTuple):
    """``up``, ``down``: bytes that the busiest hospital sent and got."""

    wall_s: float
    up: int
    down: int


@dataclass(frozen=True)
class Desk:
    """What a process needs to work for its hospitals."""

    folder: Path
    rpc_url: str
    addresses: Addresses
    coordinator: bytes
    orgs: dict[str, bytes]
    spec: StudySpec


class Post(MemoryMailbox):
    """The coordinator's end: letters for a hospital go to the process that works for it."""

    def __init__(self) -> None:
        super().__init__()
        self.up: Counter[bytes] = Counter()
        self.down: Counter[bytes] = Counter()
        self._lines: dict[bytes, Line[Any, Any]] = {}

    def connect(self, orgs: Sequence[bytes], line: Line[Any, Any]) -> None:
        self._lines |= dict.fromkeys(orgs, line)
        threading.Thread(target=self._take, args=(line,), daemon=True).start()

    def _take(self, line: Line[Any, Any]) -> None:
        for to, body in _letters(line):
            self.up[pb.Mail.FromString(body).sender] += len(body)
            super().post(to, body)

    def post(self, to: bytes, body: bytes) -> None:
        self.down[to] += len(body)
        line = self._lines.get(to)
        if line is None:
            super().post(to, body)
        else:
            line.send((to, body))


class Branch(MemoryMailbox):
    """A process's end: what it posts goes to the coordinator."""

    def __init__(self, line: Line[Any, Any]) -> None:
        super().__init__()
        self._line = line
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        for to, body in _letters(self._line):
            super().post(to, body)
        os._exit(0)  # whoever started us is gone

    def post(self, to: bytes, body: bytes) -> None:
        self._line.send((to, body))

    def waits(self, org: bytes) -> list[Letter]:
        return self.fetch(org, most=1)


def _letters(line: Line[Any, Any]) -> Any:
    while True:
        try:
            yield line.recv()
        except (EOFError, OSError):
            return


class Crowd:
    """A council of ``hospitals`` that have updates of ``d`` parameters; close it, or use it in a ``with`` block.

    Args:
        processes: that share the hospitals; the default is one for each core.
    """

    def __init__(
        self, folder: Path, rpc_url: str, d: int, hospitals: int, processes: int | None = None
    ) -> None:
        self._stack, self._mail, self.done = ExitStack(), Post(), 0
        self.spec = study(d, "fhe", hospitals)
        folder.mkdir(mode=0o700, parents=True)
        council = Council(
            folder,
            rpc_url,
            dict.fromkeys(names(hospitals), _data()),
            rules=Rules(answer_s=3600, lock_s=3600),
            mailbox=self._mail,
            ports=_ports,
            look_s=LOOK_S,
        )
        self._stack.callback(council.close)
        self._coordinator = council.coordinator
        self.study = council.register(self.spec)
        orgs = {name: seat.desk.org for name, seat in council.seats.items()}
        desk = Desk(folder, rpc_url, council.addresses, council.coordinator.me, orgs, self.spec)
        shares = min(processes or os.cpu_count() or 1, hospitals)
        for share in range(shares):
            self._start(desk, names(hospitals)[share::shares])

    def _start(self, desk: Desk, its: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(desk, its, theirs), daemon=True)
        process.start()
        theirs.close()
        self._stack.callback(process.join)
        self._stack.callback(process.kill)
        self._mail.connect([desk.orgs[name] for name in its], ours)

    def round(self) -> Round:
        """One more round, from the coordinator's word on the last seal to its word on the next."""
        self._mail.up.clear()
        self._mail.down.clear()
        start, coordinator = time.perf_counter(), self._coordinator
        self.done += 1
        while coordinator.sealed_analysis(self.study, self.done) is None:
            if time.perf_counter() - start > PATIENCE_S:
                raise Unavailable("benchmark.timeout", "the round does not end")
            if not coordinator.tick():
                coordinator.wait(PATIENCE_S)
        wall = time.perf_counter() - start
        return Round(wall, max(self._mail.up.values()), max(self._mail.down.values()))

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _data() -> MadeData:
    return MadeData(no_table)


def _ports(name: str, analyst: SpecAnalyst) -> Ports:
    return ports_for(name, MadeAnalyst(analyst.spec))


def work(desk: Desk, its: Sequence[str], line: Line[Any, Any]) -> None:
    """The life of one process."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    branch = Branch(line)
    with ExitStack() as stack:
        hospitals = [_hospital(desk, name, branch, stack) for name in its]
        looked = dict.fromkeys(its, 0.0)
        while True:
            done = False
            for name, hospital in zip(its, hospitals, strict=True):
                now = time.monotonic()
                if branch.waits(desk.orgs[name]) or now - looked[name] >= LOOK_S:
                    looked[name] = now
                    done |= hospital.tick()
            if not done:
                branch.wait(0.05)


def _hospital(desk: Desk, name: str, branch: Branch, stack: ExitStack) -> Hospital:
    urls = [stack.enter_context(Proxy(desk.rpc_url)).url for _ in range(2)]
    chain = Chain(urls, desk.addresses)
    stack.callback(chain.close)
    return hospital_at(
        desk.folder / name,
        desk.orgs[name],
        frozenset(desk.orgs.values()),
        coordinator=desk.coordinator,
        mailbox=branch,
        chain=chain,
        data=_data(),
        ports=_ports,
        look_s=LOOK_S,
    )
