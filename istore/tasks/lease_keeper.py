"""Renew the lease of a claimed task while its work writes nothing else to the task."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from django.db import DatabaseError, connection

from istore.tasks.tracking import GivenBack, LeaseLost, Stopped, TrackedTask

# Also how old the progress is that pages show. The shortest lease is five seconds.
RENEW_SECONDS = 2.0

log = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews a lease every ``RENEW_SECONDS``, and writes the fields of ``progress`` with it.

    Work that is a loop calls ``renew_if_due`` in it. Other work, or a loop whose connection is
    busy, runs in a block of ``in_background``.
    """

    def __init__(
        self, task: TrackedTask, progress: Callable[[], dict[str, Any]] = dict
    ) -> None:
        # A copy, because ``record`` sets the fields, and a thread must not change its worker's.
        self._task = copy.copy(task)
        self._progress = progress
        self._due_at = time.monotonic() + RENEW_SECONDS
        self._end: GivenBack | LeaseLost | Stopped | None = None

    def renew_if_due(self) -> None:
        """Renew the lease when it is time. Raises as ``record`` does."""
        if time.monotonic() >= self._due_at:
            self._renew()
            self._due_at = time.monotonic() + RENEW_SECONDS

    @contextmanager
    def in_background(self) -> Iterator[Callable[[], None]]:
        """Renew the lease by a thread, with a connection of its own, until the block ends.

        Yields a function that raises what ``record`` raises once the thread has met it. The
        lease of a task that is to be stopped is kept until the work has noticed.
        """
        done = Event()
        thread = Thread(target=self._keep_renewing, args=(done,), daemon=True)
        thread.start()
        try:
            yield self._raise_end
        finally:
            done.set()
            thread.join()

    def _keep_renewing(self, done: Event) -> None:
        try:
            while not done.wait(RENEW_SECONDS):
                try:
                    self._renew()
                except (GivenBack, Stopped) as error:
                    self._end = error
                except LeaseLost as error:
                    self._end = error
                    return
                except DatabaseError as error:
                    # It must not end the thread: nobody would renew the lease, and another
                    # worker would do the same work at the same time.
                    log.warning("lease of %s not renewed: %s", self._task, error)
                    connection.close()
        finally:
            connection.close()

    def _renew(self) -> None:
        self._task.record(heed_stop=self._end is None, **self._progress())

    def _raise_end(self) -> None:
        if self._end is not None:
            raise self._end
