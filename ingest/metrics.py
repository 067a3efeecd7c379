"""Counters of the listener, written as one log line a minute."""

from __future__ import annotations

import time
from collections import Counter

import redis
import structlog

from ingest import telemetry
from ingest.stream import EventStream
from istore.tasks.broker import wrong_replies

TELL_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Every:
    """A timer: is it time again? The first time is after one period, or at once."""

    def __init__(self, seconds: float, *, at_once: bool = False) -> None:
        self._seconds = seconds
        self._last = time.monotonic() - (seconds if at_once else 0)

    def is_due(self) -> bool:
        """Return whether the period is over, and start the next one if so."""
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True

    def make_due(self) -> None:
        """Make the next ``is_due`` true."""
        self._last -= self._seconds


class Counts:
    """Counters of the events handled, by outcome, and of dead letters, by reason.

    The outcomes are ``recorded``, ``copies``, ``other_content``, ``removed`` and ``waiting``.
    """

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.set_aside: Counter[str] = Counter()
        self._every = Every(TELL_SECONDS)

    def count(self, outcome: str, number: int = 1) -> None:
        """Count events with this outcome, here and in the metrics."""
        self.events[outcome] += number
        telemetry.events.add(outcome, by=number)

    def count_letter(self, reason: str) -> None:
        """Count a dead letter, here and in the metrics."""
        self.set_aside[reason] += 1
        telemetry.dead_letters.add(str(reason))

    def tell_now_and_then(self, stream: EventStream) -> None:
        """Log the counters if a minute has passed."""
        if not self._every.is_due():
            return
        try:
            lag = stream.lag()
        except redis.RedisError:
            return  # the next read of the stream fails and logs it
        self.tell(lag_waiting=lag.waiting, lag_pending=lag.pending)

    def tell(self, **values: int) -> None:
        """Log the counters."""
        reasons = {f"set_aside.{reason}": n for reason, n in self.set_aside.items()}
        wrong = {f"wrong_reply.{command}": n for command, n in wrong_replies.items()}
        log.info("events", **self.events, **reasons, **wrong, **values)
