"""Commit markers that nobody recorded are published again: the stream may forget.

The hours of the last ``ISTORE_RECONCILE_HOURS`` are listed, model by model, and held
against the storage keys of the records of that hour, which start alike. Only what is
left over is read and looked up by itself. A closed hour in which nothing was missing is
remembered in the cache, and listed again when that has been forgotten: after some hours,
or because the cache went the way of the stream.

Publishing too much is harmless, a copy is a copy. So this needs no lock on anything; it
only waits while the listener is behind, whose backlog would look like a loss.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import connection

from inferences.models import InferencePayload, RegisteredModel
from inferences.models.row_ids import first_id_at
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.markers import read_event_of, read_marker
from ingest.models import SetAsideEvent
from ingest.reconciliation_state import already_processed
from ingest.stream import EventStream
from istore import blobs
from istore.db.clock import now
from istore.failpoints import failpoint

HOUR = timedelta(hours=1)
STILL_ON_ITS_WAY = timedelta(minutes=2)
CLOSED_AFTER = timedelta(minutes=10)
AT_ONCE = 500
MOST = 50_000  # of one run; the next one finds the rest

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hour:
    """The blobs that one model's inferences of one hour left, and when we look."""

    model: RegisteredModel
    start: datetime
    at: datetime

    @property
    def prefix(self) -> str:
        model = self.model
        return blobs.prefix_for(model.project_id, model.pk, self.start, "")

    @property
    def is_closed(self) -> bool:
        return self.start + HOUR + CLOSED_AFTER < self.at

    @property
    def cache_key(self) -> str:
        return f"reconciled:{self.model.pk}:{self.start:%Y%m%d%H}"


def reconcile(stream: EventStream) -> int:
    """How many events were published again."""
    with _alone() as first:
        if not first:
            return 0
        if stream.lag().waiting > settings.ISTORE_LISTENER_BATCH:
            log.info("reconcile waits until the listener has caught up")
            return 0
        published = 0
        at = now()
        for model in RegisteredModel.objects.order_by("pk"):
            for hour in _hours(model, at):
                published += _reconcile_hour(hour, stream)
                if published >= MOST:
                    log.warning("reconcile stops early", published=published)
                    return published
        if published:
            log.warning("events published again", count=published)
        return published


def _hours(model: RegisteredModel, at: datetime) -> Iterator[Hour]:
    """The hours that have blobs, latest first, without those known to be in order."""
    oldest = at - settings.ISTORE_RECONCILE_HOURS * HOUR
    start = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    hours = []
    day, present = None, set()
    while start > oldest - HOUR:
        if start.date() != day:
            day = start.date()
            of_day = f"{model.project_id}/{model.pk}/{start:%Y/%m/%d}"
            present = set(blobs.listed(of_day)[0])
        if f"{start:%H}" in present:
            hours.append(Hour(model, start, at))
        start -= HOUR
    known = cache.get_many([hour.cache_key for hour in hours])
    yield from (hour for hour in hours if hour.cache_key not in known)


def _reconcile_hour(hour: Hour, stream: EventStream) -> int:
    left = sorted(_without_record(hour))
    published, in_order = 0, True
    for start in range(0, len(left), AT_ONCE):
        events, clean = _lost(hour, left[start : start + AT_ONCE])
        in_order = in_order and clean and not events
        stream.publish(replace(each, event_published_at=now()) for each in events)
        failpoint("reconcile.published")
        published += len(events)
    if in_order and hour.is_closed:
        cache.set(hour.cache_key, True, _seconds_to_remember())
    return published


def _seconds_to_remember() -> int:
    """At most a quarter of the window: a marker may come hours after its inference.

    By chance less, so that not all hours are listed again in one run.
    """
    most = settings.ISTORE_RECONCILE_HOURS * 3600 // 4
    return random.randint(most // 2, most)


def _without_record(hour: Hour) -> set[str]:
    left = set(blobs.listed(hour.prefix)[0])
    rows = InferencePayload.objects.beside(hour.model).filter(
        id__gte=first_id_at(hour.start), id__lt=first_id_at(hour.start + HOUR)
    )
    keys = rows.values_list("answer_storage_key", flat=True)
    for key in keys.iterator(chunk_size=10_000):
        if key.startswith(hour.prefix):
            left.discard(key.rsplit("/", 2)[1])
    return left


def _lost(hour: Hour, uniques: list[str]) -> tuple[list[InferenceEvent], bool]:
    """Events nobody dealt with; and whether nothing else has to be looked at again."""
    markers = {f"{hour.prefix}{unique}/{blobs.METADATA}" for unique in uniques}
    aside = SetAsideEvent.objects.filter(
        metadata_storage_key__in=markers, replayed_at=None
    )
    known = set(aside.values_list("metadata_storage_key", flat=True))
    events, clean = [], not known
    for marker in sorted(markers - known):
        event = _event_at(hour.model, marker)
        if event is None:
            continue
        if hour.at - event.event_published_at < STILL_ON_ITS_WAY:
            clean = False
        else:
            events.append(event)
    prefixes = {_prefix(each): each.inference_id for each in events}
    done = already_processed(hour.model, prefixes)
    return [each for each in events if _prefix(each) not in done], clean


def _event_at(model: RegisteredModel, key: str) -> InferenceEvent | None:
    """What the marker says; None when there is none, for then nothing was committed."""
    try:
        event = read_event_of(read_marker(blobs.get(key)))
    except FileNotFoundError:
        return None
    except Rejected as refused:
        log.warning("marker cannot be read", key=key, why=refused.reason)
        return None
    if event.model_id != model.model_id or event.metadata_storage_key != key:
        log.warning("marker speaks of another place", key=key)
        return None
    return event


def _prefix(event: InferenceEvent) -> str:
    return event.metadata_storage_key.rpartition("/")[0]


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether no other run is under way; a second one would do the same work again."""
    name = ["ingest.reconcile"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", name)
        (first,) = cursor.fetchone()
        try:
            yield first
        finally:
            if first:
                cursor.execute("SELECT pg_advisory_unlock(hashtext(%s))", name)
