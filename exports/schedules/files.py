"""The Parquet files of one chunk, written to temporary files first.

Their path is ``project=…/model=…/date=…/part-….parquet``. Row ids are times, so the rows of a
chunk come date by date, and only one file is open. A part's name consists of the schedule and
the position where its chunk begins, so a retry of the chunk writes the same names.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import IO
from urllib.parse import quote

from django.conf import settings

from exports.formats.open_inference.layout import Layout, Shape
from exports.formats.open_inference.parquet import ParquetWriter
from exports.formats.open_inference.table_format import about_of
from exports.formats.open_inference.tables import Tables
from exports.schedules.destinations import Destination
from exports.schedules.models import ExportSchedule
from inferences.models import RegisteredModel
from inferences.models.row_ids import moment_of


@dataclass(frozen=True, slots=True)
class Part:
    """A file that is ready to be stored."""

    key: str
    date: date
    file: IO[bytes]
    row_count: int
    size: int
    sha256: str


@dataclass
class Parts:
    """The files of a chunk; ``left_out`` counts inferences without a row by reason."""

    parts: list[Part] = field(default_factory=list)
    inference_count: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def row_count(self) -> int:
        return sum(part.row_count for part in self.parts)

    @property
    def by_key(self) -> dict[str, Part]:
        return {part.key: part for part in self.parts}


@contextmanager
def written(
    schedule: ExportSchedule, after: int, row_ids: Sequence[int]
) -> Iterator[Parts]:
    """Yield the parts of these rows, oldest first; their files are closed after the block."""
    layout = Layout.of(schedule.model, Shape(schedule.shape))
    tables, parts = Tables(layout), Parts()
    try:
        for day, ids in groupby(row_ids, lambda row_id: moment_of(row_id).date()):
            part = _part(schedule, after, day, list(ids), tables, parts)
            if part is not None:
                parts.parts.append(part)
        yield parts
    finally:
        for part in parts.parts:
            part.file.close()


def _part(
    schedule: ExportSchedule,
    after: int,
    day: date,
    row_ids: list[int],
    tables: Tables,
    parts: Parts,
) -> Part | None:
    """Return the file of one day, or None if no row of it is left."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 closed with the others
    writer, count = None, 0
    for rows in tables.all_rows(row_ids, settings.ISTORE_EXPORT_ROW_GROUP):
        parts.inference_count += len(rows.written)
        parts.left_out.update({why: len(names) for why, names in rows.left_out.items()})
        if rows.batch.num_rows:
            if writer is None:
                about = about_of(tables.layout)
                writer = ParquetWriter(file, tables.layout.schema, about)
            writer.write(rows.batch)
            count += rows.batch.num_rows
    if writer is None:
        file.close()
        return None
    writer.close()
    size = file.seek(0, 2)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(key_of(schedule, after, day), day, file, count, size, digest)


def folder_of(schedule: ExportSchedule) -> str:
    """Return the folder of all files of a schedule.

    Two projects may have a model of one id and share a destination, so the project is part of the
    path; except in schedules from when an id belonged to one project only.
    """
    own = folder_of_model(schedule.model)
    if not schedule.names_project:
        own = own.partition("/")[2]
    return Destination(schedule.destination).key(schedule.prefix, own)


def folder_of_model(model: RegisteredModel) -> str:
    """Return the folders that the path of a model's files goes through, whatever schedule it is."""
    project_id, model_id = model.project.project_id, model.model_id
    return f"project={quote(project_id, '')}/model={quote(model_id, '')}"


def key_of(schedule: ExportSchedule, after: int, day: date) -> str:
    """Return the key of the part of one day in the chunk after this position."""
    part = f"part-{schedule.pk.hex[:12]}-{after + 1:012d}.parquet"
    return f"{folder_of(schedule)}/date={day.isoformat()}/{part}"
