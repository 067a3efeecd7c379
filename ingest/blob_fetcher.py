"""Fetch commit markers from the blob store, with the answers that lie beside them.

The records of a pack are read together, in one read for all of its events. Markers that are
objects of their own are fetched one by one from files, and concurrently from S3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from itertools import groupby
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.storage import default_storage

from ingest.errors import Reason, Rejected, Retryable
from ingest.markers import Marker, check_input, open_marker
from ingest.retries import RetryWhileUnavailable, StoreAway
from ingest.validated_events import ValidatedEvent
from istore import blobs
from istore.blobs import pack_notes, packs

PORTION_BYTES = 32 * 2**20  # of records that are read together
THREADS, AHEAD = 16, 64  # concurrent requests, and markers fetched ahead at most
# No blob ever has this key: asking for it only shows whether the store answers.
ABSENT = "ingest/absent"

Found = Marker | Rejected
Result = TypeVar("Result")
Content = bytes | Rejected
Record = tuple[bytes, bytes]  # a marker and its answer


class Fetcher:
    """Fetches the markers of events, and waits while the blob store is away."""

    def __init__(self, outages: RetryWhileUnavailable) -> None:
        self._outages = outages

    def markers(
        self, arrivals: Iterable[ValidatedEvent]
    ) -> Iterator[tuple[ValidatedEvent, Found]]:
        """Yield each event with its marker, or with why it has none; in order, lazily."""
        for is_packed, some in groupby(arrivals, lambda each: each.is_packed):
            fetch = self._members if is_packed else self._objects
            yield from fetch(some)

    def _members(
        self, arrivals: Iterable[ValidatedEvent]
    ) -> Iterator[tuple[ValidatedEvent, Found]]:
        """Yield the events whose markers are members of packs, read pack by pack."""
        local = not blobs.costs_by_request()
        for some in _portions(arrivals):
            found: dict[str, Record | Rejected] = {}
            groups = _by_pack(some)
            noted = self._outages.call(partial(pack_notes.released_among, groups))
            for group in groups.values():
                found |= self._records(group, noted)
            for arrival in some:
                record = found.get(arrival.event.metadata_storage_key, GONE)
                if isinstance(record, Rejected):
                    yield arrival, record
                else:
                    yield (
                        arrival,
                        self._ask(partial(_open_record, arrival, record, local)),
                    )

    def _records(
        self, group: list[ValidatedEvent], noted: packs.Notes
    ) -> dict[str, Record | Rejected]:
        """Return the records of events in one pack by the keys of their markers."""
        pairs = [
            (e.event.metadata_storage_key, e.event.inference_storage_key) for e in group
        ]
        found = self._ask(lambda: packs.read_records(pairs, noted))
        if isinstance(found, Rejected):
            return {marker: found for marker, _ in pairs}
        return dict(found)

    def _objects(
        self, arrivals: Iterable[ValidatedEvent]
    ) -> Iterator[tuple[ValidatedEvent, Found]]:
        local = not blobs.costs_by_request()
        for arrival, content in (self._one_by_one if local else self._ahead)(arrivals):
            # Markers are opened here and not ahead: an answer in a blob of its own may be
            # large.
            yield arrival, self._ask(partial(_open, arrival, content, local))

    def _one_by_one(
        self, arrivals: Iterable[ValidatedEvent]
    ) -> Iterator[tuple[ValidatedEvent, Content]]:
        for arrival in arrivals:
            yield arrival, self._content(arrival)

    def _ahead(
        self, arrivals: Iterable[ValidatedEvent]
    ) -> Iterator[tuple[ValidatedEvent, Content]]:
        started: deque[tuple[ValidatedEvent, Future[Content]]] = deque()
        for arrival in arrivals:
            started.append((arrival, self._pool.submit(self._content, arrival)))
            if len(started) >= AHEAD:
                first, future = started.popleft()
                yield first, future.result()
        for arrival, future in started:
            yield arrival, future.result()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(THREADS, "markers")

    def _content(self, arrival: ValidatedEvent) -> Content:
        return self._ask(lambda: blobs.get(arrival.event.metadata_storage_key))

    def _ask(self, ask: Callable[[], Result]) -> Result | Rejected:
        return self._outages.call(lambda: _answer(ask))


def _portions(arrivals: Iterable[ValidatedEvent]) -> Iterator[list[ValidatedEvent]]:
    """Split the events so that their records fit into memory: a key tells its own length."""
    some: list[ValidatedEvent] = []
    size = 0
    for each in arrivals:
        some.append(each)
        size += blobs.size(each.event.inference_storage_key)
        size += blobs.size(each.event.metadata_storage_key)
        if size > PORTION_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _by_pack(arrivals: list[ValidatedEvent]) -> dict[str, list[ValidatedEvent]]:
    groups: dict[str, list[ValidatedEvent]] = {}
    for each in arrivals:
        pack = packs.pack_of(each.event.metadata_storage_key)
        groups.setdefault(pack, []).append(each)
    return groups


def _open_record(arrival: ValidatedEvent, record: Record, local: bool) -> Marker:
    try:
        marker = open_marker(arrival, *record)
    except Rejected:
        if not packs.unreleased([arrival.event.inference_storage_key]):
            raise GONE from None  # it was released while it was read
        raise
    # An object store accepted the input before the marker; checking would cost a request.
    if local:
        check_input(arrival, marker)
    return marker


def _open(arrival: ValidatedEvent, content: Content, local: bool) -> Found:
    if isinstance(content, Rejected):
        return content
    marker = open_marker(arrival, content)
    # An object store accepted the input before the marker; checking would cost a request.
    if local:
        check_input(arrival, marker)
    return marker


def _answer(ask: Callable[[], Result]) -> Result | Rejected:
    """Return what was fetched, or why it cannot be. Raises ``StoreAway``."""
    try:
        return ask()
    except Rejected as refused:
        return refused
    except FileNotFoundError:
        return Retryable(Reason.MISSING_BLOB, "The metadata blob is missing.")
    except (OSError, ClientError, BotoCoreError) as error:
        raise_if_away(error)
        return Retryable(Reason.MISSING_BLOB, f"A blob cannot be read: {error!s:.200}")


GONE = Retryable(Reason.MISSING_BLOB, "The record is missing from its pack.")


def raise_if_away(error: Exception) -> None:
    """Raise ``StoreAway`` if the blob store as a whole fails, not only for this one blob."""
    try:
        default_storage.exists(ABSENT)
    except (OSError, ClientError, BotoCoreError):
        raise StoreAway(str(error)) from error
