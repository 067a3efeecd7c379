"""Checks of ``manage.py verify`` on exports: every archive is there, and no other object."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from exports.cleanup import ROOT, forget_archive, kinds, orphans
from exports.models import ArchiveTask
from istore import blobs
from istore.checks.verification import Finding, Scope

LOST = "The archive was no longer in blob storage."


def archives(scope: Scope) -> Iterator[Finding]:
    """Yield archives that are missing or differ; repair clears their key on the task."""
    for task in (task for kind in kinds() for task in _tasks_with_archive(kind, scope)):
        why = _wrong_with(task, scope.deep)
        still = type(task).objects.filter(pk=task.pk, archive_key=task.archive_key)
        if why and still.exists():
            if scope.repair:
                forget_archive(task, LOST)
            yield Finding("archive", task.archive_key, why, scope.repair)


def _tasks_with_archive(kind: type[ArchiveTask], scope: Scope) -> Iterator[ArchiveTask]:
    tasks = kind.objects.exclude(archive_key="").order_by("pk")
    if scope.since:
        tasks = tasks.filter(finished_at__gte=scope.since)
    for task in tasks.iterator(chunk_size=100):
        if scope.project is None or task.project == scope.project:
            yield task


def _wrong_with(task: ArchiveTask, deep: bool) -> str:
    try:
        if blobs.size(task.archive_key) != task.archive_size:
            return "It has not the size it was written with."
        if deep:
            with blobs.open_blob(task.archive_key) as file:
                digest = hashlib.sha256()
                while chunk := file.read(1024**2):
                    digest.update(chunk)
            if digest.hexdigest() != task.archive_sha256:
                return "It has not the content it was written with."
    except FileNotFoundError:
        return "There is none."
    return ""


def leftovers(scope: Scope) -> Iterator[Finding]:
    """Yield objects of broken attempts that the collector should have removed by now."""
    prefix = f"{ROOT}{scope.project.pk}/" if scope.project else ROOT
    for orphan in orphans(scope.at, prefix):
        if orphan.modified_at < scope.young_from:
            if scope.repair:
                blobs.delete([orphan.key])
            yield Finding("orphan", orphan.key, "Of no export task.", scope.repair)
