"""Tables as CSV in which a spreadsheet runs no formula.

A text cell gets a leading apostrophe if it is empty, begins with an apostrophe or a control
character, or could be read as a formula. A formula has ``= + - @`` at its beginning, or after
blanks and zero-width characters, which programs drop, or in the wide and small forms of these
signs, which programs fold. No other cell begins with an apostrophe. So a reader that removes one
leading apostrophe gets every text back, and an empty cell is null. Lists are JSON. Times are
RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import CSVWriter as ArrowWriter

from exports.formats.open_inference.json_values import json_lists
from exports.formats.open_inference.writing import Writer

SIGNS = r"=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}\x{FE66}\x{FE62}\x{FE63}\x{FE6B}\x{2212}"
ESCAPED = rf"^(['\p{{Cc}}]|[\p{{Z}}\p{{Cc}}\p{{Cf}}]*[{SIGNS}]|$)"
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


class CsvWriter(Writer):
    extension = "csv"

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, about: dict[str, str]
    ) -> None:
        super().__init__(file, schema, about)
        self._cells = pa.schema([(each.name, _cell_type(each.type)) for each in schema])
        self._writer = ArrowWriter(file, self._cells)

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [_cells(batch.column(n)) for n in range(batch.num_columns)]
        self._writer.write_batch(
            pa.RecordBatch.from_arrays(columns, schema=self._cells)
        )

    def close(self) -> None:
        self._writer.close()


def _cell_type(type_: pa.DataType) -> pa.DataType:
    is_plain = pa.types.is_floating(type_) or pa.types.is_integer(type_)
    return type_ if is_plain or pa.types.is_boolean(type_) else pa.string()


def _cells(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, MOMENT)
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return json_lists(column)
    return escape(column) if pa.types.is_string(column.type) else column


def escape(texts: pa.Array) -> pa.Array:
    """Return texts as cells that no program reads as formulas."""
    return pc.replace_substring_regex(texts, ESCAPED, r"'\1")


def plain(cell: str) -> str | None:
    """Return the text that a cell stands for, or None for an empty cell."""
    return cell.removeprefix("'") if cell else None
