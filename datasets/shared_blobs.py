"""Inputs of entries: put before their rows, shared while needed, removed after their rows.

A key is ``datasets/<project key>/<uuid7>``. (1) Objects that the project has not are put.
(2) One transaction writes the rows that name them and the entries that need them, the
rows of shared inputs locked. A crash between leaves an object that no row names, for the
collector. Removal marks the row first, under the same lock, so that nothing takes an input
that is going; then the object, then the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from datasets.models import DatasetBlob, DatasetEntry
from exports.members import Member, Skip
from inferences.previews import pictures
from istore import blobs
from istore.failpoints import failpoint
from istore.models import Project
from istore.uuids import uuid7

ROOT = "datasets/"
AT_ONCE = 500


class Gone(Exception):
    """An input that was there when it was looked for was removed since: begin again."""


def prefix_of(project: Project) -> str:
    return f"{ROOT}{project.pk}/"


def put(project: Project, members: Iterable[Member]) -> dict[str, DatasetBlob]:
    """By their SHA-256 the inputs of the members that have one, those put not yet saved.

    Each member's input is read once; one that cannot be opened is left out.
    """
    found: dict[str, DatasetBlob] = {}
    for member in members:
        try:
            content = member.content
        except Skip:
            continue
        sha256 = content.sha256.hex()
        if sha256 in found:
            continue
        known = DatasetBlob.objects.filter(
            project=project, sha256=sha256, removal_at=None
        ).first()
        if known is None:
            known = DatasetBlob(
                project=project,
                sha256=sha256,
                size=content.size,
                storage_key=f"{prefix_of(project)}{uuid7()}",
                content_type=member.content_type,
            )
            default_storage.save(known.storage_key, File(content.open()))
            failpoint("datasets.input_put")
        found[sha256] = known
    return found


def save(project: Project, found: dict[str, DatasetBlob]) -> list[str]:
    """Write the rows of the inputs that were put, in the transaction of their entries.

    Returns the keys of objects that another writer made needless. Raises ``Gone``.
    """
    fresh = [each for each in found.values() if each.pk is None]
    DatasetBlob.objects.bulk_create(fresh, ignore_conflicts=True)
    rows = DatasetBlob.objects.select_for_update(no_key=True).filter(
        project=project, sha256__in=list(found), removal_at=None
    )
    there = {each.sha256: each for each in rows.order_by("sha256")}
    if there.keys() != found.keys():
        raise Gone
    needless = [
        each.storage_key
        for each in fresh
        if there[each.sha256].storage_key != each.storage_key
    ]
    found.update(there)
    return needless


def needed() -> Exists:
    return Exists(DatasetEntry.objects.filter(blob=OuterRef("pk")))


def collect(project: Project | None = None) -> int:
    """Remove inputs that no entry needs any more; returns how many went."""
    removed = 0
    while batch := _mark(project):
        failpoint("datasets.inputs_marked")
        gone = [each.storage_key for each in batch]
        pictures.forget(gone)
        blobs.delete(gone)
        failpoint("datasets.inputs_removed")
        keys = [each.pk for each in batch]
        DatasetBlob.objects.filter(pk__in=keys).delete()
        removed += len(batch)
    return removed


def _mark(project: Project | None) -> list[DatasetBlob]:
    rows = DatasetBlob.objects.all()
    if project is not None:
        rows = rows.filter(project=project)
    with transaction.atomic():
        idle = list(
            rows.filter(~needed(), removal_at=None)
            .select_for_update(skip_locked=True)
            .values_list("pk", flat=True)[:AT_ONCE]
        )
        # Asked again under the lock: an entry may have come before it was taken.
        DatasetBlob.objects.filter(~needed(), pk__in=idle).update(removal_at=Now())
    return list(rows.exclude(removal_at=None)[:AT_ONCE])


def unnamed(prefix: str) -> Iterator[blobs.Stored]:
    """Objects below the prefix that no row names."""
    for each in blobs.walk(prefix):
        if not DatasetBlob.objects.filter(storage_key=each.key).exists():
            yield each


def is_there(blob: DatasetBlob) -> bool:
    with suppress(FileNotFoundError):
        return blobs.size(blob.storage_key) == blob.size
    return False
