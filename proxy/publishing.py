"""Publish events to the stream, or leave them to reconcile while Redis is away.

Redis being away must not fill the spool for ever, because a full spool would lose inferences.
The markers are uploaded, and reconcile finds them. So events are let go after a few attempts, or
after one while Redis is known to be away. Events that are too old for reconcile to look at are
never let go: they wait until Redis is back.
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

WAITS = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between attempts
LONGEST_WAIT = 5.0  # between attempts for events that reconcile would not find
AWAY_SECONDS = 30.0  # for which a failure counts: meanwhile there is one attempt each

log = logging.getLogger(__name__)


class Publisher:
    """Publishes events to the stream for the capture process."""

    def __init__(self, stop: Event, stream: EventStream | None = None) -> None:
        self._stop = stop
        self._stream = stream or EventStream()
        self._away_until = 0.0

    def publish(self, events: Sequence[InferenceEvent]) -> bool:
        """Return True once the events need no more care; False when told to stop before that."""
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

    def note_captured(self, size: int) -> None:
        """Count bytes that were taken out of the spool, for the operator page."""
        if time.monotonic() < self._away_until:
            return
        try:
            self._stream.note_progress(size)
        except RedisError as error:
            log.debug("Captured bytes are not counted: %s", error)

    def _let_go(self, count: int, error: RedisError) -> None:
        self._away_until = time.monotonic() + AWAY_SECONDS
        kind = type(error).__name__
        log.warning("Redis is away (%s): %d events left to reconcile", kind, count)


def _stamp(events: Sequence[InferenceEvent]) -> list[InferenceEvent]:
    """Return the events as published now: the listener takes a delay for a clock that is wrong."""
    now = datetime.now(UTC)
    return [replace(event, event_published_at=now) for event in events]


def is_within_reconcile(event: InferenceEvent) -> bool:
    """Return whether reconcile will surely see the event: half of its window must be left."""
    window = timedelta(hours=settings.ISTORE_RECONCILE_HOURS)
    return datetime.now(UTC) - event.request_received_at < window / 2
