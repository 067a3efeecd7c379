"""Reconcile: publish commit markers without a record again, as the stream may lose events.

The blobs of the last ``ISTORE_RECONCILE_HOURS`` are listed hour by hour and model by model, and
compared with the storage keys of the records of that hour, which have the same prefix. Only what
is left over is read and looked up one by one. A closed hour in which nothing was missing is
remembered in the cache. It is listed again once that entry is gone: after some hours, or because
the cache was lost together with the stream.

Publishing too much is harmless, because the listener drops duplicates. So no lock is needed for
correctness. Reconcile only waits while the listener is behind, because its backlog would look
like lost events.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.core.cache import cache

from inferences.models import InferencePayload, RegisteredModel
from inferences.models.row_ids import first_id_at
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.markers import read_event_of, read_marker
from ingest.models import DeadLetter
from ingest.reconciliation_state import already_processed
from ingest.stream import EventStream
from istore import blobs
from istore.db.advisory_lock import AdvisoryLock
from istore.db.clock import now
from istore.failpoints import failpoint

HOUR = timedelta(hours=1)
STILL_ON_ITS_WAY = timedelta(minutes=2)  # a younger event may be recorded any moment
CLOSED_AFTER = timedelta(minutes=10)  # from the end of an hour until it is closed
AT_ONCE = 500  # markers looked up at a time
MOST = 50_000  # events published by one run; the next run finds the rest
# A second run at the same time would do the same work again.
RUN_LOCK = AdvisoryLock("ingest.reconcile")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hour:
    """The blobs of one model's inferences of one hour; ``at`` is when the run began."""

    model: RegisteredModel
    start: datetime
    at: datetime

    @property
    def prefix(self) -> str:
        """The prefix of the keys of the hour's blobs."""
        model = self.model
        return blobs.prefix_for(model.project_id, model.pk, self.start, "")

    @property
    def is_closed(self) -> bool:
        """Whether no new inference of that hour is expected any more."""
        return self.start + HOUR + CLOSED_AFTER < self.at

    @property
    def cache_key(self) -> str:
        """The cache entry that remembers the hour as complete."""
        return f"reconciled:{self.model.pk}:{self.start:%Y%m%d%H}"


def reconcile(stream: EventStream) -> int:
    """Publish lost events again, and return how many."""
    with RUN_LOCK.try_hold() as is_ours:
        if not is_ours:
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
    """Yield the hours that have blobs, latest first, without those that are remembered as whole."""
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
    """Return for how long an hour is remembered, at most a quarter of the reconcile window.

    A marker may come hours after its inference, so an hour is never remembered for good. The
    time is random, so that not all hours are listed again in the same run.
    """
    most = settings.ISTORE_RECONCILE_HOURS * 3600 // 4
    return random.randint(most // 2, most)


def _without_record(hour: Hour) -> set[str]:
    """Return the names of the hour's blob folders that no record refers to."""
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
    """Return the events that were lost, and whether all the others are settled for good."""
    markers = {f"{hour.prefix}{unique}/{blobs.METADATA}" for unique in uniques}
    aside = DeadLetter.objects.filter(
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
    """Return the event of a marker; None without a marker, as nothing was committed then."""
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
