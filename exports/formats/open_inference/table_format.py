"""Tables as formats of archives: a folder for each version and environment of a model.

Inferences are not processed one by one: their row ids are collected until a statement is worth
its cost. Entries of datasets have no row, and are kept until all have passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, ClassVar
from urllib.parse import quote

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from django.conf import settings

from exports.formats.base import Format
from exports.formats.open_inference.avro import AvroWriter
from exports.formats.open_inference.csv import CsvWriter
from exports.formats.open_inference.json_lines import JsonLinesWriter
from exports.formats.open_inference.layout import STANDING, Layout, Shape
from exports.formats.open_inference.members import Kept
from exports.formats.open_inference.parquet import ParquetWriter
from exports.formats.open_inference.phoenix import PhoenixWriter
from exports.formats.open_inference.schema_json import schema_json
from exports.formats.open_inference.tables import Rows, Tables
from exports.formats.open_inference.writing import Writer
from exports.members import DELETED, Batch, Member
from inferences.models import RegisteredModel

FOLDERS_MAX = 100  # each is an open file; further groups share one
VERSION, ENVIRONMENT = (f":tag.str:{name}" for name in STANDING[:2])
Group = tuple[str | None, str | None]
OTHERS: Group = ("several", "several")
# The batch before is encoded while the next is processed; encoding releases the GIL.
_encoders = ThreadPoolExecutor(2, "encode")


@dataclass
class Folder:
    """One table of the archive while it is written."""

    file: IO[bytes]
    writer: Writer


class TableFormat(Format):
    """A format whose archive holds tables; ``writer`` writes them."""

    writer: ClassVar[type[Writer]]
    choices: ClassVar = {"shape": tuple(Shape)}

    def begin(self) -> None:
        self.shape = Shape(self.option("shape"))
        self.folders: dict[Group, Folder] = {}
        self._gathered: list[tuple[int, str]] = []
        self._ahead: Future[pa.Table] | None = None
        self._names: dict[int, str] = {}
        self._encoding: Future[None] | None = None
        self._kept: Kept | None = None
        if isinstance(self.model, RegisteredModel):
            self.layout = Layout.of(self.model, self.shape)
            self.tables = Tables(self.layout)
            self.archive.keep(self.tables)
        else:
            self._kept = Kept(self.model, self.shape, self.archive.scratch())

    def add_batch(self, batch: Batch) -> None:
        if self._kept is not None:
            super().add_batch(batch)
            return
        self._gathered += zip(batch.row_ids, batch.names, strict=True)
        if len(self._gathered) >= settings.ISTORE_EXPORT_ROW_GROUP:
            self._write()

    def add(self, member: Member) -> None:
        assert self._kept is not None  # ``add_batch`` of the base calls this, only then
        self._kept.add(member)

    def finish(self) -> None:
        if self._kept is not None:
            self._write_kept(self._kept)
        while self._gathered or self._ahead:
            self._write()
        self._encoded()
        if not self.folders:  # write the columns even without rows
            self._folder((None, None))
        for group, folder in self.folders.items():
            folder.writer.close()
            path = "/".join(folder_of(self.model, group))
            self.archive.add_file(f"{path}/data.{self.writer.extension}", folder.file)
            folder.file.truncate(0)  # frees the disk: the archive has the content now
            self.archive.add(f"{path}/schema.json", schema_json(self.layout.schema))

    def _write_kept(self, kept: Kept) -> None:
        """Write the kept members. They were counted as they passed: every line has a row."""
        tables = kept.tables()
        self.layout = tables.layout
        for rows in tables.kept_rows(settings.ISTORE_EXPORT_ROW_GROUP):
            self._encode(rows.batch)
            self._warn(rows)

    def _write(self) -> None:
        """Start reading the collected ids, and write the batch that was read meanwhile."""
        read, names = self._ahead, self._names
        gathered, self._gathered = self._gathered, []
        self._names = dict(gathered)
        self._ahead = self.tables.ahead(list(self._names)) if gathered else None
        if read is None:
            return
        met = set[int]()
        for portion in self.tables.portions(read.result()):
            rows = self.tables.rows(portion)
            self._encoded()
            self._encoding = _encoders.submit(self._encode, rows.batch)
            for why, skipped in rows.left_out.items():
                for name in skipped:
                    self.receipt.skip(name, why)
            self._warn(rows)
            met.update(rows.written, rows.left_out_ids)
            self.receipt.written += len(rows.written)
            self.receipt.tick()
        for row_id, name in names.items():
            if row_id not in met:
                self.receipt.skip(name, DELETED)

    def _warn(self, rows: Rows) -> None:
        if rows.other_vectors:
            self.receipt.warn("vector-length", rows.other_vectors)
        if rows.too_large:
            self.receipt.warn("request-too-large", rows.too_large)

    def _encode(self, rows: pa.RecordBatch) -> None:
        for group, batch in split_by_group(rows):
            self._folder(group).writer.write(batch)

    def _encoded(self) -> None:
        """Wait until the batch before is encoded, and raise its error."""
        if self._encoding is not None:
            encoding, self._encoding = self._encoding, None
            encoding.result()

    def _folder(self, group: Group) -> Folder:
        if group not in self.folders and len(self.folders) >= FOLDERS_MAX:
            group = OTHERS
        if group not in self.folders:
            file = self.archive.scratch()
            about = about_of(self.layout, group)
            writer = self.writer(file, self.layout.schema, about)
            self.folders[group] = Folder(file, writer)
        return self.folders[group]


def split_by_group(batch: pa.RecordBatch) -> Iterator[tuple[Group, pa.RecordBatch]]:
    """Yield the rows of each model version and environment."""
    named = set(batch.schema.names)
    columns = [
        batch[name] if name in named else None for name in (VERSION, ENVIRONMENT)
    ]
    values = [[None] if c is None else pc.unique(c).to_pylist() for c in columns]
    for version in values[0]:
        for environment in values[1]:
            mask = _equal(columns[0], version, _equal(columns[1], environment))
            rows = batch if mask is None else batch.filter(mask)
            if rows.num_rows:
                yield (version, environment), rows


def _equal(
    column: pa.Array | None, value: str | None, also: pa.Array | None = None
) -> pa.Array | None:
    if column is None:
        return also
    mask = (
        pc.is_null(column)
        if value is None
        else pc.fill_null(pc.equal(column, value), False)
    )
    return mask if also is None else pc.and_(mask, also)


def folder_of(model: RegisteredModel, group: Group) -> tuple[str, ...]:
    """Return ``<model id>/<version>/<environment>`` as names that any file system accepts."""
    version, environment = group
    said = (model.model_id, version or "no-version", environment or "no-environment")
    return tuple(safe(name) for name in said)


def safe(name: str) -> str:
    """Return the name, percent-encoded except letters, digits and ``.-_~``."""
    quoted = quote(name[:200], "")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def about_of(layout: Layout, group: Group = (None, None)) -> dict[str, str]:
    """Return the facts that a file stores about itself, if its format can."""
    model = layout.model
    version, environment = group
    facts = {
        "model_id": model.model_id,
        "model_version": version,
        "environment": environment,
        "project_id": model.project.project_id,
        "task_type": model.task_type,
        "class_labels": orjson.dumps(model.class_labels).decode(),
        "first_class_number": _first_class_number(model),
        "shape": layout.shape.value,
    }
    return {f"istore.{name}": fact for name, fact in facts.items() if fact is not None}


def _first_class_number(model: object) -> str | None:
    """Return the number of the first class.

    None for a dataset, whose sources may count from different numbers.
    """
    number = getattr(model, "first_class_number", None)
    return None if number is None else str(number)


class OpenInferenceParquet(TableFormat):
    name = "open_inference_parquet"
    title = "OpenInference, Parquet"
    description = "A table for pandas, Phoenix, DuckDB and Spark, with its schema.json."
    writer = ParquetWriter


class OpenInferenceAvro(TableFormat):
    name = "open_inference_avro"
    title = "OpenInference, Avro"
    description = "The same table as Avro records."
    writer = AvroWriter


class OpenInferenceCsv(TableFormat):
    name = "open_inference_csv"
    title = "OpenInference, CSV"
    description = (
        "The same table for spreadsheets; cells that look like formulas are text."
    )
    writer = CsvWriter


class OpenInferenceJsonLines(TableFormat):
    name = "open_inference_jsonl"
    title = "OpenInference, JSON Lines"
    description = "The same table, one JSON object a row."
    writer = JsonLinesWriter


class PhoenixDataset(TableFormat):
    name = "phoenix_jsonl"
    title = "Phoenix dataset"
    description = (
        "Lines of inputs, outputs, metadata and splits, as Phoenix uploads them."
    )
    writer = PhoenixWriter


TABLE_FORMATS = (
    OpenInferenceParquet,
    OpenInferenceAvro,
    OpenInferenceCsv,
    OpenInferenceJsonLines,
    PhoenixDataset,
)
