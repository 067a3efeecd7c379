"""Backups as tracked tasks: beat opens one when it is due, a worker or the command makes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from istore.backup.blob_copies import Counts
from istore.backup.making import Outcome, make_backup
from istore.errors import Conflict
from istore.models import BackupTask
from istore.tasks.lease_keeper import LeaseKeeper
from istore.tasks.tracking import TaskState, free

Progress = Callable[[str, Counts, int], None]


def open_backup(target: str, *, keep: int, by: object = "") -> BackupTask:
    """Return a new task that makes a backup. It replaces one whose worker died.

    Raises ``Conflict`` while a worker makes a backup of this target.
    """
    before = last_complete(target)
    for left in BackupTask.objects.filter(free(), target=target):
        left.stop()  # the new one goes on from the objects that it has copied
    try:
        with transaction.atomic():
            task = BackupTask.objects.create(
                target=target,
                keep=keep,
                by=str(by)[:300],
                expected_count=before.blob_count if before else 0,
            )
            task.audit(by or "beat", "request")
    except IntegrityError:
        raise Conflict(
            "task-already-active", f"A backup to {target} is being made already."
        ) from None
    return task


def open_due(at: datetime) -> BackupTask | None:
    """Open a task if the settings ask for backups and the last one is old enough. For beat."""
    target, hours = settings.ISTORE_BACKUP_TARGET, settings.ISTORE_BACKUP_EVERY_HOURS
    if not target or not hours:
        return None
    last = BackupTask.objects.filter(target=target).first()
    if last is not None:
        # A failed one is tried again after an hour: the target may be away for a while.
        ended_well = last.state == TaskState.COMPLETE
        pause = timedelta(hours=hours if ended_well else min(hours, 1))
        if last.is_active or last.created_at > at - pause:
            return None
    try:
        task = open_backup(target, keep=settings.ISTORE_BACKUP_KEEP)
    except Conflict:
        return None
    task.notify()
    return task


def carry_out(
    task: BackupTask, on_progress: Progress = lambda step, counts, expected: None
) -> Outcome | None:
    """Make the backup of a task; return None if another worker holds it, or it failed."""
    if not task.claim():
        return None
    outcome: Outcome | None = None
    now: dict[str, Any] = {}

    def report(step: str, counts: Counts) -> None:
        now.update(
            step=step[:64],
            blob_count=counts.looked_at,
            copied_count=counts.copied,
            copied_bytes=counts.copied_bytes,
        )
        raise_end()
        on_progress(step, counts, task.expected_count)

    with task.recording_outcome():
        # The lease is renewed by a thread: one step, such as the dump, may take long.
        keeper = LeaseKeeper(task, lambda: dict(now))
        with keeper.in_background() as raise_end:
            outcome = make_backup(task.target, keep=task.keep, on_progress=report)
        manifest = outcome.manifest
        absent = [*outcome.missing, *outcome.damaged]
        task.advance(
            heed_stop=False,
            **now
            | {
                "name": manifest.name,
                "step": "",
                "blob_count": manifest.blobs,
                "byte_count": outcome.bytes,
                "missing_count": len(absent),
            },
        )
    return outcome


def last_complete(target: str = "") -> BackupTask | None:
    """Return the newest complete backup, of one target or of any."""
    found = BackupTask.objects.filter(state=TaskState.COMPLETE)
    if target:
        found = found.filter(target=target)
    return found.order_by("-finished_at").first()


def last_failed() -> BackupTask | None:
    """Return the newest backup that failed, if none was complete since."""
    found = BackupTask.objects.filter(state=TaskState.FAILED)
    if (good := last_complete()) and good.finished_at:
        found = found.filter(finished_at__gte=good.finished_at)
    return found.order_by("-finished_at").first()


def seconds_of(task: BackupTask | None) -> float:
    """Return the end of a task in seconds since 1970; 0 without one."""
    return task.finished_at.timestamp() if task and task.finished_at else 0.0
