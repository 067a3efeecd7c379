from __future__ import annotations

from celery import shared_task

from exports import cleanup
from exports.archive_writer import carry_out
from exports.lake import doors as lake
from exports.lake import dropping
from exports.models import ExportTask
from exports.schedules import lifecycle, runner
from exports.schedules.models import ScheduledExport
from istore.db.clock import now


@shared_task
def run_export_task(task_id: str) -> None:
    """Carry out an export task; the ``runner`` of ``ExportTask``."""
    task = ExportTask.objects.select_related("model__project").filter(pk=task_id)
    if found := task.first():  # None if its model was removed
        carry_out(found)


@shared_task
def collect_archives() -> None:
    """Delete expired archives and leftovers. Beat calls it every few minutes."""
    cleanup.collect(now())


@shared_task
def run_scheduled_export(run_id: str) -> None:
    """Carry out a run of a schedule; the ``runner`` of ``ScheduledExport``."""
    runs = ScheduledExport.objects.select_related("schedule__model__project")
    if found := runs.filter(pk=run_id).first():  # None if its schedule was removed
        runner.carry_out(found)


@shared_task
def start_due_schedules() -> None:
    """Open due runs. Beat calls it every minute; the intervals are in the table."""
    lifecycle.start_due(now())


@shared_task
def tend_lake() -> None:
    """Merge small files of the lake and expire its snapshots. Beat calls it every hour."""
    lake.tend_all(now())


@shared_task
def drop_lake_tables() -> None:
    """Delete the files of tables that were dropped. The upkeep does it, too."""
    dropping.finish_all()
