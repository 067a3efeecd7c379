"""Parse files of inferences into the bodies of creates: NDJSON, a JSON list, Parquet.

A line of NDJSON is the body of a create as the API takes it, or a record of an export whose
files are beside it (``exported_records``). A row of Parquet has the columns ``inference_id``,
``inference_action``, ``data_hash`` and ``data_size``, and optionally ``created_at``,
``is_protected``, ``data_source``, ``latitude``, ``longitude``, ``metadata`` (a list of
structs key, type, value), ``metadata.<key>`` (a column of any type, whose cells are values of
that key; gaps are left out), ``object_detection`` (a list of structs label, score, xmin,
ymin, xmax, ymax) and the other collections of the contract, ``embedding``. Lines and tables
are read in pieces, whatever their size, compressed by gzip or not. A directory, as Spark
writes one, stands for the files in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow
import pyarrow.parquet

from inferences.columnar.arrow_values import Unreadable, rows_of_batch
from inferences.columnar.parquet_check import COLUMN
from inferences.ground_truth.files import INDEX, read_document, unpacked
from inferences.imports.gaps import read_line
from inferences.models import RegisteredModel
from inferences.predictions.model_types import PARTS
from istore.errors import BadInput, Invalid, StoreError
from istore.json_text import write_json

ROWS_AT_ONCE, ROWS_AS_VALUES = 1000, 20
BEYOND_MICROSECONDS = re.compile(r"(?<=\.\d{6})\d+")
LINE_MAX_BYTES = 64 * 1024**2
STANDARD = (
    "inference_action",
    "data_hash",
    "data_size",
    "data_source",
    "latitude",
    "longitude",
)

# The place of a body in its file, for people, and the body or the error of parsing it.
Row = tuple[str, Any | StoreError]


def files_in(path: Path) -> list[Path]:
    """Return the file, or a directory's data files: names with a leading _ or dot are left out."""
    if not path.is_dir():
        return [path]
    found = (each for each in sorted(path.rglob("*")) if each.is_file())
    return [
        each
        for each in found
        if not any(p.startswith(("_", ".")) for p in each.relative_to(path).parts)
    ]


def rows_of(path: Path, model: RegisteredModel) -> Iterator[Row]:
    """Yield the bodies in a file, each with its place in the file for people."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return _of_parquet(path, model)
    return _of_lines(path)


def _of_lines(path: Path) -> Iterator[Row]:
    try:
        with open(path, "rb") as packed, unpacked(packed) as file:
            head = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")
            file.seek(0)
            yield from (_of_list if head[:1] == b"[" else _of_each_line)(path, file)
    except StoreError as error:
        yield path.name, error


def _of_list(path: Path, file: IO[bytes]) -> Iterator[Row]:
    for number, value in enumerate(read_document(file), 1):
        yield f"{path.name}, item {number}", value


def _of_each_line(path: Path, file: IO[bytes]) -> Iterator[Row]:
    for number, line in enumerate(iter(lambda: file.readline(LINE_MAX_BYTES), b""), 1):
        line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            value = read_line(line)
        except StoreError as error:
            value = error
        yield f"{path.name}, line {number}", value


def _of_parquet(path: Path, model: RegisteredModel) -> Iterator[Row]:
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for row in rows_of_batch(batch, ROWS_AS_VALUES):
                    number += 1
                    yield f"{path.name}, row {number}", _body(row, model)
    except (pyarrow.ArrowException, OSError) as error:
        why = f"The rest cannot be read as Parquet: {str(error)[:200]}"
        yield f"{path.name}, row {number + 1}", BadInput("malformed-file", why)


def _body(row: dict[str, Any], model: RegisteredModel) -> dict[str, Any] | StoreError:
    """Return a table row as the body of a create.

    Unknown columns stay in it, so that they are refused by name.
    """
    row = {
        name: value
        for name, value in row.items()
        if value is not None and not INDEX.fullmatch(name)
    }
    for name, value in row.items():
        if isinstance(value, Unreadable):
            return Invalid(value.why, name)
    standard = {name: row.pop(name) for name in STANDARD if name in row}
    digest = standard.get("data_hash")
    if isinstance(digest, bytes):
        standard["data_hash"] = digest.hex()
    created_at = row.get("created_at")
    if isinstance(created_at, str):
        # pandas writes nanoseconds, but only microseconds are stored.
        row["created_at"] = BEYOND_MICROSECONDS.sub("", created_at)
    keys = [name for name in row if name.startswith(COLUMN)]
    values = [_value(name.removeprefix(COLUMN), row.pop(name)) for name in keys]
    data = {name: row.pop(name) for name in PARTS if name in row}
    data["metadata"] = {
        "standard_metadata": {"task_type": model.task_type, **standard},
        "extended_metadata": [*row.pop("metadata", []), *values],
    }
    return {**row, "data": data}


def _value(key: str, cell: Any) -> dict[str, Any]:
    """Return a cell as a metadata value, with the type of its column."""
    if isinstance(cell, bool):
        return {"key": key, "type": "string", "value": str(cell).lower()}
    if isinstance(cell, bytes):
        try:
            cell = cell.decode()
        except UnicodeDecodeError:
            cell = cell.hex()
    for kind, type_ in ((str, "string"), (int, "int"), (float, "float")):
        if isinstance(cell, kind):
            return {"key": key, "type": type_, "value": str(cell)}
    return {"key": key, "type": "json", "value": write_json(cell)}
