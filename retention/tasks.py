from __future__ import annotations

from celery import shared_task

from istore.db import clock
from retention import policies
from retention.models import RetentionTask
from retention.sweeping import sweep


@shared_task
def run_retention_task(task_id: str) -> None:
    task = RetentionTask.objects.filter(pk=task_id).first()
    if task is not None:
        sweep(task)


@shared_task
def start_due_policies() -> None:
    """Called every minute by beat; the intervals themselves are in the table."""
    policies.start_due(clock.now())
