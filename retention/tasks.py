from __future__ import annotations

from celery import shared_task

from istore.db import clock
from retention import policies
from retention.models import RetentionTask
from retention.sweeping import sweep


@shared_task
def run_retention_task(task_id: str) -> None:
    """Carry out a retention task; the ``runner`` of ``RetentionTask``."""
    task = RetentionTask.objects.filter(pk=task_id).first()
    if task is not None:
        sweep(task)


@shared_task
def start_due_policies() -> None:
    """Open tasks for due policies. Beat calls it every minute; the intervals are in the table."""
    policies.start_due(clock.now())
