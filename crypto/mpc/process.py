"""A job in a process of its own: CrypTen's state is global, and torch takes seconds to load.

Children are forked from a server that has everything loaded and knows nothing, so each starts in milliseconds and
the caller need not load torch. What the function needs (stores, keys) it opens itself.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any, Final, Generic, Self, TypeVar

from consilium_errors import Error, Hostile, Misuse, Refused, Unavailable

T = TypeVar("T")
_KINDS: Final = {kind.kind: kind for kind in (Refused, Hostile, Misuse, Unavailable)}


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crypto.mpc._warm"])
    return context


class Job(Generic[T]):
    """Runs ``function(*args)`` elsewhere from now on; leaving the context ends it."""

    def __init__(self, function: Callable[..., T], *args: object) -> None:
        context = _context()
        self._result, far = context.Pipe(duplex=False)
        life, self._life = context.Pipe(duplex=False)
        self._process = context.Process(target=_main, args=(far, life, function, args), daemon=True)
        self._process.start()
        far.close()
        life.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def done(self) -> bool:
        """Whether `result` answers at once."""
        return self._result.poll()

    def result(self, timeout_s: float) -> T:
        """What the function returned.

        Raises:
            Error: what it raised. Unavailable: ``mpc.job`` if it crashed or took longer than ``timeout_s``.
        """
        try:
            if not self._result.poll(timeout_s):
                raise _failed(f"no answer in {timeout_s:g} s")
            kind, value = self._result.recv()
        except EOFError:
            raise _failed("it ended without an answer") from None
        if kind == "done":
            found: T = value
            return found
        raise _KINDS[kind](*value)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Whatever it is doing."""
        self._process.kill()
        self._process.join()
        self._result.close()
        self._life.close()


def _failed(why: str) -> Unavailable:
    return Unavailable(
        "mpc.job", f"the committee's job failed: {why}", "run it again; see the log of that process"
    )


def _main(
    answer: Connection[Any, Any],
    life: Connection[Any, Any],
    function: Callable[..., object],
    args: tuple[object, ...],
) -> None:
    threading.Thread(target=_end_with, args=(life,), daemon=True).start()
    try:
        found: tuple[str, object] = ("done", function(*args))
    except Error as error:
        found = (error.kind, (error.code, str(error), error.remedy))
    answer.send(found)
    answer.close()


def _end_with(life: Connection[Any, Any]) -> None:
    """Whoever asked is gone, killed perhaps: nobody waits for the answer, and the door must be free again."""
    try:
        life.recv()
    except (EOFError, OSError):
        os._exit(70)
