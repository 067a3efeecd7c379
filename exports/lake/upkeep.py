"""Periodic work on the tables: follow removals, merge small files, expire snapshots.

The metadata of a table that was moved, or restored elsewhere, is written again.

Each table is worked on under its lock, and skipped while a run appends to it. A crash at any place
leaves files that no snapshot names, which the next round deletes.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from django.conf import settings
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from exports.lake import dropping, relocating, rewriting, tables
from exports.lake.catalog import open_catalog
from exports.lake.models import LakeTable
from inferences.models import InferenceKey

# A query that began before a commit reads the files of the snapshot before.
READING_HOURS = 1

log = logging.getLogger(__name__)


def tend_all(at: datetime) -> None:
    """Tend every table, the one that has waited longest first."""
    dropping.finish_all()
    found = LakeTable.objects.present().select_related("model__project", "schedule")
    for row in found.order_by("tended_at", "pk"):
        try:
            tend(row, at)
        except Exception:
            log.exception("the lake's table %s could not be tended", row)


def tend(row: LakeTable, at: datetime) -> bool:
    """Tend one table. Return False while others write it."""
    with row.lock.try_hold() as is_ours:
        if not is_ours:
            return False
        catalog = open_catalog()
        if table := tables.load(catalog, row):
            relocating.relocate(catalog, table)
            if not row.keeps_removed:
                follow_removals(row, table)
            merge_small_files(table)
            hours = timedelta(hours=settings.ISTORE_LAKE_SNAPSHOT_HOURS)
            table.refresh()
            rewriting.expire(table, at - hours)
            before = at - timedelta(hours=READING_HOURS)
            rewriting.delete_leftovers(table, before)
    LakeTable.objects.filter(pk=row.pk).update(tended_at=at)
    return True


def follow_removals(row: LakeTable, table: Table) -> int:
    """Remove the rows whose records are no longer in the store; return how many went."""

    def going(batch: pa.RecordBatch) -> pa.Array:
        ids = batch[row.id_column]
        keys = InferenceKey.objects.filter(
            registered_model=row.model,
            inference_id__in=pc.unique(ids).to_pylist(),
            row_id__isnull=False,
            removed_at=None,
        )
        there = pa.array(list(keys.values_list("inference_id", flat=True)), pa.string())
        return pc.invert(pc.is_in(ids, value_set=there))

    files = rewriting.all_files(table)
    return rewriting.remove_rows(table, going, [row.id_column], files)


def merge_small_files(table: Table) -> int:
    """Merge the small files of each day that has many; return how many files went."""
    merged = 0
    for files in _small(table):
        rewriting.merge(table, files)
        table.refresh()
        merged += len(files)
    return merged


def _small(table: Table) -> Iterator[list[DataFile]]:
    days: dict[int, list[DataFile]] = defaultdict(list)
    for file in rewriting.all_files(table):
        if file.file_size_in_bytes < settings.ISTORE_LAKE_SMALL_BYTES:
            days[file.partition[1]].append(file)
    for _, files in sorted(days.items()):
        if len(files) >= settings.ISTORE_LAKE_SMALL_FILES:
            yield files
