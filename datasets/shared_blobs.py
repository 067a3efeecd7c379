"""Inputs of entries: uploaded before their rows, and shared while an entry needs them.

(1) What the project does not have is uploaded: small inputs of a batch together, as packs, and
each larger one as an object of its own (``istore/blobs/keys.py`` has the keys). (2) One
transaction locks the rows of shared inputs, and writes the new rows and the entries that need
them. A crash between (1) and (2) leaves a pack or an object without a row, which the collector
deletes. Removal first marks the row under the same lock, so that no entry takes an input that
is being removed; then it deletes the object, or releases the member of a pack, then the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from datasets.models import DatasetBlob, DatasetEntry
from exports.members import Member, Skip
from inferences.previews import pictures
from istore import blobs
from istore.blobs import packs
from istore.blobs.keys import prefix_of_datasets
from istore.failpoints import failpoint
from istore.models import Project
from istore.uuids import uuid7

AT_ONCE = 500


class Gone(Exception):
    """An input was removed between its lookup and the transaction: repeat the batch."""


def put(project: Project, members: Iterable[Member]) -> dict[str, DatasetBlob]:
    """Upload inputs that the project lacks; return all inputs of the members by SHA-256.

    The rows of uploaded inputs are not saved yet. Members whose input is missing or cannot be
    opened are left out.
    """
    wanted: dict[str, Member] = {}
    for member in members:
        with suppress(Skip):
            wanted.setdefault(member.content.sha256.hex(), member)
    rows = DatasetBlob.objects.filter(
        project=project, sha256__in=list(wanted), removal_at=None
    )
    found = {row.sha256: row for row in rows}
    lacking = [
        (
            DatasetBlob(
                project=project,
                sha256=sha256,
                size=member.content.size,
                content_type=member.content_type,
            ),
            member,
        )
        for sha256, member in wanted.items()
        if sha256 not in found
    ]
    _upload(prefix_of_datasets(project.pk), lacking)
    return found | {blob.sha256: blob for blob, _ in lacking}


def _upload(prefix: str, lacking: list[tuple[DatasetBlob, Member]]) -> None:
    """Put the inputs, and set the storage keys of their rows."""
    window: list[tuple[DatasetBlob, Member]] = []
    size = 0
    for blob, member in lacking:
        if blob.size > settings.ISTORE_PACK_MEMBER_BYTES:
            blob.storage_key = f"{prefix}{uuid7()}"
            default_storage.save(blob.storage_key, File(member.content.open()))
            failpoint("datasets.input_put")
            continue
        window.append((blob, member))
        size += blob.size
        if size >= settings.ISTORE_PACK_BYTES:
            _put_pack(prefix, window)
            window, size = [], 0
    if window:
        _put_pack(prefix, window)


def _put_pack(prefix: str, window: list[tuple[DatasetBlob, Member]]) -> None:
    contents = [
        (UUID(uuid7()).bytes, member.content.open().read()) for _, member in window
    ]
    key = packs.new_key(prefix.removesuffix("/"), packs.INPUTS)
    pack = packs.build_inputs(key, contents)
    blobs.put(pack.key, pack.body)
    failpoint("datasets.input_put")
    for (blob, _), placed in zip(window, pack.members, strict=True):
        blob.storage_key = placed.content_key(pack.key)


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


def repoint(pack: str, moved: Mapping[str, str]) -> set[str]:
    """Point rows at the new keys of members of a rewritten pack; return the old keys found.

    A row that is being removed is left out, as its old key may have been read already.
    """
    rows = DatasetBlob.objects.filter(storage_key__in=list(moved), removal_at=None)
    found: set[str] = set()
    for row in rows.select_for_update().order_by("sha256"):  # as save() locks them
        found.add(row.storage_key)
        row.storage_key = moved[row.storage_key]
        row.save(update_fields=["storage_key"])
    return found
