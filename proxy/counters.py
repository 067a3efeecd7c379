"""The metrics of the proxy, for ``GET /metrics``. No label names a tenant or a model.

Several proxy processes on one port answer for all of them, as nobody can choose which one is asked:
each writes its counts to a file once a second, and adds those of the others to its own. A process
that is started again goes on from its file, and the file of one that is no longer configured still
counts, so the sums never go back. What is true of a moment counts from fresh files alone. A single
process shares nothing: its counters begin at zero when it starts.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from istore.backup import figures as backup_figures
from istore.db import replica
from proxy.spool.spool_health import files_aside, waiting_models
from proxy.spool.writer import age_of, size_of

STATUS, REASON = "status", "reason"
SHARED_SECONDS = 1.0  # between two writings of the counts of one of several processes
FRESH_SECONDS = 3.0  # a file that is older is that of a process that has ended
# What is counted, as numbers and by a label.
NUMBERS = ("recorded", "streamed", "streams_kept")
LABELLED = ("streams_lost", "answered", "not_recorded", "replaced", "refused")
MOMENTARY = ("in_flight", "in_flight_bytes", "database_away")

SPOOL_BYTES = Gauge("istore_spool_bytes", "Bytes of entries not captured yet.")
SPOOL_AGE = Gauge("istore_spool_age_seconds", "Age of the oldest segment.")
SPOOL_WAITING = Gauge(
    "istore_spool_waiting_bytes",
    "Bytes kept apart for models whose blobs cannot be put.",
)
SPOOL_ASIDE = Gauge("istore_spool_files_aside", "Files set aside for replay_spool.")

SPOOL_BYTES.set_function(lambda: size_of(settings.ISTORE_SPOOL_DIR))
SPOOL_AGE.set_function(lambda: age_of(settings.ISTORE_SPOOL_DIR))
SPOOL_WAITING.set_function(
    lambda: sum(size for _, size, _ in waiting_models(settings.ISTORE_SPOOL_DIR))
)
SPOOL_ASIDE.set_function(lambda: len(files_aside(settings.ISTORE_SPOOL_DIR)))


class Counts(Collector):
    """Counters of calls, all used in the thread of the event loop: plain numbers without locks."""

    def __init__(self) -> None:
        self.in_flight = self.in_flight_bytes = self.database_away = 0
        self.recorded = 0
        self.streamed = 0
        self.streams_kept = 0
        self.streams_lost: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.not_recorded: Counter[str] = Counter()
        self.replaced: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.object_store: dict[str, int] = {}  # of all processes, as of this scrape
        self.backup: dict[str, float] = {}  # as beat has told last
        self.replica: dict[str, float] = {}  # as of this scrape; empty without one
        self._file: Path | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. Prometheus's client calls this for each scrape."""
        every = self._every()

        def total(name: str) -> int:
            return sum(each.get(name, 0) for each in every)

        def by_label(name: str) -> Counter[str]:
            found: Counter[str] = Counter()
            for each in every:
                found.update(each.get(name, {}))
            return found

        yield GaugeMetricFamily(
            "istore_proxy_in_flight", "Calls being carried.", total("in_flight")
        )
        yield GaugeMetricFamily(
            "istore_proxy_in_flight_bytes",
            "Bytes held for them.",
            total("in_flight_bytes"),
        )
        yield GaugeMetricFamily(
            "istore_proxy_database_away",
            "Processes whose calls go on from memory without it.",
            total("database_away"),
        )
        answered = by_label("answered")
        yield _family("answered", "Answers sent to clients.", STATUS, answered)
        yield CounterMetricFamily(
            "istore_proxy_recorded", "Answers that left as recorded.", total("recorded")
        )
        unkept, replaced = by_label("not_recorded"), by_label("replaced")
        yield _family("not_recorded", "Answers not kept.", REASON, unkept)
        yield _family("ids_replaced", "Copies under another id.", REASON, replaced)
        yield CounterMetricFamily(
            "istore_proxy_streamed", "Answers passed on as streams.", total("streamed")
        )
        yield CounterMetricFamily(
            "istore_proxy_streams_kept",
            "Streams whose copies were kept.",
            total("streams_kept"),
        )
        about = "Streams that left with an id and were not kept."
        yield _family("streams_lost", about, REASON, by_label("streams_lost"))
        refused = by_label("refused")
        yield _family("refused", "Calls the proxy refused.", STATUS, refused)
        requests = CounterMetricFamily(
            "istore_object_store_requests",
            "Requests to object stores, of all processes.",
            labels=["operation"],
        )
        for operation, number in self.object_store.items():
            requests.add_metric([operation], number)
        yield requests
        yield from backup_figures.metrics(self.backup)
        yield from replica.metrics(self.replica)

    async def share(
        self,
        folder: Path,
        number: int,
        measure: Callable[[], None] = lambda: None,
    ) -> None:
        """Write the counts of this process, one of several, to a file; go on for ever.

        ``measure`` is called before each writing, to set what is true at that moment.
        """
        self._file = folder / f"proxy-{number}.counts"
        before = _read(self._file)
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + before.get(name, 0))
        for name in LABELLED:
            for label, count in before.get(name, {}).items():
                key = int(label) if name in ("answered", "refused") else label
                getattr(self, name)[key] += count
        while True:
            measure()
            with suppress(OSError):  # a full disk must not end the process
                fresh = self._file.with_suffix(".fresh")
                fresh.write_bytes(orjson.dumps(self._own()))
                os.replace(fresh, self._file)
            await asyncio.sleep(SHARED_SECONDS)

    def _own(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: getattr(self, name) for name in (*NUMBERS, *MOMENTARY)
        }
        for name in LABELLED:
            counted = getattr(self, name)
            found[name] = {str(label): count for label, count in counted.items()}
        return found

    def _every(self) -> list[dict[str, Any]]:
        if self._file is None:
            return [self._own()]
        files = self._file.parent.glob("proxy-*.counts")
        return [self._own(), *(_read(each) for each in files if each != self._file)]


def _read(file: Path) -> dict[str, Any]:
    """Return the counts in a file; none if there is no such file.

    What was true of a moment is left out where the file is not fresh.
    """
    try:
        written_at = file.stat().st_mtime
        found: dict[str, Any] = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    if time.time() - written_at > FRESH_SECONDS:
        found = {name: found[name] for name in found.keys() - set(MOMENTARY)}
    return found


def _family(
    name: str, about: str, label: str, counted: Counter[str]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"istore_proxy_{name}", about, labels=[label])
    for value, count in counted.items():
        family.add_metric([value], count)
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
