"""Data files of a table: write them with Iceberg's field ids, list and read those it has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import IO
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record

from exports.lake import warehouse

EPOCH = date(1970, 1, 1)
COMPRESSION = "zstd"
ROWS_AT_ONCE = 5_000


def days_of(day: date) -> int:
    """Return the day as Iceberg writes it: days since 1970."""
    return (day - EPOCH).days


@dataclass
class OpenFile:
    """A data file of one model and day while it is written, on the disk of this process."""

    metadata: TableMetadata
    model_id: str
    day: int  # since 1970
    schema: pa.Schema

    def __post_init__(self) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 closed by ``store``
        self.row_count = 0
        self._writer = pq.ParquetWriter(
            self.file, self.schema, compression=COMPRESSION, store_schema=False
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows; they become a row group."""
        if batch.num_rows:
            self._writer.write_batch(batch, row_group_size=batch.num_rows)
            self.row_count += batch.num_rows

    def store(self) -> DataFile:
        """Put the file into the warehouse and return what a snapshot says of it."""
        self._writer.close()
        day = (EPOCH + timedelta(days=self.day)).isoformat()
        folder = f"{self.metadata.location}/data/timestamp_day={day}"
        location = f"{folder}/{uuid4()}.parquet"
        size = self.file.seek(0, 2)
        self.file.seek(0)
        found = pq.read_metadata(self.file)
        warehouse.put(location, self.file)
        self.file.close()
        schema = self.metadata.schema()
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=found,
            stats_columns=compute_statistics_plan(schema, self.metadata.properties),
            parquet_column_mapping=parquet_path_to_id_mapping(schema),
        )
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=location,
            file_format=FileFormat.PARQUET,
            partition=Record(self.model_id, self.day),
            file_size_in_bytes=size,
            sort_order_id=None,
            spec_id=self.metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )

    def discard(self) -> None:
        """Close the file without storing it."""
        self.file.close()


def arrow_schema(metadata: TableMetadata, names: Iterable[str]) -> pa.Schema:
    """Return the Arrow schema of these columns, with Iceberg's field ids, in the table's order."""
    wanted = set(names)
    whole = schema_to_pyarrow(metadata.schema(), include_field_ids=True)
    return pa.schema([_small(field) for field in whole if field.name in wanted])


def _small(field: pa.Field) -> pa.Field:
    """Return the field with strings and lists of 32-bit offsets, as they are given."""
    if pa.types.is_large_string(field.type):
        return field.with_type(pa.string())
    if pa.types.is_large_list(field.type) or pa.types.is_list(field.type):
        return field.with_type(pa.list_(_small(field.type.value_field)))
    return field


def files_of(table: Table) -> list[DataFile]:
    """Return the data files of the current snapshot."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return []
    return [
        entry.data_file
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        if entry.data_file.content == DataFileContent.DATA
    ]


def batches_of(
    file: DataFile, columns: Iterable[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a data file, all columns or those of these names that it has."""
    with warehouse.read(file.file_path) as content:
        parquet = pq.ParquetFile(content)
        names = set(parquet.schema_arrow.names)
        wanted = None if columns is None else [n for n in columns if n in names]
        yield from parquet.iter_batches(ROWS_AT_ONCE, columns=wanted)


def schema_in(file: DataFile) -> pa.Schema:
    """Return the Arrow schema of a data file, field ids included."""
    with warehouse.read(file.file_path) as content:
        found: pa.Schema = pq.read_schema(content)
    return found.remove_metadata()
