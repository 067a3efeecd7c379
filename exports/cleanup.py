"""Delete expired archives, and objects that broken attempts left behind.

An archive's object is deleted before its key is cleared on the task, so after a crash in
between the next round repeats both. An object below a task's prefix that the task does not
name, and that no worker is writing, belongs to an attempt that broke off.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from exports.models import ArchiveTask
from istore import blobs
from istore.failpoints import failpoint
from istore.tasks.tracking import LEASE, TaskState

ROOT = "exports/"
EXPIRED = "Expired."


def collect(at: datetime) -> int:
    """Delete what is not needed any more, and return how many objects were deleted."""
    removed = 0
    for kind in kinds():
        kept = kind.objects.exclude(archive_key="")
        for task in kept.filter(archive_expires_at__lte=at):
            remove_archive(task, EXPIRED)
            removed += 1
    _forget_sets(at)
    for leftover in orphans(at):
        blobs.delete([leftover.key])
        removed += 1
    return removed + _abort_uploads(at)


def kinds() -> list[type[ArchiveTask]]:
    """Return every model class of tasks that write archives, of all apps."""
    return [model for model in apps.get_models() if issubclass(model, ArchiveTask)]


def remove_archive(task: ArchiveTask, reason: str) -> None:
    """Delete the object, then clear its key; the task keeps the reason."""
    blobs.delete([task.archive_key])
    failpoint("expiry.archive_removed")
    forget_archive(task, reason)


def forget_archive(task: ArchiveTask, reason: str) -> None:
    """Clear the key of an archive that is gone, and drop the task's fixed set."""
    task.forget_set()
    type(task).objects.filter(pk=task.pk, archive_key=task.archive_key).update(
        archive_key="", archive_removed_reason=reason, updated_at=Now()
    )
    task.refresh_from_db()


def _forget_sets(at: datetime) -> None:
    """Drop the sets of tasks that ended long ago without success; a retry fixes a new one."""
    limit = at - timedelta(hours=settings.ISTORE_EXPORT_HOURS)
    for kind in kinds():
        ended = kind.objects.filter(
            state__in=[TaskState.FAILED, TaskState.STOPPED],
            fixed_at__isnull=False,
            finished_at__lt=limit,
        )
        for task in ended:
            with transaction.atomic():
                still = kind.objects.filter(pk=task.pk, state=task.state)
                if still.update(fixed_at=None):
                    task.forget_set()


def orphans(at: datetime, prefix: str = ROOT) -> Iterator[blobs.Stored]:
    """Yield objects below ``exports/`` that no task names and no worker is writing."""
    for each in blobs.walk(prefix):
        # The task is read after the object was listed, so its state is never older than the
        # object.
        *_, directory, file = each.key.split("/")
        task = _task(directory)
        named = task is not None and each.key == task.archive_key
        if not named and not (task and _is_written(task, file, at)):
            yield each


def _task(name: str) -> ArchiveTask | None:
    try:
        key = uuid.UUID(name)
    except ValueError:
        return None
    found = (kind.objects.filter(pk=key).first() for kind in kinds())
    return next((task for task in found if task), None)


def _is_written(task: ArchiveTask, file: str, at: datetime) -> bool:
    """Return whether the file is of the attempt that holds the task, or held it a lease ago."""
    if task.state != TaskState.RUNNING or not task.lease_until:
        return False
    mine = file.lstrip(".").startswith(f"export-{task.attempt}.")
    return mine and task.lease_until + LEASE > at


def _abort_uploads(at: datetime) -> int:
    """Abort multipart uploads to which no worker is sending parts; return how many."""
    ended = 0
    for key, end in blobs.open_uploads(at):
        if not key.startswith(ROOT):
            continue
        *_, directory, file = key.split("/")
        task = _task(directory)
        if task and _is_written(task, file, at):
            continue
        end()
        ended += 1
    return ended
