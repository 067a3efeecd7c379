"""The listener: reads events from the stream and records each of them once.

The steps of a batch: reclaim entries that another consumer left pending, else read new ones;
validate; fetch the commit markers; record, in one statement and one transaction for each model;
set aside as dead letters what was rejected; acknowledge, last. A crash between any two steps
repeats the batch, and every step may be repeated: ``record`` recognises duplicates, a blob that
is gone counts as deleted, and an event is set aside once.

While PostgreSQL, Redis or the blob store is away, the batch waits with its events
unacknowledged, and none of them is blamed for it. A batch that the database rejects is halved
until the bad event is alone. An event that kills the process each time (poison) is found by
being handled alone: from the third delivery on events come one by one, in alternating order from
delivery to delivery, so that those around it are recorded all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import structlog
from django.conf import settings

from ingest import heartbeat, telemetry
from ingest.batch_writer import Storing
from ingest.blob_fetcher import Fetcher
from ingest.dead_letters import set_aside
from ingest.errors import Reason, Rejected, Retryable
from ingest.metrics import Counts, Every
from ingest.reconciliation_state import already_processed, dropped_copies
from ingest.record_builder import Composed, compose
from ingest.retries import RetryWhileUnavailable, Stopping
from ingest.stream import SAMPLE_SECONDS, Entry, EventStream
from ingest.validated_events import (
    Models,
    ValidatedEvent,
    read_event,
    validate,
)
from istore.db.clock import now
from istore.failpoints import failpoint
from istore.telemetry import request_ids, tracing

BLOCK_MS = 1000  # the longest wait for new entries
RECLAIM_SECONDS, TRIM_SECONDS = 5.0, 30.0  # between reclaims, and between trims
ALONE_FROM = 3  # deliveries: from here on an event is handled alone

log = structlog.get_logger(__name__)

Aside = list[tuple[Entry, Rejected]]


class Listener:
    """One consumer of the stream. ``run`` returns soon after ``stopping`` is set."""

    def __init__(self, stream: EventStream, stopping: threading.Event) -> None:
        self._stream = stream
        self._stopping = stopping
        self._outages = RetryWhileUnavailable(stopping, heartbeat.beat)
        self._models = Models()
        self._fetcher = Fetcher(self._outages)
        self.counts = Counts()
        self._storing = Storing(self._outages, self.counts)
        self._idle_ms = settings.ISTORE_EVENT_IDLE_SECONDS * 1000
        self._reclaim = Every(min(RECLAIM_SECONDS, self._idle_ms / 2000), at_once=True)
        self._trim = Every(TRIM_SECONDS)
        self._progress = Every(SAMPLE_SECONDS, at_once=True)

    def run(self) -> None:
        """Handle batches until told to stop."""
        try:
            self._outages.call(self._stream.ensure_group)
            while not self._stopping.is_set():
                self.step()
        except Stopping:
            log.info("listener stopped while it waited")

    def step(self, block_ms: int = BLOCK_MS) -> int:
        """Handle one batch, from reading to acknowledgement, and return how many entries it had."""
        heartbeat.beat()
        # Wait for the database before reading: entries that are read while it is away would
        # use up their deliveries.
        self._outages.call(now)
        entries = self._outages.call(lambda: self._next(block_ms))
        if entries:
            failpoint("listener.read")
        for batch in _batches(entries):
            if self._stopping.is_set():
                break  # the rest is not acknowledged, so it is delivered again
            self._observe(batch)
        if self._trim.is_due():
            self._outages.call(self._stream.trim)
        if self._progress.is_due():
            self._outages.call(self._stream.note_progress)
        self.counts.tell_now_and_then(self._stream)
        return len(entries)

    def _observe(self, batch: list[Entry]) -> None:
        """Settle a batch, and tell the metrics and the trace how long that took."""
        began_at = time.monotonic()
        if len(batch) == 1:
            request_ids.begin(batch[0].request_id)
        try:
            with tracing.batch_span("listener batch", [e.traceparent for e in batch]):
                self._settle(batch)
        finally:
            request_ids.end()
        telemetry.batches.observe(time.monotonic() - began_at)
        telemetry.batch_sizes.observe(len(batch))

    def _next(self, block_ms: int) -> list[Entry]:
        """Return entries to handle: pending ones of other consumers from time to time, else new."""
        count = settings.ISTORE_LISTENER_BATCH
        if self._reclaim.is_due():
            left_behind = self._stream.reclaim(count, self._idle_ms)
            if len(left_behind) == count:
                self._reclaim.make_due()
            if left_behind:
                return left_behind
        return self._stream.read(count, block_ms)

    def _settle(self, batch: list[Entry]) -> None:
        """Record a batch, set aside what was rejected, and acknowledge what is done."""
        aside: Aside = []
        arrivals = self._outages.call(lambda: self._checked(batch, aside))
        failpoint("listener.parsed")
        for portion in self._portions(arrivals, aside):
            failpoint("listener.fetched")
            aside += self._storing.store(portion)
            failpoint("listener.recorded")
        waiting = self._set_aside(aside, {each.entry.id: each for each in arrivals})
        failpoint("listener.set_aside")
        done = [entry.id for entry in batch if entry.id not in waiting]
        self._outages.call(lambda: self._stream.acknowledge(done))
        failpoint("listener.acknowledged")

    def _checked(self, batch: list[Entry], aside: Aside) -> list[ValidatedEvent]:
        """Return the valid events of a batch, and put the rejected ones on ``aside``.

        It starts anew when it is repeated after an outage, so ``aside`` is cleared first.
        """
        aside.clear()
        events = []
        for entry in batch:
            try:
                if entry.deliveries > settings.ISTORE_EVENT_DELIVERIES:
                    raise Rejected(
                        Reason.POISON, f"{entry.deliveries} deliveries, no outcome."
                    )
                events.append((entry, read_event(entry)))
            except Rejected as refused:
                aside.append((entry, refused))
        models = self._models.of(event for _, event in events)
        arrivals = []
        for entry, event in events:
            try:
                arrivals.append(validate(entry, event, models))
            except Rejected as refused:
                aside.append((entry, refused))
        return arrivals

    def _portions(
        self, arrivals: Iterable[ValidatedEvent], aside: Aside
    ) -> Iterator[list[Composed]]:
        """Yield lists of composed records, none of them too large for one statement."""
        indexed_at = self._outages.call(now)
        portion: list[Composed] = []
        size = 0
        for each, found in self._fetcher.markers(arrivals):
            if isinstance(found, Rejected):
                aside.append((each.entry, found))
                continue
            try:
                portion.append(Composed(each, compose(each, found, indexed_at)))
            except Rejected as refused:
                aside.append((each.entry, refused))
                continue
            except Exception as error:
                log.exception("event could not be read", **_named(each.entry))
                aside.append((each.entry, Rejected(Reason.REFUSED, repr(error))))
                continue
            size += len(found.answer)
            if size > settings.ISTORE_LISTENER_PORTION_BYTES:
                yield portion
                portion, size = [], 0
        if portion:
            yield portion

    def _set_aside(self, aside: Aside, arrivals: dict[str, ValidatedEvent]) -> set[str]:
        """Keep the rejected events as dead letters.

        Returns the ids of the entries that wait for a retry: these must not be acknowledged.
        """
        if not aside:
            return set()
        over = self._outages.call(lambda: _settled_before(aside, arrivals))
        waiting, refused = set(), []
        for entry, why in aside:
            if entry.id in over:
                self.counts.count("copies")
            elif (
                isinstance(why, Retryable)
                and entry.deliveries < settings.ISTORE_EVENT_DELIVERIES
            ):
                self.counts.count("waiting")
                waiting.add(entry.id)
            else:
                refused.append((entry, why))
        self._outages.call(lambda: set_aside(refused))
        for entry, why in refused:
            self.counts.count_letter(why.reason)
            log.warning("event set aside", reason=str(why.reason), **_named(entry))
        return waiting


def _named(entry: Entry) -> dict[str, str]:
    """Return what a log line says of an entry: its id in the stream, and that of its request."""
    named = {"stream_id": entry.id}
    return named | ({"request_id": entry.request_id} if entry.request_id else {})


def _batches(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Yield the new entries together, and each that may have killed a process alone."""
    new = [entry for entry in entries if entry.deliveries < ALONE_FROM]
    if new:
        yield new
    suspects = [entry for entry in entries if entry.deliveries >= ALONE_FROM]
    if suspects and max(entry.deliveries for entry in suspects) % 2 == 0:
        suspects.reverse()
    for entry in suspects:
        yield [entry]


def _settled_before(aside: Aside, arrivals: dict[str, ValidatedEvent]) -> set[str]:
    """Return the entries whose blobs are missing because they were handled before.

    They were delivered once too often: after a crash before the acknowledgement, say.
    """
    missing = [
        arrivals[entry.id] for entry, why in aside if why.reason == Reason.MISSING_BLOB
    ]
    done = set()
    for model in {each.model for each in missing}:
        named = {e.copy_name: e.event.inference_id for e in missing if e.model == model}
        done |= already_processed(model, named)
        done |= dropped_copies(model, {c: i for c, i in named.items() if c not in done})
    return {each.entry.id for each in missing if each.copy_name in done}
