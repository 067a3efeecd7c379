from __future__ import annotations

from celery import shared_task

from exports import expiry
from exports.archiving import carry_out
from exports.models import ExportTask
from istore.clock import now


@shared_task
def run_export_task(task_id: str) -> None:
    task = ExportTask.objects.select_related("model__project").filter(pk=task_id)
    if found := task.first():  # else its model was removed
        carry_out(found)


@shared_task
def collect_archives() -> None:
    """Called by beat every few minutes."""
    expiry.collect(now())
