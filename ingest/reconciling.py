"""Reconcile: publish commit markers without a record again, as the stream may lose events.

The blobs of the last ``ISTORE_RECONCILE_HOURS`` are listed hour by hour and model by model, and
compared with the storage keys of the records of that hour, which have the same prefix. Of a pack
the index is read, and only where it has another number of members than there are records. Only
what is left over is read and looked up. A closed hour in which nothing was missing is remembered
in the cache. It is listed again once that entry is gone: after some hours, or because
the cache was lost together with the stream.

Publishing too much is harmless, because the listener drops duplicates. So no lock is needed for
correctness. Reconcile only waits while the listener is behind, because its backlog would look
like lost events.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import structlog
from django.conf import settings
from django.core.cache import cache

from inferences.models import InferencePayload, RegisteredModel
from inferences.models.row_ids import first_id_at
from inferences.store import pack_making
from ingest.dead_letters import with_inputs_of_letters
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.markers import read_event_of, read_marker
from ingest.models import DeadLetter
from ingest.reconciliation_state import already_processed, still_in_place
from ingest.stream import EventStream
from istore import blobs
from istore.blobs import packs
from istore.db.advisory_lock import AdvisoryLock
from istore.db.clock import now
from istore.failpoints import failpoint

HOUR = timedelta(hours=1)
STILL_ON_ITS_WAY = timedelta(minutes=2)  # a younger event may be recorded any moment
CLOSED_AFTER = timedelta(minutes=10)  # from the end of an hour until it is closed
AT_ONCE = 500  # markers looked up at a time
PACKS_AT_ONCE = (
    100  # compared with the records of an hour at a time: 100,000 keys at most
)
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
    published, in_order = 0, True
    for markers in _batches(_markers_without_record(hour)):
        events, clean = _lost(hour, markers)
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


def _markers_without_record(hour: Hour) -> Iterator[str]:
    """Yield the keys of the hour's markers whose copy no record refers to."""
    folders, files = blobs.listed(hour.prefix)
    left = set(folders)
    recorded: Counter[str] = Counter()  # members of each pack that have a record
    for key, input_key in _keys(hour):
        if packs.is_member(key):
            recorded[packs.pack_of(key)] += 1
        for own in (key, input_key):  # an input may stay an object beside packs
            if own.startswith(hour.prefix) and not packs.is_member(own):
                left.discard(own.rsplit("/", 2)[1])
    for unique in sorted(left):
        yield f"{hour.prefix}{unique}/{blobs.METADATA}"
    listed = (f"{hour.prefix}{name}" for name in files if packs.has_records(name))
    of_records = sorted(pack_making.acknowledged(listed, hour.prefix))
    for start in range(0, len(of_records), PACKS_AT_ONCE):
        some = of_records[start : start + PACKS_AT_ONCE]
        yield from _members_without_record(hour, some, recorded)


def _members_without_record(
    hour: Hour, names: list[str], recorded: Counter[str]
) -> Iterator[str]:
    """Yield the keys of the markers in these packs that no record of the hour refers to."""
    left: dict[str, str] = {}  # the key of an answer, and that of its marker
    for pack in names:
        try:
            members = packs.live_members(pack)
        except FileNotFoundError:
            continue  # all of its members were released meanwhile
        except blobs.BlobDamaged as error:
            log.warning("pack cannot be read", key=pack, why=str(error))
            continue
        if len(members) != recorded[pack]:
            left |= {e.content_key(pack): e.marker_key(pack) for e in members}
    if left:
        for key, _ in _keys(hour):
            left.pop(key, None)
    # A record is released by its answer, and a marker alone by its own key.
    live = packs.unreleased(key for pair in left.items() for key in pair)
    yield from (marker for key, marker in left.items() if {key, marker} <= live)


def _keys(hour: Hour) -> Iterator[tuple[str, str]]:
    """Yield the keys of answer and input of the records whose time is in the hour."""
    rows = InferencePayload.objects.beside(hour.model).filter(
        id__gte=first_id_at(hour.start), id__lt=first_id_at(hour.start + HOUR)
    )
    keys = rows.exclude(answer_storage_key="").values_list(
        "answer_storage_key", "data_storage_key"
    )
    return keys.iterator(chunk_size=10_000)


def _lost(hour: Hour, markers: list[str]) -> tuple[list[InferenceEvent], bool]:
    """Return the events that were lost, and whether all the others are settled for good."""
    aside = DeadLetter.objects.filter(
        metadata_storage_key__in=markers, replayed_at=None
    )
    known = set(aside.values_list("metadata_storage_key", flat=True))
    events, clean = [], not known
    for marker in sorted(set(markers) - known):
        event = _event_at(hour.model, marker)
        if event is None:
            continue
        if hour.at - event.event_published_at < STILL_ON_ITS_WAY:
            clean = False
        else:
            events.append(event)
    copies = {_copy(each): each.inference_id for each in events}
    done = already_processed(hour.model, copies)
    lost = still_in_place(each for each in events if _copy(each) not in done)
    return with_inputs_of_letters(lost), clean


def _event_at(model: RegisteredModel, key: str) -> InferenceEvent | None:
    """Return the event of a marker; None without a marker, as nothing was committed then."""
    try:
        event = read_event_of(read_marker(blobs.get(key)), key)
    except FileNotFoundError:
        return None
    except Rejected as refused:
        log.warning("marker cannot be read", key=key, why=refused.reason)
        return None
    if event.model_id != model.model_id or event.metadata_storage_key != key:
        log.warning("marker speaks of another place", key=key)
        return None
    return event


def _copy(event: InferenceEvent) -> str:
    return blobs.copy_name(event.inference_storage_key)


def _batches(markers: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(markers)
    while some := list(islice(rest, AT_ONCE)):
        yield some
