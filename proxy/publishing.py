"""Events onto the stream, or left to reconcile when Redis stays away.

Redis away must not fill the spool for ever: the markers are put, reconcile finds them, and
a full spool would lose inferences. So after a few attempts events are let go, and while
Redis is known to be away after one. Events too old for reconcile to look at are not let
go: they wait until Redis is back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event

from django.conf import settings
from redis.exceptions import RedisError

from ingest.events import InferenceEvent
from ingest.stream import EventStream

WAITS = (0.1, 0.2, 0.5, 1.0, 2.0)
LONGEST_WAIT = 5.0
AWAY_SECONDS = 30.0

log = logging.getLogger(__name__)


class Publisher:
    """The stream, as the capture process rings it."""

    def __init__(self, stop: Event, stream: EventStream | None = None) -> None:
        self._stop = stop
        self._stream = stream or EventStream()
        self._away_until = 0.0

    def publish(self, events: Sequence[InferenceEvent]) -> bool:
        """Whether the events need no more care; False when told to stop before that."""
        is_away = time.monotonic() < self._away_until
        waits = iter(() if is_away else WAITS)
        while True:
            try:
                self._stream.publish(_stamp(events))
                return True
            except RedisError as error:
                wait = next(waits, None)
                if wait is None and all(map(is_within_reconcile, events)):
                    self._let_go(len(events), error)
                    return True
            if self._stop.wait(wait or LONGEST_WAIT):
                return False

    def _let_go(self, count: int, error: RedisError) -> None:
        self._away_until = time.monotonic() + AWAY_SECONDS
        kind = type(error).__name__
        log.warning("Redis is away (%s): %d events left to reconcile", kind, count)


def _stamp(events: Sequence[InferenceEvent]) -> list[InferenceEvent]:
    """The events, published now: the listener takes a delay for a clock that is wrong."""
    now = datetime.now(UTC)
    return [replace(event, event_published_at=now) for event in events]


def is_within_reconcile(event: InferenceEvent) -> bool:
    """Whether reconcile will surely come by: with half of its window to spare."""
    window = timedelta(hours=settings.ISTORE_RECONCILE_HOURS)
    return datetime.now(UTC) - event.request_received_at < window / 2
