"""Metrics of exports: rows and bytes written, and schedules whose last run failed."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric as Family

from exports.schedules.models import ExportSchedule
from istore.db import clock
from istore.db.statement_timeout import statement_timeout
from istore.telemetry.exposition import collectors
from istore.telemetry.metrics import WORKER, Total
from istore.telemetry.store_figures import STATEMENT_SECONDS, gauge, of_store

ARCHIVE, SCHEDULED = "archive", "scheduled"

rows = Total(
    "istore_export_rows_total", "Rows or members exported.", "kind", roles=(WORKER,)
)
written_bytes = Total(
    "istore_export_bytes_total",
    "Bytes of finished archives and files.",
    "kind",
    roles=(WORKER,),
)
for _kind in (ARCHIVE, SCHEDULED):
    rows.add(_kind, by=0)
    written_bytes.add(_kind, by=0)


def schedules() -> Iterator[Family]:
    """Yield the schedules, those whose last run failed, and how late the latest one is."""
    at = clock.now()
    with statement_timeout(STATEMENT_SECONDS):
        enabled = ExportSchedule.objects.filter(enabled=True)
        count = enabled.count()
        failing = enabled.exclude(last_error="").count()
        due = list(ExportSchedule.objects.due(at))
    late = [at - (each.next_at or each.created_at) for each in due]
    seconds = max((each.total_seconds() for each in late), default=0.0)
    yield gauge("istore_export_schedules", "Schedules that are enabled.", count)
    yield gauge(
        "istore_export_schedules_failing",
        "Enabled schedules whose last run failed.",
        failing,
    )
    yield gauge(
        "istore_export_overdue_seconds",
        "By how much the most overdue schedule is late; 0: none is.",
        max(0.0, seconds),
    )


def register() -> None:
    """Register the figures of schedules."""
    collectors.register("export schedules", of_store(schedules))
