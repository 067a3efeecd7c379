"""Checks of ``manage.py verify`` on files of schedules in the default store.

A missing file is no finding, because readers may remove their files. A file that is there must
be as it was written, and no broken attempt may leave a partial file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BufferedIOBase
from typing import cast

from exports.schedules.destinations import DEFAULT, ROOT
from exports.schedules.models import ExportedFile, ExportSchedule
from istore import blobs
from istore.checks.verification import Finding, Scope

# The keys of the files in the default store, for backups.
NAMED = (
    f"SELECT file.key FROM {ExportedFile._meta.db_table} AS file "
    f"JOIN {ExportSchedule._meta.db_table} AS schedule ON schedule.id = file.schedule_id "
    f"WHERE file.committed_at IS NOT NULL AND schedule.destination = '{DEFAULT}'"
)


def files(scope: Scope) -> Iterator[Finding]:
    """Yield files that differ from what was written."""
    whole = ExportedFile.objects.filter(
        committed_at__isnull=False, schedule__destination=DEFAULT
    )
    if scope.project:
        whole = whole.filter(schedule__model__project=scope.project)
    if scope.since:
        whole = whole.filter(committed_at__gte=scope.since)
    for file in whole.order_by("pk").iterator(chunk_size=1000):
        if why := _wrong_with(file, scope.deep):
            yield Finding("exported-file", file.key, why)


def _wrong_with(file: ExportedFile, deep: bool) -> str:
    try:
        if blobs.size(file.key) != file.size:
            return "It has not the size it was written with."
        if deep:
            with blobs.open_blob(file.key) as content:
                digest = hashlib.file_digest(cast(BufferedIOBase, content), "sha256")
            if digest.hexdigest() != file.sha256:
                return "It has not the content it was written with."
    except FileNotFoundError:
        pass
    return ""


def partial_files(scope: Scope) -> Iterator[Finding]:
    """Yield partial files of workers that were killed while they stored a file."""
    if scope.project:
        return  # the key of a partial file does not name its project
    for each in blobs.walk(f"{ROOT}/"):
        if each.is_partial and each.modified_at < scope.young_from:
            if scope.repair:
                blobs.delete([each.key])
            yield Finding("partial", each.key, f"{each.size} bytes.", scope.repair)
