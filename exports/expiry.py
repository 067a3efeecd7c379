"""What archives leave behind: those that have had their time, and the rest of attempts.

An archive is taken from its task by name after the object is gone, so a crash in between
is made good by the next round. An object below a task's prefix that the task does not
name, and that no worker is writing, belongs to an attempt that broke off.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db.models.functions import Now

from exports.models import ExportPart, ExportTask
from istore import blobs
from istore.failpoints import failpoint
from istore.tracking import LEASE, TaskState

ROOT = "exports"
EXPIRED = "Expired."


def collect(at: datetime) -> int:
    """Remove what is not needed any more; returns how many objects went."""
    removed = 0
    for task in ExportTask.objects.exclude(archive_key="").filter(
        archive_expires_at__lte=at
    ):
        remove_archive(task, EXPIRED)
        removed += 1
    _forget_sets(at)
    leftovers = list(orphans(at))
    blobs.delete(leftovers)
    return removed + len(leftovers) + _abort_uploads(at)


def remove_archive(task: ExportTask, reason: str) -> None:
    """The object, then its name; the task stays and says why there is none."""
    blobs.delete([task.archive_key])
    failpoint("expiry.archive_removed")
    task.parts.all().delete()
    ExportTask.objects.filter(pk=task.pk, archive_key=task.archive_key).update(
        archive_key="", archive_removed_reason=reason, updated_at=Now()
    )
    task.refresh_from_db()


def _forget_sets(at: datetime) -> None:
    """A set that nobody came back for in time is not kept; a retry fixes another."""
    limit = at - timedelta(hours=settings.ISTORE_EXPORT_HOURS)
    ended = ExportTask.objects.filter(
        state__in=[TaskState.FAILED, TaskState.STOPPED],
        fixed_at__isnull=False,
        finished_at__lt=limit,
    )
    for task in ended:
        ExportPart.objects.filter(task=task).delete()
        ExportTask.objects.filter(pk=task.pk, state=task.state).update(fixed_at=None)


def orphans(at: datetime) -> Iterator[str]:
    """Keys below ``exports/`` that no task names and no worker is writing."""
    for project, model, name in _directories():
        prefix = f"{ROOT}/{project}/{model}/{name}"
        # Listed before the task is read: what came later is not looked at.
        _, files = blobs.listed(prefix)
        task = _task(name)
        for file in files:
            key = f"{prefix}/{file}"
            if task is None or not (
                key == task.archive_key or _is_written(task, file, at)
            ):
                yield key


def _directories() -> Iterator[tuple[str, str, str]]:
    for project in blobs.listed(ROOT)[0]:
        for model in blobs.listed(f"{ROOT}/{project}")[0]:
            for name in blobs.listed(f"{ROOT}/{project}/{model}")[0]:
                yield project, model, name


def _task(name: str) -> ExportTask | None:
    try:
        return ExportTask.objects.filter(pk=uuid.UUID(name)).first()
    except ValueError:
        return None


def _is_written(task: ExportTask, file: str, at: datetime) -> bool:
    """Whether it is of the attempt that holds the task, or held it a lease ago."""
    if task.state != TaskState.RUNNING or not task.lease_until:
        return False
    mine = file.lstrip(".").startswith(f"export-{task.attempt}.")
    return mine and task.lease_until + LEASE > at


def _abort_uploads(at: datetime) -> int:
    """End multipart uploads that nobody is sending parts of."""
    bucket: Any = getattr(default_storage, "bucket", None)
    if bucket is None:
        return 0
    client, name = bucket.meta.client, default_storage.bucket_name
    found = client.get_paginator("list_multipart_uploads").paginate(
        Bucket=name, Prefix=f"{ROOT}/"
    )
    ended = 0
    for upload in (each for page in found for each in page.get("Uploads", [])):
        *_, directory, file = upload["Key"].split("/")
        task = _task(directory)
        if task and _is_written(task, file, at):
            continue
        client.abort_multipart_upload(
            Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"]
        )
        ended += 1
    return ended
