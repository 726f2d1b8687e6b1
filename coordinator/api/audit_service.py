"""AuditService: what the coordinator can hand to an auditor. None of it needs to be believed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from coordinator.api.board import Board
from coordinator.api.guard import peer
from protos import wire
from protos.consilium.v1 import round_pb2 as pb
from protos.consilium.v1 import services_pb2 as api
from protos.consilium.v1 import services_pb2_grpc as rpc

if TYPE_CHECKING:
    from consent_contracts.auditor import Verdict

READERS = ("sponsor", "hospital", "regulator")
PAGE = 100
KEEP_S = 30.0

#: (study, public bundle) → what a replay finds.
Replay = Callable[[bytes, bytes], "Verdict"]


@dataclass
class _Replayed:
    lock: threading.Lock = field(default_factory=threading.Lock)
    at: float = float("-inf")
    answer: api.VerdictResponse | None = None


class AuditService(rpc.AuditServiceServicer):
    """Args: ``replay`` reads the chain anew; its verdict is kept for `KEEP_S` seconds."""

    def __init__(self, board: Board, replay: Replay) -> None:
        self._board, self._replay = board, replay
        self._lock = threading.Lock()
        self._last: dict[bytes, _Replayed] = {}

    def ListStudies(self, request: api.ListRequest, context: grpc.ServicerContext) -> api.ListResponse:
        return self._board.page(peer(context), request, READERS)

    def ListSeals(
        self, request: api.ListSealsRequest, context: grpc.ServicerContext
    ) -> api.ListSealsResponse:
        self._board.visible(request.study, peer(context), READERS)
        seals: list[api.SealInfo] = []
        while len(seals) < PAGE:
            seal = self._board.seal(request.study, request.after + len(seals) + 1)
            if seal is None:
                return api.ListSealsResponse(seals=seals)
            seals.append(seal)
        return api.ListSealsResponse(seals=seals, next=seals[-1].number)

    def GetBundle(
        self, request: api.GetBundleRequest, context: grpc.ServicerContext
    ) -> Iterator[api.BundlePart]:
        self._board.visible(request.study, peer(context), READERS)
        yield api.BundlePart(spec=self._board.spec(request.study))
        for public in self._rounds(request.study):
            yield api.BundlePart(round=public)

    def Verdict(self, request: api.VerdictRequest, context: grpc.ServicerContext) -> api.VerdictResponse:
        self._board.visible(request.study, peer(context), READERS)
        with self._lock:
            last = self._last.setdefault(request.study, _Replayed())
        with last.lock:  # one replay at a time, however many ask
            if last.answer is None or time.monotonic() - last.at >= KEEP_S:
                last.answer = self._verdict(request.study)
                last.at = time.monotonic()
            return last.answer

    def _verdict(self, study: bytes) -> api.VerdictResponse:
        bundle = pb.Bundle(spec=self._board.spec(study), rounds=self._rounds(study))
        verdict = self._replay(study, wire.encode(bundle))
        return api.VerdictResponse(
            checks=[  # without the details: they are for the auditor's own screen
                api.Check(name=c.name, subject=c.subject, outcome=c.outcome, code=c.code)
                for c in verdict.checks
            ],
            block=verdict.block,
            events=verdict.events,
            locks=verdict.locks,
            seals=verdict.seals,
            signatures=verdict.signatures,
            made_at=int(time.time()),
        )

    def _rounds(self, study: bytes) -> Iterator[pb.SealedRound]:
        number = 1
        while (public := self._board.public_round(study, number)) is not None:
            yield public
            number += 1
