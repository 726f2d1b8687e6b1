"""StudyService: reads through the board, writes through the coordinator's own methods."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc

from consilium_errors import Misuse, Refused
from coordinator.api.board import FINAL, Board, own
from coordinator.api.guard import peer
from coordinator.api.limits import Limits
from coordinator.consents import Beginnings
from coordinator.service import Coordinator
from protos import wire
from protos.consilium.v1 import services_pb2 as api
from protos.consilium.v1 import services_pb2_grpc as rpc

PART = 1 << 20
LOOK_S = 0.2


class StudyService(rpc.StudyServiceServicer):
    """Every method is entered through `guard.Guard`, so the peer is known and its errors become codes."""

    def __init__(
        self, coordinator: Coordinator, board: Board, beginnings: Beginnings, limits: Limits
    ) -> None:
        self._coordinator, self._board = coordinator, board
        self._beginnings, self._limits = beginnings, limits

    def Submit(self, request: api.SubmitRequest, context: grpc.ServicerContext) -> api.Study:
        member = peer(context)
        if member.role != "sponsor":
            raise Refused("api.role", "only a sponsor may submit a study")
        own(self._coordinator.chain.snapshot().study(request.offer.study), member)
        study = self._coordinator.submit(wire.encode(request.offer))
        return self._board.show(study, anew=True)

    def Get(self, request: api.GetRequest, context: grpc.ServicerContext) -> api.Study:
        self._board.visible(request.study, peer(context))
        shown = api.Study()
        shown.CopyFrom(self._board.show(request.study))
        shown.spec = self._board.spec(request.study)
        return shown

    def List(self, request: api.ListRequest, context: grpc.ServicerContext) -> api.ListResponse:
        return self._board.page(peer(context), request)

    def Watch(self, request: api.WatchRequest, context: grpc.ServicerContext) -> Iterator[api.StudyEvent]:
        self._board.visible(request.study, peer(context))
        until = time.monotonic() + self._limits.stream_s
        seen: api.Study | None = None
        number = request.after_seal
        while context.is_active() and time.monotonic() < until:
            state = self._board.show(request.study)
            while (seal := self._board.seal(request.study, number + 1)) is not None:
                number += 1
                yield api.StudyEvent(seal=seal)
            if state != seen:
                seen = state
                yield api.StudyEvent(state=state)
            # The last seal is told before the end.
            if state.phase in FINAL and (number >= state.seals or state.phase != api.FINISHED):
                return
            time.sleep(LOOK_S)

    def Start(self, request: api.StartRequest, context: grpc.ServicerContext) -> api.Study:
        own(self._board.visible(request.study, peer(context)), peer(context))
        if self._coordinator.cancelled(request.study):
            raise Refused("study.cancelled", "the study was cancelled")
        self._beginnings.want(request.study, request.at_least)
        return self._board.show(request.study, anew=True)

    def Cancel(self, request: api.CancelRequest, context: grpc.ServicerContext) -> api.Study:
        own(self._board.visible(request.study, peer(context)), peer(context))
        self._coordinator.cancel(request.study)
        return self._board.show(request.study, anew=True)

    def Result(self, request: api.ResultRequest, context: grpc.ServicerContext) -> Iterator[api.ReleasePart]:
        own(self._board.visible(request.study, peer(context)), peer(context))
        releases = self._board.releases(request.study)
        if not releases:
            raise Misuse("study.unreleased", "no hospital has released a result yet", "watch the study")
        for org, body in releases.items():
            for start in range(0, len(body), PART):
                data = body[start : start + PART]
                yield api.ReleasePart(org=org, data=data, last=start + PART >= len(body))
