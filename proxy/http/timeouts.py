"""Timeouts of the steps of a call: one timer for all calls, instead of one for each.

They work as ``asyncio.timeout`` does, rounded up to the next tick. A call enters several such
blocks, and making and cancelling a timer of the event loop costs more than the blocks do.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

TICK_SECONDS = 0.1  # how late a timeout may be


class Timeout:
    """``with Timeout(seconds):`` raises ``TimeoutError`` when the block takes longer.

    Zero or None is no limit. It must be entered within a task, as every call runs in one.
    """

    __slots__ = ("_cancelling", "_is_over", "_seconds", "_task", "_until")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._is_over = False

    def __enter__(self) -> Timeout:
        if self._seconds:
            task = asyncio.current_task()
            assert task is not None
            self._task = task
            self._cancelling = task.cancelling()
            self._until = time.monotonic() + self._seconds
            _clock.watch(self)
        return self

    def reset(self) -> None:
        """Something happened: count the seconds from now on."""
        if self._seconds:
            self._until = time.monotonic() + self._seconds

    def end_if_over(self, now: float) -> bool:
        """Cancel the task if the time is over, and return whether it was."""
        if now < self._until:
            return False
        self._is_over = True
        self._task.cancel()
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._seconds:
            return
        _clock.forget(self)
        if (
            self._is_over
            and self._task.uncancel() <= self._cancelling
            and isinstance(error, asyncio.CancelledError)
        ):
            raise TimeoutError from error


class Clock:
    """Ticks while any block is entered, and ends those whose time is over."""

    def __init__(self) -> None:
        self._watched: set[Timeout] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that ticks

    def watch(self, patience: Timeout) -> None:
        """Look after a block that is entered; start to tick if this is the first one."""
        self._watched.add(patience)
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.get_running_loop()
            self._loop.call_later(TICK_SECONDS, self._tick)

    def forget(self, patience: Timeout) -> None:
        """Stop looking after a block."""
        self._watched.discard(patience)

    def _tick(self) -> None:
        now = time.monotonic()
        over = [timeout for timeout in self._watched if timeout.end_if_over(now)]
        self._watched.difference_update(over)
        if self._watched:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        else:
            self._loop = None


_clock = Clock()
