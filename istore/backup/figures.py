"""What operators see of backups: a panel, a health check, and figures for the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from istore import best_effort_cache
from istore.backup import tasks
from istore.db import clock
from istore.models import BackupTask

CACHED, CACHED_SECONDS = "backup-figures", 3600  # beat writes them every minute
LATE = 2  # intervals without a backup after which readiness is degraded


def panel() -> dict[str, Any]:
    """Return the context of the panel on the operator page."""
    return {
        "target": settings.ISTORE_BACKUP_TARGET,
        "hours": settings.ISTORE_BACKUP_EVERY_HOURS,
        "last": tasks.last_complete(),
        "failed": tasks.last_failed(),
        "running": BackupTask.objects.active().first(),
    }


def lateness() -> str | None:
    """Return a warning when the last scheduled backup is too old or has failed, else None."""
    hours = settings.ISTORE_BACKUP_EVERY_HOURS
    if not settings.ISTORE_BACKUP_TARGET or not hours:
        return None
    last = tasks.last_complete(settings.ISTORE_BACKUP_TARGET)
    oldest = clock.now() - timedelta(hours=LATE * hours)
    if tasks.seconds_of(last) > oldest.timestamp():
        return None
    failed = tasks.last_failed()
    why = f" The last one failed: {failed.reason}" if failed else ""
    if last:
        return f"The last backup ended at {last.finished_at:%Y-%m-%d %H:%M}.{why}"
    return f"There is no backup yet.{why}" if failed else None


def current_figures() -> dict[str, float]:
    """Return the figures of the metrics, as the database has them now."""
    last, failed = tasks.last_complete(), tasks.last_failed()
    return {
        "completed": tasks.seconds_of(last),
        "bytes": last.byte_count if last else 0,
        "missing": last.missing_count if last else 0,
        "failed": tasks.seconds_of(failed),
    }


def remember_figures() -> None:
    """Write the figures of the metrics to the cache, from which every proxy reads them."""
    best_effort_cache.remember(CACHED, current_figures(), CACHED_SECONDS)


def recall_figures() -> dict[str, float]:
    """Return the figures as beat wrote them last; empty without any."""
    return best_effort_cache.recall(CACHED) or {}


def metrics(found: dict[str, float]) -> Iterator[Metric]:
    """Yield the metrics of backups."""
    about = {
        "completed": (
            "completed_timestamp_seconds",
            "End of the last backup; 0: none.",
        ),
        "bytes": ("bytes", "Size of the last backup."),
        "missing": ("missing_blobs", "Blobs that the last backup lacks."),
        "failed": (
            "failed_timestamp_seconds",
            "Last failed backup with none complete since; 0: none.",
        ),
    }
    for name, (metric, text) in about.items():
        if name in found:
            yield GaugeMetricFamily(f"istore_backup_{metric}", text, value=found[name])
