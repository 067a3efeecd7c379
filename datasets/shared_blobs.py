"""Inputs of entries: uploaded before their rows, and shared while an entry needs them.

A storage key is ``datasets/<project key>/<uuid7>``. (1) Objects that the project does not
have are uploaded. (2) One transaction locks the rows of shared inputs, and writes the new
rows and the entries that need them. A crash between (1) and (2) leaves an object without a
row, which ``manage.py verify`` finds. Removal first marks the row under the same lock, so
that no entry takes an input that is being removed; then it deletes the object, then the row.
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
    """An input was removed between its lookup and the transaction: repeat the batch."""


def prefix_of(project: Project) -> str:
    """Return the prefix of the storage keys of a project's inputs."""
    return f"{ROOT}{project.pk}/"


def put(project: Project, members: Iterable[Member]) -> dict[str, DatasetBlob]:
    """Upload inputs that the project lacks; return all inputs of the members by SHA-256.

    The rows of uploaded inputs are not saved yet. Members whose input is missing or cannot be
    opened are left out.
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
    """Write the rows of uploaded inputs; call it in the transaction of their entries.

    Returns the keys of uploaded objects that are not needed, because another writer saved the
    same input first. Raises ``Gone``.
    """
    fresh = [each for each in found.values() if each.pk is None]
    DatasetBlob.objects.bulk_create(fresh, ignore_conflicts=True)
    # The lock keeps _mark from removing an input before the entries of this transaction.
    rows = DatasetBlob.objects.select_for_update(no_key=True).filter(
        project=project, sha256__in=list(found), removal_at=None
    )
    there = {row.sha256: row for row in rows.order_by("sha256")}
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
    """Return the condition that an entry needs the ``DatasetBlob`` of the outer query."""
    return Exists(DatasetEntry.objects.filter(blob=OuterRef("pk")))


def collect(project: Project | None = None) -> int:
    """Remove inputs that no entry needs any more, and return how many were removed."""
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
        # Checked again under the lock: an entry may have been written before it was taken.
        DatasetBlob.objects.filter(~needed(), pk__in=idle).update(removal_at=Now())
    return list(rows.exclude(removal_at=None)[:AT_ONCE])


def unnamed(prefix: str) -> Iterator[blobs.Stored]:
    """Yield objects below the prefix that have no row."""
    for each in blobs.walk(prefix):
        if not DatasetBlob.objects.filter(storage_key=each.key).exists():
            yield each


def is_there(blob: DatasetBlob) -> bool:
    """Return whether the object exists with the size of its row."""
    with suppress(FileNotFoundError):
        return blobs.size(blob.storage_key) == blob.size
    return False
