"""Tables as JSON Lines: each row is an object with every column."""

from __future__ import annotations

import orjson
import pyarrow as pa

from exports.formats.open_inference.writing import Writer


class JsonLinesWriter(Writer):
    extension = "jsonl"

    def write(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            self.file.write(orjson.dumps(row, option=ON_A_LINE))


ON_A_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
