"""Erasure in the lake: rows go, files are written again, old snapshots and their files are deleted.

It runs after the records are hidden and takes the lock of each table, so a run that appends at the
same time has either committed before, and its rows are found here, or does not see the records.
What only the lake still has, because the store has removed it or its metadata was changed, is found
by the value in its column.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from exports.lake import columns, dropping, rewriting, tables
from exports.lake.catalog import open_catalog
from exports.lake.data_files import batches_of, days_of, files_of
from exports.lake.models import LakeTable
from inferences.erasure.matching_records import Carried
from inferences.models import RegisteredModel
from inferences.models.metadata_values import in_slot
from inferences.models.row_ids import moment_of
from istore import blobs
from istore.errors import StoreError
from istore.models import Project

SOURCE_DOC = ":tag.str:source"


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
    names = pa.array(sorted({name for name, _ in wanted}))
    days = {days_of(moment.date()) for _, moment in wanted}

    def going(batch: pa.RecordBatch) -> pa.Array:
        ids, moments = batch[row.id_column], batch["timestamp"]
        mask = pc.is_in(ids, value_set=names).to_pylist()
        return pa.array(
            each and (ids[n].as_py(), moments[n].as_py()) in wanted
            for n, each in enumerate(mask)
        ).cast(pa.bool_())

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
                going = _has_value(needs, carried)
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
        going = _has_value(needs, carried)
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
    schema = table.schema()
    if carried.is_source:
        return [field.name for field in schema.fields if field.doc == SOURCE_DOC]
    return [field.name for field in columns.fields_of_key(schema, carried.path[0])]


def _has_value(names: list[str], carried: Carried) -> Callable[[pa.RecordBatch], Any]:
    """Return what tells which rows of a batch have the value in one of the columns."""
    matches = _matcher(carried)

    def going(batch: pa.RecordBatch) -> pa.Array:
        mask = pa.repeat(False, batch.num_rows)
        for name in names:
            if name not in batch.schema.names:
                continue  # the file is older than the column
            column = batch[name]
            found = [v for v in pc.unique(column).to_pylist() if v is not None]
            met = pa.array([v for v in found if matches(v)], column.type)
            mask = pc.or_(mask, pc.is_in(column, value_set=met))
        return mask

    return going


def _matcher(carried: Carried) -> Callable[[Any], bool]:
    """Return whether a value of a column is the one to erase.

    A column of texts does not tell which type its values had, as a key may have had several. So a
    text is taken for the type of the erased value whenever it can be read as one.
    """
    if carried.is_source:
        alike = {carried.value, in_slot(carried.value)}
        return lambda value: value in alike
    plain = carried.type.partition(".")[0]
    if plain == "string" or plain == "json":
        return lambda value: isinstance(value, str) and carried.is_in([plain, value])
    operand = carried.operand

    def is_number(value: Any) -> bool:
        if isinstance(value, str):
            return carried.is_in([plain, value])
        return bool(value == operand)

    return is_number
