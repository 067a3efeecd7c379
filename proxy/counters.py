"""The metrics of the proxy, for ``GET /metrics``. No label names a tenant or a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from django.conf import settings
from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.spool.spool_health import files_aside, waiting_models
from proxy.spool.writer import age_of, size_of

STATUS, REASON = "status", "reason"

IN_FLIGHT = Gauge("istore_proxy_in_flight", "Calls being carried.")
IN_FLIGHT_BYTES = Gauge("istore_proxy_in_flight_bytes", "Bytes held for them.")
SPOOL_BYTES = Gauge("istore_spool_bytes", "Bytes of entries not captured yet.")
SPOOL_AGE = Gauge("istore_spool_age_seconds", "Age of the oldest segment.")
SPOOL_WAITING = Gauge(
    "istore_spool_waiting_bytes",
    "Bytes kept apart for models whose blobs cannot be put.",
)
SPOOL_ASIDE = Gauge("istore_spool_files_aside", "Files set aside for replay_spool.")

DATABASE_AWAY = Gauge(
    "istore_proxy_database_away", "1 while calls go on from memory without it."
)

SPOOL_BYTES.set_function(lambda: size_of(settings.ISTORE_SPOOL_DIR))
SPOOL_AGE.set_function(lambda: age_of(settings.ISTORE_SPOOL_DIR))
SPOOL_WAITING.set_function(
    lambda: sum(size for _, size, _ in waiting_models(settings.ISTORE_SPOOL_DIR))
)
SPOOL_ASIDE.set_function(lambda: len(files_aside(settings.ISTORE_SPOOL_DIR)))


class Counts(Collector):
    """Counters of calls, all used in the thread of the event loop: plain numbers without locks."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.recorded = 0
        self.streamed = 0
        self.streams_kept = 0
        self.streams_lost: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.not_recorded: Counter[str] = Counter()
        self.replaced: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.object_store: dict[str, int] = {}  # of all processes, as of this scrape
        IN_FLIGHT.set_function(lambda: self.in_flight)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. Prometheus's client calls this for each scrape."""
        yield _family("answered", "Answers sent to clients.", STATUS, self.answered)
        yield CounterMetricFamily(
            "istore_proxy_recorded", "Answers that left as recorded.", self.recorded
        )
        yield _family("not_recorded", "Answers not kept.", REASON, self.not_recorded)
        yield _family("ids_replaced", "Copies under another id.", REASON, self.replaced)
        yield CounterMetricFamily(
            "istore_proxy_streamed", "Answers passed on as streams.", self.streamed
        )
        yield CounterMetricFamily(
            "istore_proxy_streams_kept",
            "Streams whose copies were kept.",
            self.streams_kept,
        )
        about = "Streams that left with an id and were not kept."
        yield _family("streams_lost", about, REASON, self.streams_lost)
        yield _family("refused", "Calls the proxy refused.", STATUS, self.refused)
        requests = CounterMetricFamily(
            "istore_object_store_requests",
            "Requests to object stores, of all processes.",
            labels=["operation"],
        )
        for operation, number in self.object_store.items():
            requests.add_metric([operation], number)
        yield requests


def _family(
    name: str, about: str, label: str, counted: Counter[int] | Counter[str]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"istore_proxy_{name}", about, labels=[label])
    for value, count in list(counted.items()):
        family.add_metric([str(value)], count)
    return family


counts = Counts()
REGISTRY.register(counts)


def tell_kept(reason: str) -> None:
    """Count the copy of a stream; its answer was counted when it began."""
    if reason:
        counts.not_recorded[reason] += 1
        counts.streams_lost[reason] += 1
    else:
        counts.recorded += 1
        counts.streams_kept += 1


def tell(status: int, disposition: str) -> None:
    """Count an answer by the value of its ``Inference-Store`` header."""
    counts.answered[status] += 1
    if disposition == "recorded":
        counts.recorded += 1
    elif disposition == "streaming":
        counts.streamed += 1
    elif disposition.startswith("not-recorded"):
        counts.not_recorded[disposition.partition("; reason=")[2]] += 1
