"""Datasets of Phoenix: JSON Lines of ``inputs``, ``outputs``, ``metadata`` and ``splits``.

Inputs are the features; outputs are the answer and the ground truth; metadata is the rest. All
have their plain names. The split is that of a dataset's entry, or a record's environment.
"""

from __future__ import annotations

from typing import IO, Any

import orjson
import pyarrow as pa

from exports.formats.open_inference.json_lines import ON_A_LINE
from exports.formats.open_inference.names import ColumnName
from exports.formats.open_inference.writing import Writer

MEMBERS = {"feature": "inputs", "prediction": "outputs", "actual": "outputs"}
OUTPUTS = ("prediction_", "actual_", "response_")
NAMELESS = {"id": "id", "timestamp": "timestamp"}
SPLITS = ("split", "environment")


class PhoenixWriter(Writer):
    extension = "jsonl"

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, about: dict[str, str]
    ) -> None:
        super().__init__(file, schema, about)
        self._places = [_place(ColumnName.parse(name)) for name in schema.names]

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [batch.column(n).to_pylist() for n in range(batch.num_columns)]
        for values in zip(*columns, strict=True):
            self.file.write(orjson.dumps(self._example(values), option=ON_A_LINE))

    def _example(self, values: tuple[Any, ...]) -> dict[str, Any]:
        example: dict[str, Any] = {"inputs": {}, "outputs": {}, "metadata": {}}
        for (member, name), value in zip(self._places, values, strict=True):
            if value is not None:
                example[member][name] = value
        splits = [example["metadata"].get(name) for name in SPLITS]
        split = next(filter(None, splits), None)
        return example | {"splits": [split] if split else []}


def _place(column: ColumnName) -> tuple[str, str]:
    """Return the member of an example that a column's values go to, and their name there."""
    if column.category == "tag":
        is_said = column.name.startswith(OUTPUTS)
        return "outputs" if is_said else "metadata", column.name
    name = column.name or NAMELESS[column.category]
    if column.specifier == "link_to_data":
        name = f"{name}_link"
    return MEMBERS.get(column.category, "metadata"), name
