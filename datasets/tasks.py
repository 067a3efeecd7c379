from __future__ import annotations

from celery import shared_task

from datasets import adding, lifecycle, shared_blobs
from datasets.models import AddingTask, DatasetArchive
from exports import archive_writer


@shared_task
def run_adding_task(task_id: str) -> None:
    """Carry out an addition task; its queue message starts this."""
    tasks = AddingTask.objects.select_related("dataset__project", "model__project")
    if found := tasks.filter(pk=task_id).first():  # None if its dataset was removed
        adding.carry_out(found)


@shared_task
def run_archive_task(task_id: str) -> None:
    """Carry out an archive task; its queue message starts this."""
    tasks = DatasetArchive.objects.select_related("dataset__project")
    if found := tasks.filter(pk=task_id).first():
        archive_writer.carry_out(found)


@shared_task
def collect_datasets() -> None:
    """Remove the contents of deleted datasets, and inputs that no entry needs. Beat calls it."""
    lifecycle.finish_deletions()
    shared_blobs.collect()
