"""Metrics of the store as a whole, read from the database, the disk and the health checks.

The web server and beat both tell them, of the one store: take the maximum over the processes, not
the sum. They are read anew after ``FRESH_SECONDS``, however many scrapers ask, each statement within
``STATEMENT_SECONDS``. Apps add theirs to ``exposition.collectors``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.models import Count, Min
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from istore.backup import figures as backups
from istore.checks import health
from istore.db import clock, replica
from istore.db.statement_timeout import statement_timeout
from istore.tasks.tracking import TaskState, TrackedTask, free
from istore.telemetry.exposition import Figures, collectors
from istore.telemetry.metrics import BEAT, PROXY, WEB

FRESH_SECONDS = 5.0
STATEMENT_SECONDS = 2.0
OF_THE_STORE = (WEB, BEAT)


class Remembered:
    """What a function yields, read at most once in ``FRESH_SECONDS`` by one thread at a time."""

    def __init__(self, read: Callable[[], Iterable[Family]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._found: list[Family] = []
        self._until = 0.0

    def __call__(self) -> list[Family]:
        with self._lock:
            if time.monotonic() >= self._until:
                self._found = list(self._read())
                self._until = time.monotonic() + FRESH_SECONDS
            return self._found


def of_store(read: Callable[[], Iterable[Family]]) -> Figures:
    """Return figures of the store as a whole, that this function reads."""
    return Figures(OF_THE_STORE, Remembered(read))


def gauge(name: str, about: str, value: float | None = None) -> GaugeMetricFamily:
    """Return a gauge without labels; empty where there is no value."""
    family = GaugeMetricFamily(name, about)
    if value is not None:
        family.add_metric([], value)
    return family


def task_kinds() -> dict[str, type[TrackedTask]]:
    """Return the kinds of tracked tasks by the names that their metrics have."""
    return {
        kind._meta.label_lower: kind
        for kind in apps.get_models()
        if issubclass(kind, TrackedTask)
    }


def tasks() -> Iterator[Family]:
    """Yield the tracked tasks by kind and state, and since when the oldest waits."""
    count = GaugeMetricFamily(
        "istore_tasks", "Tracked tasks.", labels=["kind", "state"]
    )
    oldest = GaugeMetricFamily(
        "istore_tasks_oldest_waiting_seconds",
        "Since when the oldest task waits that no worker has; 0: none waits.",
        labels=["kind"],
    )
    at = clock.now()
    for name, kind in task_kinds().items():
        with statement_timeout(STATEMENT_SECONDS):
            rows = kind.objects.order_by().values_list("state").annotate(Count("pk"))
            counts: dict[str, int] = dict(rows)
            waits = kind.objects.filter(free()).aggregate(at=Min("updated_at"))
        for state in TaskState:
            count.add_metric([name, state], counts.get(state, 0))
        since = waits["at"]
        seconds = (at - since).total_seconds() if since else 0.0
        oldest.add_metric([name], max(0.0, seconds))
    yield count
    yield oldest


def database() -> Iterator[Family]:
    """Yield the connections to the database by state, how many it takes, and its size."""
    connections = GaugeMetricFamily(
        "istore_database_connections",
        "Connections to this database, of all programs.",
        labels=["state"],
    )
    with statement_timeout(STATEMENT_SECONDS), connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(state, 'unknown'), count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() GROUP BY 1"
        )
        for state, number in cursor.fetchall():
            connections.add_metric([state], number)
        cursor.execute(
            "SELECT current_setting('max_connections')::int, "
            "pg_database_size(current_database())"
        )
        most, size = cursor.fetchone()
    yield connections
    yield gauge(
        "istore_database_connections_max", "Connections that the server takes.", most
    )
    yield gauge("istore_database_bytes", "Size of the database on its disk.", size)


def readiness() -> Iterator[Family]:
    """Yield whether the store is ready, and whether each check of readiness fails."""
    failing = GaugeMetricFamily(
        "istore_check_failing",
        "1 where a check of /health/ready fails.",
        labels=["check"],
    )
    unavailable = health.failing(health.needed)
    worrying = health.failing(health.watched)
    for name in (*health.needed, *health.watched):
        failing.add_metric([name], int(name in unavailable or name in worrying))
    yield gauge("istore_ready", "1 while /health/ready is 200.", int(not unavailable))
    yield failing


def disks(places: Callable[[], dict[str, Path]]) -> Callable[[], Iterator[Family]]:
    """Return a function that yields the free and all bytes of the disks of these folders."""

    def read() -> Iterator[Family]:
        free_bytes = GaugeMetricFamily(
            "istore_disk_free_bytes",
            "Free bytes of the disk of a folder.",
            labels=["folder"],
        )
        all_bytes = GaugeMetricFamily(
            "istore_disk_bytes", "Bytes of the disk of a folder.", labels=["folder"]
        )
        for name, folder in places().items():
            if folder.is_dir():
                disk = os.statvfs(folder)
                free_bytes.add_metric([name], disk.f_bavail * disk.f_frsize)
                all_bytes.add_metric([name], disk.f_blocks * disk.f_frsize)
        yield free_bytes
        yield all_bytes

    return read


def _places() -> dict[str, Path]:
    found = {"home": settings.ISTORE_HOME.root}
    options = settings.STORAGES["default"].get("OPTIONS", {})
    if folder := options.get("location") if "bucket_name" not in options else None:
        found["blobs"] = Path(folder)
    return found


def backup() -> Iterator[Family]:
    """Yield when the last backup ended, and how often there is to be one."""
    yield from backups.metrics(backups.current_figures())
    wanted = settings.ISTORE_BACKUP_TARGET and settings.ISTORE_BACKUP_EVERY_HOURS
    yield gauge(
        "istore_backup_interval_seconds",
        "Seconds from one backup to the next by schedule; 0: none is scheduled.",
        3600 * (wanted or 0),
    )


def read_replica() -> Iterator[Family]:
    """Yield whether the read replica is used, and how far it is behind."""
    yield from replica.metrics(replica.figures())


def register() -> None:
    """Register the figures of the project itself."""
    collectors.register("readiness", of_store(readiness))
    collectors.register("tasks", of_store(tasks))
    collectors.register("database", of_store(database))
    collectors.register("backup", of_store(backup))
    collectors.register("read replica", of_store(read_replica))
    collectors.register("disks", Figures(OF_THE_STORE, disks(_places)))
    spool = disks(lambda: {"spool": settings.ISTORE_SPOOL_DIR})
    collectors.register("disk of the spool", Figures((PROXY,), spool))
