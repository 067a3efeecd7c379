"""Fetch commit markers from the blob store: one by one from files, concurrently from S3."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.storage import default_storage

from ingest.errors import Reason, Rejected, Retryable
from ingest.markers import Marker, check_input, open_marker
from ingest.retries import RetryWhileUnavailable, StoreAway
from ingest.validated_events import ValidatedEvent
from istore import blobs

THREADS, AHEAD = 16, 64  # concurrent requests, and markers fetched ahead at most
# No blob ever has this key: asking for it only shows whether the store answers.
ABSENT = "ingest/absent"

Found = Marker | Rejected
Result = TypeVar("Result")
Content = bytes | Rejected


class Fetcher:
    """Fetches the markers of events, and waits while the blob store is away."""

    def __init__(self, outages: RetryWhileUnavailable) -> None:
        self._outages = outages

    def markers(
        self, arrivals: Iterable[ValidatedEvent]
    ) -> Iterator[tuple[ValidatedEvent, Found]]:
        """Yield each event with its marker, or with why it has none; in order, lazily."""
        local = isinstance(default_storage, blobs.LocalStorage)
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


def raise_if_away(error: Exception) -> None:
    """Raise ``StoreAway`` if the blob store as a whole fails, not only for this one blob."""
    try:
        default_storage.exists(ABSENT)
    except (OSError, ClientError, BotoCoreError):
        raise StoreAway(str(error)) from error
