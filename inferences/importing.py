"""Files of inferences, read as the bodies of creates: NDJSON and Parquet.

A line of NDJSON is a create's body as the API takes it, or a record of an export, whose
files lie beside it (``records``). A row of Parquet has the columns
``inference_id``, ``inference_action``, ``data_hash`` and ``data_size``, and optionally
``created_at``, ``is_protected``, ``data_source``, ``latitude``, ``longitude``, ``metadata``
(a list of structs key, type, value), ``object_detection`` (a list of structs label,
score, xmin, ymin, xmax, ymax) and the other collections of the contract, ``embedding``.
Both are read in pieces, whatever their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet
from rest_framework.exceptions import APIException

from inferences.models import RegisteredModel
from istore.parsing import read_json

ROWS_AT_ONCE = 1000
LINE_MAX_BYTES = 64 * 1024**2
STANDARD = (
    "inference_action",
    "data_hash",
    "data_size",
    "data_source",
    "latitude",
    "longitude",
)
PARTS = (
    "object_detection",
    "oriented_object_detection",
    "image_classification",
    "image_segmentation",
    "embedding",
    "classification",
    "text_classification",
    "named_entities",
    "ranking",
    "regression",
    "multi_output",
    "time_series",
    "text_generation",
    "shap_values",
    "embeddings",
    "inputs",
)

# Where a body stands in its file, and the body or why it cannot be read.
Row = tuple[str, Any | APIException]


def rows_of(path: Path, model: RegisteredModel) -> Iterator[Row]:
    """The bodies in a file, one after the other, with their places for people."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return _of_parquet(path, model)
    return _of_lines(path)


def _of_lines(path: Path) -> Iterator[Row]:
    with open(path, "rb") as file:
        for number, line in enumerate(
            iter(lambda: file.readline(LINE_MAX_BYTES), b""), 1
        ):
            if not line.strip():
                continue
            try:
                value = read_json(line)
            except APIException as error:
                value = error
            yield f"{path.name}, line {number}", value


def _of_parquet(path: Path, model: RegisteredModel) -> Iterator[Row]:
    number = 0
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield f"{path.name}, row {number}", _body(row, model)


def _body(row: dict[str, Any], model: RegisteredModel) -> dict[str, Any]:
    """A row of a table as a create's body; unknown columns stay, to be refused by name."""
    row = {name: value for name, value in row.items() if value is not None}
    standard = {name: row.pop(name) for name in STANDARD if name in row}
    digest = standard.get("data_hash")
    if isinstance(digest, bytes):
        standard["data_hash"] = digest.hex()
    created_at = row.get("created_at")
    if isinstance(created_at, datetime):
        aware = created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC)
        row["created_at"] = aware.isoformat()
    data = {name: row.pop(name) for name in PARTS if name in row}
    data["metadata"] = {
        "standard_metadata": {"task_type": model.task_type, **standard},
        "extended_metadata": row.pop("metadata", []),
    }
    return {**row, "data": data}
