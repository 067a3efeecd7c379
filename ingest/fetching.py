"""Commit markers, out of the blob store: one by one from files, many at once from S3."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.storage import default_storage

from ingest.arrivals import Arrival
from ingest.markers import Marker, check_input, open_marker
from ingest.outages import Outages, StoreAway
from ingest.refusals import NotYet, Reason, Refused
from istore import blobs

THREADS, AHEAD = 16, 64
ABSENT = (
    "ingest/absent"  # never a key of ours: asking for it tells if the store is there
)

Found = Marker | Refused


class Fetcher:
    def __init__(self, outages: Outages) -> None:
        self._outages = outages

    def markers(self, arrivals: Iterable[Arrival]) -> Iterator[tuple[Arrival, Found]]:
        """Each arrival with its marker, or with why it has none; in order, lazily."""
        if isinstance(default_storage, blobs.LocalStorage):
            for arrival in arrivals:
                yield arrival, self._fetch(arrival)
            return
        started: deque[tuple[Arrival, Future[Found]]] = deque()
        for arrival in arrivals:
            started.append((arrival, self._pool.submit(self._fetch, arrival)))
            if len(started) >= AHEAD:
                first, future = started.popleft()
                yield first, future.result()
        for arrival, future in started:
            yield arrival, future.result()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(THREADS, "markers")

    def _fetch(self, arrival: Arrival) -> Found:
        return self._outages.outlast(lambda: _fetched(arrival))


def _fetched(arrival: Arrival) -> Found:
    try:
        content = blobs.get(arrival.event.metadata_storage_key)
        marker = open_marker(arrival, content)
        # An object store took the marker after the input; asking again costs a call.
        if isinstance(default_storage, blobs.LocalStorage):
            check_input(arrival, marker)
        return marker
    except FileNotFoundError:
        return NotYet(Reason.MISSING_BLOB, "The metadata blob is missing.")
    except Refused as refused:
        return refused
    except (OSError, ClientError, BotoCoreError) as error:
        raise_if_away(error)
        return NotYet(Reason.MISSING_BLOB, f"A blob cannot be read: {error!s:.200}")


def raise_if_away(error: Exception) -> None:
    """StoreAway, if it is not this one blob that failed but the store as a whole."""
    try:
        default_storage.exists(ABSENT)
    except (OSError, ClientError, BotoCoreError):
        raise StoreAway(str(error)) from error
