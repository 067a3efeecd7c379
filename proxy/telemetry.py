"""Metrics of the spool of this host, and of what all processes of the store count in Valkey."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

import orjson
from django.conf import settings
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric as Family

from istore.backup import figures as backups
from istore.blobs import request_counts
from istore.telemetry.exposition import Figures, collectors
from istore.telemetry.metrics import PROXY
from istore.telemetry.store_figures import Remembered, gauge
from proxy import waiting
from proxy.backlog import left_in
from proxy.spool import entries, frames
from proxy.spool.spool_files import spool_files_in
from proxy.spool.spool_health import files_aside, waiting_models
from proxy.spool.writer import age_of, size_of

COUNTED_MOST = (
    50_000  # entries whose heads are read; the rest is told by their mean size
)
FACTS_BYTES = 1024**2  # of an entry, at most


def spool() -> Iterator[Family]:
    """Yield what waits in the spool of this host."""
    folder: Path = settings.ISTORE_SPOOL_DIR
    count, oldest = waiting_entries(folder)
    now = time.time()
    yield gauge(
        "istore_spool_bytes", "Bytes of entries not captured yet.", size_of(folder)
    )
    yield gauge(
        "istore_spool_limit_bytes",
        "Bytes from which on no copies are kept.",
        settings.ISTORE_SPOOL_MAX_BYTES,
    )
    yield gauge(
        "istore_spool_age_seconds", "Age of the oldest segment.", age_of(folder)
    )
    yield gauge(
        "istore_spool_entries", "Answered calls whose copies are not stored.", count
    )
    yield gauge(
        "istore_spool_oldest_waiting_seconds",
        "Since when the oldest of them waits; 0: none waits.",
        0.0 if oldest is None else max(0.0, now - oldest),
    )
    yield gauge(
        "istore_spool_waiting_bytes",
        "Bytes kept apart for models whose blobs cannot be put.",
        sum(size for _, size, _ in waiting_models(folder)),
    )
    yield gauge(
        "istore_spool_files_aside",
        "Files set aside for replay_spool.",
        len(files_aside(folder)),
    )


def waiting_entries(folder: Path) -> tuple[int, float | None]:
    """Return how many entries wait in all segments, and when the oldest was answered."""
    count, seen_bytes, all_bytes = 0, 0, 0
    moments = []
    folders = [each for each in (folder, *waiting.folders(folder)) if each.is_dir()]
    for each in folders:
        for segment in spool_files_in(each):
            left = left_in(segment)
            if left <= 0:
                continue
            all_bytes += left
            with suppress(OSError), segment.reading() as file:
                start = max(segment.captured_until(), frames.HEADER.size)
                moments.append(_answered_at(file, start) or segment.written_at())
                found, end = _count(file, start, start + left, COUNTED_MOST - count)
                count, seen_bytes = count + found, seen_bytes + end - start
    if seen_bytes and all_bytes > seen_bytes:
        count = round(count * all_bytes / seen_bytes)
    return count, min(moments, default=None)


def _count(file: IO[bytes], start: int, end: int, most: int) -> tuple[int, int]:
    """Return how many entries begin before ``end``, up to ``most``, and where the last one ends."""
    number, place = 0, start
    while number < most and place < end:
        file.seek(place)
        head = file.read(frames.HEAD.size)
        if len(head) < frames.HEAD.size:
            break
        _, length, *_ = frames.HEAD.unpack(head)
        number, place = number + 1, place + frames.HEAD.size + length
    return number, min(place, end)


def _answered_at(file: IO[bytes], place: int) -> float | None:
    """Return when the entry at this place was answered; None if it cannot be read."""
    file.seek(place + frames.HEAD.size)
    try:
        size, _ = entries.HEAD.unpack(file.read(entries.HEAD.size))
        facts = orjson.loads(file.read(min(size, FACTS_BYTES)))
        return datetime.fromisoformat(facts["request_responded_at"]).timestamp()
    except Exception:  # a damaged entry, which capture sets aside
        return None


def of_all_hosts() -> Iterator[Family]:
    """Yield what all processes of the store add up in Valkey, and what beat wrote there."""
    requests = CounterMetricFamily(
        "istore_object_store_requests",
        "Requests to object stores, of all processes.",
        labels=["operation"],
    )
    for operation, number in request_counts.totals().items():
        requests.add_metric([operation], number)
    yield requests
    yield from backups.metrics(backups.recall_figures())


def register() -> None:
    """Register the figures of the spool, and those in Valkey."""
    collectors.register("spool", Figures((PROXY,), Remembered(spool)))
    collectors.register("counts in Valkey", Figures((PROXY,), of_all_hosts))
