"""Metrics of retention: what was removed, when it ran last, and what is overdue."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Max
from prometheus_client.metrics_core import Metric as Family

from istore.db import clock
from istore.db.statement_timeout import statement_timeout
from istore.tasks.tracking import TaskState
from istore.telemetry.exposition import collectors
from istore.telemetry.metrics import WORKER, Total
from istore.telemetry.store_figures import STATEMENT_SECONDS, gauge, of_store
from retention.models import RetentionPolicy, RetentionTask

records = Total(
    "istore_retention_removed_records_total",
    "Records that retention removed or hid.",
    roles=(WORKER,),
)
inputs = Total(
    "istore_retention_removed_inputs_total",
    "Inputs that retention removed.",
    roles=(WORKER,),
)
removed_bytes = Total(
    "istore_retention_removed_bytes_total",
    "Bytes of what retention removed.",
    roles=(WORKER,),
)
for _each in (records, inputs, removed_bytes):
    _each.add(by=0)


def policies() -> Iterator[Family]:
    """Yield when retention ran last, and by how much the most overdue policy is late."""
    at = clock.now()
    with statement_timeout(STATEMENT_SECONDS):
        done = RetentionTask.objects.filter(state=TaskState.COMPLETE, dry_run=False)
        last = done.aggregate(at=Max("finished_at"))["at"]
        due = list(RetentionPolicy.objects.due(at))
        automated = RetentionPolicy.objects.filter(automated_interval__gt=0).count()
    late = [at - (each.next_at or each.updated_at) for each in due]
    seconds = max((each.total_seconds() for each in late), default=0.0)
    yield gauge(
        "istore_retention_policies", "Policies that run by themselves.", automated
    )
    yield gauge(
        "istore_retention_last_run_timestamp_seconds",
        "When a run was complete last; 0: never.",
        last.timestamp() if last else 0,
    )
    yield gauge(
        "istore_retention_overdue_seconds",
        "By how much the most overdue policy is late; 0: none is.",
        max(0.0, seconds),
    )


def register() -> None:
    """Register the figures of policies."""
    collectors.register("retention", of_store(policies))
