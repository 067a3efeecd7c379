"""Checks of ``manage.py verify``: every input of a dataset exists, and no other object."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from datasets import shared_blobs
from datasets.models import DatasetBlob
from istore import blobs
from istore.checks.verification import Finding, Scope


def inputs_there(scope: Scope) -> Iterator[DatasetBlob]:
    """Yield the inputs that must exist: of all projects, or of the one in scope."""
    rows = DatasetBlob.objects.filter(removal_at=None)
    if scope.project:
        rows = rows.filter(project=scope.project)
    return rows.order_by("pk").iterator(1000)


def inputs_found(blob: DatasetBlob, *, deep: bool) -> str:
    """Return what is wrong with an input, or ""; ``deep`` compares its SHA-256 too."""
    if not shared_blobs.is_there(blob):
        return "It is not there, or not of its size."
    if deep:
        digest = hashlib.sha256()
        with blobs.open_blob(blob.storage_key) as file:
            while chunk := file.read(1024**2):
                digest.update(chunk)
        if digest.hexdigest() != blob.sha256:
            return "It has not the content it was added with."
    return ""


def check_inputs(scope: Scope) -> Iterator[Finding]:
    """Yield inputs that are missing or changed. They are reported only: nothing restores them."""
    for blob in inputs_there(scope):
        if why := inputs_found(blob, deep=scope.deep):
            yield Finding("dataset-input", blob.storage_key, why)


def leftovers(scope: Scope) -> Iterator[Finding]:
    """Yield objects that were uploaded but whose entries were never written.

    Young objects are left alone, as their transaction may still commit.
    """
    prefix = (
        shared_blobs.prefix_of(scope.project) if scope.project else shared_blobs.ROOT
    )
    for each in shared_blobs.unnamed(prefix):
        if each.modified_at < scope.young_from:
            if scope.repair:
                blobs.delete([each.key])
            yield Finding("orphan", each.key, "Of no dataset.", scope.repair)
