"""Checks of ``manage.py verify`` on the lake: every file that a table names is there, whole."""

from __future__ import annotations

from collections.abc import Iterator

from exports.lake import tables, warehouse
from exports.lake.catalog import open_catalog
from exports.lake.data_files import files_of
from exports.lake.models import LakeTable
from istore import blobs
from istore.checks.verification import Finding, Scope


def files(scope: Scope) -> Iterator[Finding]:
    """Yield data files that are missing or have another size than the table says."""
    rows = LakeTable.objects.present().select_related("model__project").order_by("pk")
    if scope.project:
        rows = rows.filter(model__project=scope.project)
    for row in rows:
        table = tables.load(open_catalog(), row)
        for file in files_of(table) if table else ():
            key = warehouse.key_of(file.file_path)
            if why := _wrong_with(key, file.file_size_in_bytes):
                yield Finding("lake-file", key, f"{row}: {why}")


def _wrong_with(key: str, size: int) -> str:
    try:
        return "" if blobs.size(key) == size else "It has not the size of its manifest."
    except FileNotFoundError:
        return "There is none."
