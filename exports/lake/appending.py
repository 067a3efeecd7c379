"""Append a chunk of arrivals to a table, exactly once.

The chunk's bounds are committed in the database before. The data files, new columns and a note of
the bounds (``istore.appended``) become visible in one commit of the catalogue, which fails if
another was first. So an attempt that finds its bounds in the note has nothing to write: one before
it broke off between this commit and that of the database. One that broke off earlier has left
files that no snapshot names; ``upkeep`` and erasures delete them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import pyarrow as pa
from django.conf import settings
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from exports.formats.open_inference.layout import Layout, Shape
from exports.formats.open_inference.tables import Tables
from exports.lake import columns, tables
from exports.lake.data_files import OpenFile, arrow_schema, days_of
from exports.lake.models import LakeTable
from exports.schedules.models import ExportSchedule
from inferences.models.row_ids import moment_of
from istore.failpoints import failpoint
from istore.tasks.tracking import LeaseLost

NOTE = "istore.appended"
ReadRows = Callable[[], Sequence[int]]


@dataclass
class Appended:
    """What a chunk has brought; the table keeps it for an attempt that comes after."""

    row_count: int = 0
    inference_count: int = 0
    file_count: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


def append_chunk(
    schedule: ExportSchedule,
    through: int,
    read_rows: ReadRows,
    check: Callable[[], None],
) -> Appended:
    """Append the rows that ``read_rows`` finds; ``check`` raises when the lease is lost.

    Rows are read under the lock of the table: an erasure that hid its records before is obeyed, and
    one that comes later waits for the commit and removes them from the table.
    """
    row = LakeTable.objects.select_related("model__project").get(schedule=schedule)
    bounds = [schedule.position, through]
    with tables.writing(row) as catalog:
        table = tables.load(catalog, row)
        if table is not None and (known := _noted(table, bounds)):
            return known
        # Its bounds are not noted any more if another worker has gone on since.
        here = ExportSchedule.objects.filter(pk=schedule.pk, position=schedule.position)
        if not here.exists():
            raise LeaseLost(f"{row}: another worker moved the position.")
        row_ids = read_rows()
        if not row_ids:
            return Appended()
        layout = Layout.of(schedule.model, Shape(schedule.shape))
        plan = columns.plan(layout.schema, table.schema() if table else None)
        if table is None:
            table = tables.create(catalog, row, plan)
            plan = columns.plan(layout.schema, table.schema())
        with _commit_or_lose(row), table.transaction() as transaction:
            if plan.new:
                with transaction.update_schema() as update:
                    for new in plan.new:
                        update.add_column(new.name, new.type, new.doc)
            found = Appended()
            files = list(
                _write(transaction.table_metadata, layout, plan, row_ids, found)
            )
            found.file_count = len(files)
            failpoint("lake.files_stored")
            check()
            if files:
                with transaction.update_snapshot().fast_append() as snapshot:
                    for file in files:
                        snapshot.append_data_file(file)
            note = {"bounds": bounds, **asdict(found)}
            transaction.set_properties({NOTE: json.dumps(note)})
    failpoint("lake.committed")
    return found


@contextmanager
def _commit_or_lose(row: LakeTable) -> Iterator[None]:
    try:
        yield
    except CommitFailedException as error:
        raise LeaseLost(f"{row}: another worker was first: {error}") from None


def _noted(table: Table, bounds: list[int]) -> Appended | None:
    note: dict[str, Any] = json.loads(table.properties.get(NOTE, "{}"))
    return Appended(**note) if note.pop("bounds", None) == bounds else None


def _write(
    metadata: Any,
    layout: Layout,
    plan: columns.Plan,
    row_ids: Sequence[int],
    found: Appended,
) -> Iterator[DataFile]:
    """Store a data file for each day, and count in ``found`` what is in them."""
    source = Tables(layout)
    left_out = Counter[str]()
    by_name = {plan.names[name]: name for name in layout.schema.names}
    schema = arrow_schema(metadata, by_name)
    for day, ids in groupby(row_ids, lambda row_id: moment_of(row_id).date()):
        file = OpenFile(metadata, layout.model.model_id, days_of(day), schema)
        try:
            for rows in source.all_rows(list(ids), settings.ISTORE_EXPORT_ROW_GROUP):
                found.inference_count += len(rows.written)
                left_out.update({why: len(each) for why, each in rows.left_out.items()})
                arrays = [rows.batch[by_name[f.name]].cast(f.type) for f in schema]
                file.write(pa.RecordBatch.from_arrays(arrays, schema=schema))
            if file.row_count:
                found.row_count += file.row_count
                yield file.store()
        finally:
            file.discard()
    found.left_out = dict(left_out)
