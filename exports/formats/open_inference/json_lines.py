"""Tables as JSON Lines: each row is an object with every column."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from exports.formats.open_inference.json_values import json_values
from exports.formats.open_inference.writing import Writer, bytes_of


class JsonLinesWriter(Writer):
    extension = "jsonl"

    def write(self, batch: pa.RecordBatch) -> None:
        parts: list[object] = []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            before = "," if parts else "{"
            parts += [f"{before}{orjson.dumps(name).decode()}:", json_values(column)]
        lines = pc.binary_join_element_wise(*parts, "}\n", "")
        self.file.write(bytes_of(lines))


ON_A_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
