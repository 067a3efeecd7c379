"""Erasure in the lake: rows go, files are written again, old snapshots and their files are deleted.

It runs after the records are hidden and takes the lock of each table, so a run that appends at the
same time has either committed before, and its rows are found here, or does not see the records.
What only the lake still has, because the store has removed it or its metadata was changed, is found
by the value in its column.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow.compute as pc
from pyiceberg.table import Table

from exports import matching_rows
from exports.lake import dropping, rewriting, tables
from exports.lake.catalog import open_catalog
from exports.lake.data_files import batches_of, days_of, files_of
from exports.lake.models import LakeTable
from inferences.erasure.matching_records import Carried
from inferences.models import RegisteredModel
from inferences.models.row_ids import moment_of
from istore import blobs
from istore.errors import StoreError
from istore.models import Project


def of_records(model: RegisteredModel, row_ids: list[int]) -> int:
    """Remove the rows of these records from the model's tables; return how many rows went."""
    found = model.inferences.filter(id__in=row_ids).values_list("id", "inference_id")
    wanted = {(name, moment_of(row_id)) for row_id, name in found}
    if not wanted:
        return 0
    removed = 0
    for row in LakeTable.objects.filter(model=model).order_by("pk"):
        if row.dropped_at:
            _finish_drop(row)
            continue
        with tables.writing(row) as catalog:
            if table := tables.load(catalog, row):
                removed += _remove_records(row, table, wanted)
    return removed


def _remove_records(
    row: LakeTable, table: Table, wanted: set[tuple[str, datetime]]
) -> int:
    days = {days_of(moment.date()) for _, moment in wanted}
    going = matching_rows.are_among(wanted, row.id_column, "timestamp")
    within = [f for f in rewriting.all_files(table) if f.partition[1] in days]
    removed = rewriting.remove_rows(table, going, [row.id_column, "timestamp"], within)
    if removed:
        _purge(row, table)
    return removed


def of_value(project: Project, carried: Carried) -> int:
    """Remove the rows with the value from the project's tables; return how many rows went.

    Of every table the old snapshots and the files of broken attempts go as well, since nothing
    tells what is in them.
    """
    removed = 0
    for row in LakeTable.objects.of_project(project):
        if row.dropped_at:
            _finish_drop(row)
            continue
        with tables.writing(row) as catalog:
            table = tables.load(catalog, row)
            if table is None:
                continue
            if needs := _columns_of(table, carried):
                going = matching_rows.have_value(needs, carried)
                files = rewriting.all_files(table)
                removed += rewriting.remove_rows(table, going, needs, files)
            _purge(row, table)
    return removed


def of_leftovers(project: Project) -> int:
    """Delete what only old snapshots and broken attempts name; the rows are counted elsewhere."""
    for row in LakeTable.objects.of_project(project):
        if row.dropped_at:
            _finish_drop(row)
            continue
        with tables.writing(row) as catalog:
            if table := tables.load(catalog, row):
                _purge(row, table)
    return 0


def count_left(project: Project, carried: Carried) -> int:
    """Return how many rows of the project's tables still have the value, read from the files."""
    left = 0
    for row in LakeTable.objects.of_project(project).present():
        table = tables.load(open_catalog(), row)
        if table is None or not (needs := _columns_of(table, carried)):
            continue
        going = matching_rows.have_value(needs, carried)
        for file in files_of(table):
            for batch in batches_of(file, needs):
                left += pc.sum(going(batch)).as_py() or 0
    return left


def _purge(row: LakeTable, table: Table) -> None:
    _check_versions(row, rewriting.purge(table))


def _finish_drop(row: LakeTable) -> None:
    _check_versions(row, dropping.finish(row))


def _check_versions(row: LakeTable, gone: list[str]) -> None:
    if versions := blobs.count_old_versions(gone):
        message = f"{versions} deleted files of {row} have old versions in the bucket."
        raise StoreError("erasure-failed", message)


def _columns_of(table: Table, carried: Carried) -> list[str]:
    docs = {field.name: field.doc for field in table.schema().fields if field.doc}
    return matching_rows.columns_with(docs, carried)
