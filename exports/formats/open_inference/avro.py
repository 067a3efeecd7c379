"""Tables as Avro.

Avro names consist of letters, digits and ``_``, so each field has a name of its own and keeps
the name of its column as ``column``. ``columns_of`` reads these back.
"""

from __future__ import annotations

import os
import re
import zlib
from typing import IO, Any

import numpy as np
import pyarrow as pa
from fastavro.write import Writer as FastWriter

from exports.formats.open_inference.avro_values import avro_rows, varints
from exports.formats.open_inference.names import ColumnName
from exports.formats.open_inference.writing import Writer, bytes_of

NOT_A_LETTER = re.compile(r"[^A-Za-z0-9_]+")
BLOCK_ROWS = 1_000
LEVEL = 1  # of deflate: 6 takes twice as long for a tenth less
MOMENT = {"type": "long", "logicalType": "timestamp-micros"}


class AvroWriter(Writer):
    extension = "avro"

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, about: dict[str, str]
    ) -> None:
        super().__init__(file, schema, about)
        self._marker = os.urandom(16)
        head = FastWriter(
            file,
            avro_schema(schema),
            "deflate",
            metadata=about,
            sync_marker=self._marker,
        )
        head.flush()

    def write(self, batch: pa.RecordBatch) -> None:
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            rows = avro_rows(batch.slice(start, BLOCK_ROWS))
            press = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
            content = press.compress(bytes_of(rows)) + press.flush()
            heads = (_long(number) for number in (len(rows), len(content)))
            self.file.writelines((*heads, content, self._marker))


def _long(number: int) -> bytes:
    (cells,), _ = varints(np.array([number]))
    return bytes(cells)


def avro_schema(schema: pa.Schema) -> dict[str, Any]:
    """Return the Avro schema of a table, in which every field may be null."""
    return {
        "type": "record",
        "name": "Inference",
        "fields": [
            {
                "name": name,
                "column": field.name,
                "type": ["null", _type(field.type)],
                "default": None,
            }
            for name, field in zip(field_names(schema), schema, strict=True)
        ],
    }


def columns_of(schema: dict[str, Any]) -> dict[str, str]:
    """Return the column names of a file's schema by field names."""
    return {field["name"]: field["column"] for field in schema["fields"]}


def field_names(schema: pa.Schema) -> list[str]:
    """Return a field name for each column, made of its plain name; duplicates get a number."""
    names: list[str] = []
    taken: set[str] = set()
    for column in schema.names:
        parsed = ColumnName.parse(column)
        base = NOT_A_LETTER.sub("_", parsed.name or parsed.category)
        base = base if base[:1].isalpha() else f"c_{base}"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names.append(name)
    return names


def _type(type_: pa.DataType) -> Any:
    if pa.types.is_timestamp(type_):
        return MOMENT
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        return {"type": "array", "items": ["null", _type(type_.value_type)]}
    if pa.types.is_float32(type_):
        return "float"
    if pa.types.is_floating(type_):
        return "double"
    if pa.types.is_integer(type_):
        return "long"
    return "boolean" if pa.types.is_boolean(type_) else "string"
