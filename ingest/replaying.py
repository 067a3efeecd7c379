"""Publish dead letters again, once their cause is repaired."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from ingest.events import InferenceEvent
from ingest.models import DeadLetter
from ingest.stream import EventStream
from istore.db.clock import now
from istore.failpoints import failpoint

AT_ONCE = 500  # events published, and marked, at a time


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many events were published, and how many could not be parsed."""

    published: int = 0
    unreadable: int = 0


def replay(waiting: QuerySet[DeadLetter], stream: EventStream) -> Replayed:
    """Publish the events again, oldest first. Those that cannot be parsed stay.

    They are marked after they were published: after a crash in between they are published again,
    as duplicates. They are locked meanwhile, so that no rewriting of a pack changes their keys.
    """
    total, last = Replayed(), 0
    while True:
        with transaction.atomic():
            rows = waiting.filter(replayed_at=None, pk__gt=last).order_by("pk")
            locked = list(rows.select_for_update()[:AT_ONCE])
            if not locked:
                return total
            done = _publish(locked, stream)
        total = Replayed(
            total.published + done.published, total.unreadable + done.unreadable
        )
        last = locked[-1].pk


def _publish(rows: list[DeadLetter], stream: EventStream) -> Replayed:
    events = {}
    for row in rows:
        with suppress(ValueError):
            events[row.pk] = _as_published_now(row)
    stream.publish(events.values())
    failpoint("replay.published")
    DeadLetter.objects.filter(pk__in=events).update(replayed_at=Now())
    return Replayed(len(events), len(rows) - len(events))


def _as_published_now(row: DeadLetter) -> InferenceEvent:
    """Return the event as published now, with the clock error of its first publication.

    That error is the distance to the stream's time, which the listener corrects again.
    """
    event = InferenceEvent.from_json(bytes(row.payload))
    milliseconds = int(row.stream_id.partition("-")[0])
    streamed_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    distance = event.event_published_at - streamed_at
    if abs(distance).total_seconds() <= settings.ISTORE_CLOCK_SKEW_MAX_SECONDS:
        distance = timedelta()
    return replace(event, event_published_at=now() + distance)
