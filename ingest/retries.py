"""Retry while a dependency is unavailable, so that no event is blamed for an outage."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import redis
import structlog
from botocore.exceptions import BotoCoreError
from django.db import DatabaseError, InterfaceError, connection

from istore.db.statement_timeout import is_timeout
from istore.log_values import describe

SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 5.0  # between attempts; the pause doubles
# SQLSTATE classes that are about the server, its disk, its locks or its schema. A row can be
# blamed for data errors (22), violated constraints (23), exceeded limits (54) and a statement
# that took too long (57014).
OF_THE_SERVER = {"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58"}

Result = TypeVar("Result")
log = structlog.get_logger(__name__)


class Stopping(Exception):
    """The process is told to stop while it waits; its entries will be delivered again."""


class StoreAway(OSError):
    """The blob store does not answer."""


def is_outage(error: Exception) -> bool:
    """Return whether the same operation, unchanged, may succeed later."""
    if isinstance(error, redis.RedisError | StoreAway | BotoCoreError | InterfaceError):
        return True
    if not isinstance(error, DatabaseError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    if state is None:  # the error is the client's: no server answered
        return type(error).__name__ == "OperationalError"
    return not is_timeout(error) and state[:2] in OF_THE_SERVER


class RetryWhileUnavailable:
    """Repeats a call until what it needs is available. Logs each outage once, and its end."""

    def __init__(
        self, stopping: threading.Event, while_waiting: Callable[[], None]
    ) -> None:
        self._stopping = stopping
        self._while_waiting = while_waiting
        self._told: set[str] = set()

    def call(self, ask: Callable[[], Result]) -> Result:
        """Return what ``ask`` returns, once nothing it needs is away. Raises ``Stopping``.

        Errors that are no outage are raised at once.
        """
        seconds, met = SHORTEST_SECONDS, set()
        while True:
            try:
                result = ask()
            except Exception as error:
                if not is_outage(error):
                    raise
                met.add(type(error).__name__)
                self._tell(error)
                if isinstance(error, DatabaseError | InterfaceError):
                    connection.close()
            else:
                if self._told & met:
                    self._told -= met
                    log.info("listener goes on")
                return result
            self._while_waiting()
            if self._stopping.wait(seconds):
                raise Stopping
            seconds = min(seconds * 2, LONGEST_SECONDS)

    def _tell(self, error: Exception) -> None:
        name = type(error).__name__
        if name not in self._told:
            self._told.add(name)
            log.warning("listener waits", error=name, why=describe(error))
