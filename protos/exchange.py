"""Letters over exchanges of frames: the rules that both ends follow, whatever carries the frames.

The coordinator asks, the hospital answers (`Frame`, exchange.proto). As in BOSH (XEP-0124) one question is kept
waiting at the hospital, so that its letters travel at once, and a second may follow it, so that the coordinator's
do too. The wire is untrusted: it may lose, repeat, reorder or replay.

* A frame says which byte it wants next from the other side; that is the only acknowledgement.
* Pieces are taken only where they continue what is there, so repeats and gaps do no harm.
* An acknowledgement alone waits a little for letters to go with, unless the sender has more to send.
* What was sent is sent again only when the frame that carried it is known to be lost: the answer came without
  acknowledging it, or the coordinator no longer awaits the exchange.
* How much a frame carries follows the measured speed of the peer: about ten seconds' worth.

Example: question 7 brings letter 3 of the coordinator while question 6 is held. The hospital's next letter goes
with the answer to 6, which says "wanted: letter 4"; 7 is held. Without a letter, 6 is answered after `ACK_S`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from consilium_errors import Hostile
from protos import wire
from protos.consilium.v1 import exchange_pb2 as pb
from protos.spool import MAX_LETTER, Part, Spool, Wanted

#: One object of the wire below is at most this long.
CHUNK = 4 << 20
LEAST, START, MOST = 64 << 10, 1 << 20, 16 << 20
SECONDS_PER_FRAME = 10.0
ACK_S = 0.25
_OVERHEAD = 64 << 10
_FEW = 256  # pieces in one frame


@dataclass
class _InFlight:
    exchange: int
    number: int
    offset: int
    size: int
    since: float


@dataclass
class Correspondence:
    """This side's view of the letters with one peer. Not thread-safe: its owner serialises calls.

    Args:
        spool: durable store of this side; ``peer``: 20-byte address of the other.
    """

    spool: Spool
    peer: bytes
    clock: Callable[[], float] = time.monotonic
    budget: int = START
    _owes_from: float | None = None  # when the peer must hear what arrived; None if it has
    _acked: tuple[int, int] = (0, 0)  # the next byte to send
    _reported: tuple[int, int] = (0, 0)  # the last that the peer asked for
    _losses: int = 0
    _not_before: float = 0.0
    _in_flight: _InFlight | None = field(default=None, repr=False)

    # going out ----------------------------------------------------------------------------------------

    def has_news(self) -> bool:
        """Whether a frame now would carry something."""
        if self._owes_from is not None and self.clock() >= self._owes_from:
            return True
        return self._may_send() and self.spool.last(self.peer) >= max(self._acked[0], 1)

    def patience(self) -> float | None:
        """Seconds until there is news without anything else happening; None if it takes a letter."""
        times = [t for t in (self._owes_from, self._not_before or None) if t is not None]
        ahead = [t - self.clock() for t in times]
        return max(min(ahead), 0.0) if ahead else None

    def _may_send(self) -> bool:
        return self._in_flight is None and self.clock() >= self._not_before

    def frame(self, exchange: int, awaiting: tuple[int, ...] = ()) -> bytes:
        """The next frame: acknowledgement, and pieces unless some are on their way."""
        mine, wanted = self.spool.numbering(self.peer), self.spool.wanted(self.peer)
        pieces: list[pb.Piece] = []
        if self._may_send():
            pieces = self._pieces(exchange, max(self._acked, (mine.first, 0)))
        self._owes_from = None
        return wire.encode(
            pb.Frame(
                noise=secrets.token_bytes(16),
                sender=self.spool.me,
                recipient=self.peer,
                exchange=exchange,
                awaiting=awaiting,
                stream=mine.stream,
                first=mine.first,
                heard=wanted.stream,
                number=wanted.number,
                offset=wanted.offset,
                pieces=pieces,
                more=self._in_flight is not None and self._in_flight.number < mine.next,
            )
        )

    def _pieces(self, exchange: int, start: tuple[int, int]) -> list[pb.Piece]:
        (number, offset), left, pieces = start, self.budget, list[pb.Piece]()
        while left > 0 and len(pieces) < _FEW:
            part = self.spool.read(self.peer, number, offset, left)
            if part is None:
                break
            pieces.append(pb.Piece(number=part.number, total=part.total, offset=part.offset, data=part.data))
            left -= len(part.data)
            offset += len(part.data)
            if offset >= part.total:
                number, offset = number + 1, 0
        if pieces:
            self._in_flight = _InFlight(exchange, number, offset, self.budget - left, self.clock())
        return pieces

    # coming in ----------------------------------------------------------------------------------------

    def take(self, data: bytes) -> pb.Frame:
        """Deal with a frame from the peer: its acknowledgement, then its pieces.

        Raises:
            Hostile: a ``wire.*``, ``exchange.address``, ``exchange.number``, or a ``spool.*``.
        """
        frame = wire.parse(pb.Frame, data, most=MOST + _OVERHEAD)
        if (frame.sender, frame.recipient) != (self.peer, self.spool.me):
            raise Hostile("exchange.address", "a frame between others")
        if max(frame.first, frame.number, *(p.number for p in frame.pieces), 0) >> 62 or frame.first < 1:
            raise Hostile("exchange.number", "a letter's number out of range")
        if max(frame.offset, *(max(p.offset, p.total) for p in frame.pieces), 0) > MAX_LETTER:
            raise Hostile("exchange.number", "a place behind the end of any letter")
        self._acknowledged(Wanted(frame.heard, frame.number, frame.offset))
        parts = [Part(p.number, p.total, p.offset, p.data) for p in frame.pieces]
        if parts:
            self.spool.accept(self.peer, frame.stream, frame.first, parts)
            due = self.clock() + (0.0 if frame.more else ACK_S)
            self._owes_from = min(due, self._owes_from or due)
        return frame

    def _acknowledged(self, wanted: Wanted) -> None:
        mine, place = self.spool.numbering(self.peer), (wanted.number, wanted.offset)
        self._reported = place if wanted.stream == mine.stream else (0, 0)
        if self._reported > (mine.next, 0):
            self.spool.renew_stream(self.peer)
            self._acked = self._reported = (0, 0)
            self._in_flight = None
        if self._reported <= self._acked:
            return
        self._acked, self._losses, self._not_before = place, 0, 0.0
        if wanted.number > mine.first:
            self.spool.delivered(self.peer, wanted.number)
        sent = self._in_flight
        if sent is not None and place >= (sent.number, sent.offset):
            self._speed(sent.size, self.clock() - sent.since)
            self._in_flight = None

    def _speed(self, size: int, seconds: float) -> None:
        if size >= LEAST or seconds > SECONDS_PER_FRAME:
            fair = int(size / max(seconds, 1e-3) * SECONDS_PER_FRAME)
            self.budget = min(max(fair, LEAST), MOST)

    # what was lost ------------------------------------------------------------------------------------

    def answered(self, exchange: int) -> None:
        """Exchange ``exchange`` is over; if its pieces are not acknowledged by now, they never arrived."""
        if self._in_flight is None or self._in_flight.exchange != exchange:
            return
        self._in_flight, self._acked = None, self._reported
        self.budget = max(self.budget // 2, LEAST)
        self._losses += 1
        self._not_before = self.clock() + min(0.02 * 2**self._losses, 2.0)

    def still_awaited(self, exchanges: set[int]) -> None:
        """The coordinator awaits answers to these; what went with another one has arrived or is lost."""
        if self._in_flight is not None and self._in_flight.exchange not in exchanges:
            self.answered(self._in_flight.exchange)

    def forget_flights(self) -> None:
        """The wire was replaced: nothing of what is on its way will arrive, and no pause is due."""
        self._in_flight, self._acked = None, self._reported
        self._losses, self._not_before = 0, 0.0
