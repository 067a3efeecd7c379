"""Tables as Parquet: zstd, a row group for each batch, and facts as file metadata."""

from __future__ import annotations

from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from exports.formats.open_inference.writing import Writer


class ParquetWriter(Writer):
    extension = "parquet"

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, about: dict[str, str]
    ) -> None:
        super().__init__(file, schema, about)
        self._writer = pq.ParquetWriter(
            file, schema.with_metadata(about), compression="zstd"
        )

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._writer.write_batch(batch, row_group_size=batch.num_rows)

    def close(self) -> None:
        self._writer.close()
