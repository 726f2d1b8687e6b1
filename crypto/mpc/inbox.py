"""Frames from one peer: read by a thread of their own, handed over in order, with a bound on what lies waiting."""

from __future__ import annotations

import threading
import time
from collections import deque

from consilium_errors import Error


class Inbox:
    """A queue bounded in bytes. A peer that sends more than is asked for waits in its own socket."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._frames: deque[bytearray] = deque()
        self._changed = threading.Condition()
        self._end: Error | None = None

    def put(self, frame: bytearray) -> bool:
        """Wait for room, then add; False once the inbox has ended."""
        with self._changed:
            while self._end is None and self._frames and self._held + len(frame) > self._most:
                self._changed.wait()
            if self._end is not None:
                return False
            self._frames.append(frame)
            self._held += len(frame)
            self._changed.notify_all()
            return True

    def end(self, why: Error) -> None:
        """Nothing more will come. What lies waiting can still be taken; the first reason stays."""
        with self._changed:
            self._end = self._end or why
            self._changed.notify_all()

    def take(self, timeout_s: float) -> bytearray | None:
        """The next frame, or None if none came in time; raises the reason if none can come."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._frames:
                if self._end is not None:
                    raise self._end
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return None
            frame = self._frames.popleft()
            self._held -= len(frame)
            self._changed.notify_all()
            return frame
