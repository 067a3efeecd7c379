"""Periodic tasks of the project itself.

The tasks keep their old names in ``istore.tasks``, because messages of the release before use
those names.
"""

from __future__ import annotations

from celery import shared_task

from istore import freshness
from istore.accounts import login_throttle
from istore.api import idempotency
from istore.backup import figures
from istore.backup import tasks as backups
from istore.checks import verification
from istore.db import clock
from istore.models import BackupTask
from istore.tasks import tracking


@shared_task(name="istore.tasks.forget_old_calls")
def forget_old_calls() -> None:
    """Delete old idempotency keys and log-in failures, and the leases of dead proxies."""
    idempotency.forget_old_calls()
    login_throttle.forget_old_failures()
    # Deletes leases of proxies that died since the last awaited change, so that the change
    # rows that tasks write are not kept for them.
    freshness.wait_until_heard()


@shared_task(name="istore.tasks.ring_again")
def requeue_stale() -> None:
    """Send the queue messages of stale tasks again."""
    tracking.requeue_stale()


@shared_task(name="istore.tasks.collect")
def collect() -> None:
    """Remove orphaned blobs and the like: see ``inferences.maintenance.orphan_blobs``."""
    verification.run(verification.COLLECT)


@shared_task(name="istore.tasks.verify")
def verify(by: str = "") -> None:
    """Run all checks without repairs. The operator page shows the result."""
    verification.run(verification.VERIFY, by=by)


@shared_task(name="istore.tasks.start_due_backup")
def start_due_backup() -> None:
    """Open a backup task when one is due, and tell the metrics how old the last backup is."""
    backups.open_due(clock.now())
    figures.remember_figures()


@shared_task(name="istore.tasks.run_backup")
def run_backup(task_id: str) -> None:
    """Make a backup; the ``runner`` of ``BackupTask``."""
    if task := BackupTask.objects.filter(pk=task_id).first():
        backups.carry_out(task)
        figures.remember_figures()
