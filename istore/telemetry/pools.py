"""Threads that use the database, each by a connection of its own: they are the pool.

``waiting`` counts what no thread has begun yet: while it stays above zero, there are more requests
than threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from istore.telemetry.metrics import PROXY, WEB, Moment

Result = TypeVar("Result")
OF = (WEB, PROXY)

size = Moment(
    "istore_database_pool_size",
    "Threads of the role, each with a database connection of its own.",
    roles=OF,
)
in_use = Moment("istore_database_pool_in_use", "Threads that work now.", roles=OF)
waiting = Moment(
    "istore_database_pool_waiting", "Requests that wait for a thread.", roles=OF
)
for _each in (size, in_use, waiting):
    _each.set(0)


class ObservedThreads(ThreadPoolExecutor):
    """A pool of threads that tells how much of it is in use."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, name)
        size.set(threads)

    def submit(
        self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any
    ) -> Future[Result]:
        waiting.add()
        future = super().submit(self._run, fn, *args, **kwargs)
        future.add_done_callback(self._forget_cancelled)
        return future

    @staticmethod
    def _run(fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        waiting.add(by=-1)
        in_use.add()
        try:
            return fn(*args, **kwargs)
        finally:
            in_use.add(by=-1)

    @staticmethod
    def _forget_cancelled(future: Future[Any]) -> None:
        if future.cancelled():  # before a thread began with it
            waiting.add(by=-1)
