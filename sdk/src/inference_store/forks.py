"""Connections belong to the process that opened them.

If two processes read one socket, each receives responses to requests of the other. So a
client opens its own connections in a forked child. It does not close those of its parent
there: closing a TLS connection would end it for the parent too.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

import httpx2

from inference_store.errors import ConnectionFailed

C = TypeVar("C")

# A process id alone does not tell a process from its ancestors in another pid namespace.
_generation = 0
_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()
_of_parents: list[object] = []


class ForkSafeLock:
    """A lock that is free in a forked child, whichever thread of the parent held it.

    Used as ``with lock:``. The thread that held it in the parent is not in the child, and
    would never release it there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *failure: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        self._lock = threading.Lock()


class PerProcess(Generic[C]):
    """One value for each process, made on first use there.

    Threads that ask at the same moment may each get a different value the first time; one
    of these values is kept. No lock is taken, because a lock may be held during a fork.
    """

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._kept: tuple[tuple[int, int], C] | None = None

    def get(self) -> C:
        """Return the value of this process; make it if there is none yet."""
        process, kept = this_process(), self._kept
        if kept is not None:
            if kept[0] == process:
                return kept[1]
            leave_to_parent(kept[1])
        value = self._make()
        self._kept = (process, value)
        return value

    def take(self) -> C | None:
        """Return the value of this process, or None, and forget it here."""
        kept, self._kept = self._kept, None
        if kept is None:
            return None
        if kept[0] == this_process():
            return kept[1]
        leave_to_parent(kept[1])
        return None


def this_process() -> tuple[int, int]:
    """Return a key that differs between a process and each of its descendants."""
    return os.getpid(), _generation


def leave_to_parent(connections: object) -> None:
    """Keep the parent's connections referenced, so that garbage collection never closes them."""
    _of_parents.append(connections)


class GivenTransport:
    """A transport that the caller made, bound to the process in which it was given.

    This package cannot reopen its connections, so using it in a forked child is refused.
    A transport without connections, such as a mock, may be used in any process.
    """

    def __init__(
        self, transport: httpx2.BaseTransport | httpx2.AsyncBaseTransport
    ) -> None:
        self._made_in = this_process()
        self._is_anywhere = isinstance(transport, httpx2.MockTransport)

    def check(self) -> None:
        """Raise ConnectionFailed in a child of the process in which the transport was given."""
        if not self._is_anywhere and this_process() != self._made_in:
            raise ConnectionFailed(
                "This client was given a transport before the process forked: its "
                "connections belong to the parent. Make a client after the fork."
            )


def _begin_child() -> None:
    global _generation
    _generation += 1
    for lock in _locks:
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
