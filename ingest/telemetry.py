"""Metrics of the listener, of the stream that it reads, and of the dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime

from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from ingest.errors import Reason
from ingest.models import DeadLetter
from ingest.stream import EventStream
from istore.db.statement_timeout import statement_timeout
from istore.telemetry.exposition import Figures, collectors
from istore.telemetry.metrics import (
    BEAT,
    COUNTS,
    LISTENER,
    WEB,
    Distribution,
    Total,
)
from istore.telemetry.store_figures import (
    STATEMENT_SECONDS,
    Remembered,
    gauge,
    of_store,
)

OUTCOMES = ("recorded", "copies", "other_content", "removed", "waiting")
# From a call to its row: a second is usual, and an outage makes it hours.
DELAYS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

events = Total(
    "istore_listener_events_total",
    "Events handled, by what became of them; recorded ones are indexed.",
    "outcome",
    roles=(LISTENER,),
)
dead_letters = Total(
    "istore_listener_dead_letters_total",
    "Events set aside by this listener.",
    "reason",
    roles=(LISTENER,),
)
batches = Distribution(
    "istore_listener_batch_duration_seconds",
    "Batches, from their reading to their acknowledgement.",
    roles=(LISTENER,),
)
batch_sizes = Distribution(
    "istore_listener_batch_events",
    "Events of a batch.",
    roles=(LISTENER,),
    bounds=COUNTS,
)
delays = Distribution(
    "istore_listener_delay_seconds",
    "From the request at the proxy to the row in the database.",
    roles=(LISTENER,),
    bounds=DELAYS,
)


def begin() -> None:
    """Begin the totals at 0, so that the first event of a kind is seen as a rise."""
    for outcome in OUTCOMES:
        events.add(outcome, by=0)
    for reason in Reason:
        dead_letters.add(str(reason), by=0)


def observe_delays(received: Iterable[datetime], now: datetime) -> None:
    """Observe how long the requests that were received then took to become rows."""
    for moment in received:
        delays.observe(max(0.0, (now - moment).total_seconds()))


def stream() -> Iterator[Family]:
    """Yield what waits in the stream."""
    with closing(EventStream()) as found:
        backlog = found.backlog()
    yield gauge(
        "istore_stream_lag_events",
        "Events that no listener has read.",
        backlog.lag.waiting,
    )
    yield gauge(
        "istore_stream_pending_events",
        "Events that were read and are not acknowledged.",
        backlog.lag.pending,
    )
    yield gauge(
        "istore_stream_oldest_event_seconds",
        "Age of the oldest event that is not acknowledged; 0: there is none.",
        backlog.oldest or 0.0,
    )


def waiting_letters() -> Iterator[Family]:
    """Yield the dead letters that wait for a person, by reason."""
    family = GaugeMetricFamily(
        "istore_dead_letters", "Dead letters not replayed.", labels=["reason"]
    )
    with statement_timeout(STATEMENT_SECONDS):
        rows = DeadLetter.objects.filter(replayed_at=None).order_by()
        counts = dict(rows.values_list("reason").annotate(Count("pk")))
    for reason in Reason:
        family.add_metric([str(reason)], counts.get(str(reason), 0))
    yield family


def register() -> None:
    """Register the figures of the stream and of the dead letters."""
    readers = (WEB, BEAT, LISTENER)
    collectors.register("stream", Figures(readers, Remembered(stream)))
    collectors.register("dead letters", of_store(waiting_letters))
