"""Files of actuals: NDJSON, CSV and Parquet, read a piece at a time.

A line of NDJSON is an object with ``inference_id``, ``data_hash`` or ``metadata`` (an object
of key and value), and the actual in one of the forms of ``truths``. CSV and Parquet have a
column ``inference_id``, ``data_hash`` or ``metadata.<key>``, and columns named as the forms;
what is no text or number there is JSON, or in Parquet a list or struct.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet
from rest_framework.exceptions import APIException

from inferences.ground_truth.joining import Actual, Refusal
from inferences.ground_truth.references import HASH, INFERENCE, METADATA, Reference
from inferences.ground_truth.truths import FORMS, TRUTH_MAX_BYTES, read_truth
from inferences.metadata import read_float
from istore.exception_handler import as_problem
from istore.parsing import read_json
from istore.problems import Problem, invalid

ROWS_AT_ONCE = 1000
ROWS_AS_VALUES = 20
LINE_MAX_BYTES = 2 * TRUTH_MAX_BYTES
TEXTS = ("label", "text")
NUMBERS = ("value", "score")
COLUMN = "metadata."

Rows = Iterator[Actual | Refusal]
csv.field_size_limit(TRUTH_MAX_BYTES)


def rows_of(file: IO[bytes], form: str, task_type: str) -> Rows:
    """The actuals of a file, one after the other; ``form`` is a key of ``READERS``."""
    return READERS[form](file, task_type)


def form_of(name: str) -> str | None:
    """The form that a file's name or a content type says."""
    for form, words in WORDS.items():
        if name.lower().endswith(words):
            return form
    return None


def read_actual(value: Any, task_type: str, place: str = "") -> Actual:
    """One actual with its reference. Raises a 400 that names what is wrong."""
    if not isinstance(value, Mapping):
        raise invalid("An object is expected.")
    rest = dict(value)
    reference = _reference(
        *(rest.pop(name, None) for name in (INFERENCE, HASH, METADATA))
    )
    return Actual(reference, read_truth(rest, task_type), place)


def _reference(inference_id: Any, data_hash: Any, metadata: Any) -> Reference:
    given = {INFERENCE: inference_id, HASH: data_hash, METADATA: metadata}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise invalid("One of inference_id, data_hash and metadata is expected.")
    (name,) = named
    key, value = "", given[name]
    if name == METADATA:
        if not isinstance(value, Mapping) or value.keys() != {"key", "value"}:
            raise invalid("An object of key and value is expected.", name)
        key, value = value["key"], value["value"]
        if type(value) in (int, float):
            value = str(value)
    if not isinstance(value, str) or not isinstance(key, str):
        raise invalid("A text is expected.", name)
    try:
        return Reference(name, value, key)
    except ValueError as error:
        raise invalid(str(error), name) from None


def _told(place: str, read: Callable[[], Actual]) -> Actual | Refusal:
    try:
        return read()
    except APIException as error:
        return Refusal(place, as_problem(error)["detail"])
    except (ValueError, RecursionError) as error:
        return Refusal(place, str(error))


def _of_lines(file: IO[bytes], task_type: str) -> Rows:
    for number, line in enumerate(
        iter(lambda: file.readline(LINE_MAX_BYTES + 1), b""), 1
    ):
        if len(line) > LINE_MAX_BYTES:
            detail = f"Line {number} is longer than {LINE_MAX_BYTES} bytes."
            raise Problem(413, "body-too-large", detail)
        if line.strip():
            place = f"line {number}"
            yield _told(place, lambda: read_actual(read_json(line), task_type, place))  # noqa: B023 called at once


def _of_csv(file: IO[bytes], task_type: str) -> Rows:
    # Strict: what is no UTF-8 would be other labels.
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    table = csv.DictReader(text, strict=True)
    try:
        columns = table.fieldnames or ()
        _check_columns(columns)
        for number, row in enumerate(table, 1):
            place = f"row {number}"
            if None in row or None in row.values():
                yield Refusal(place, f"It has not {len(columns)} columns.")
                continue
            yield _told(place, lambda: _of_row(row, task_type, place))  # noqa: B023 called at once
    except UnicodeDecodeError:
        raise Problem(400, "invalid-encoding", "The file is not UTF-8.") from None
    except csv.Error as error:
        detail = f"Line {table.line_num}: {error}."
        raise Problem(400, "malformed-file", detail) from None
    finally:
        text.detach()  # the file is its opener's to close


def _of_parquet(file: IO[bytes], task_type: str) -> Rows:
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(file) as first:
            schema = first.schema_arrow
        _check_columns(schema.names)
        file.seek(0)
        # A text that stands in every row is one text in the file, and stays one here.
        texts = [each.name for each in schema if _is_text(each.type)]
        with pyarrow.parquet.ParquetFile(file, read_dictionary=texts) as table:
            for batch in table.iter_batches(ROWS_AT_ONCE):
                _check_texts(batch)
                for row in _rows_of_batch(batch):
                    number += 1
                    place = f"row {number}"
                    yield _told(place, lambda: _of_row(row, task_type, place))  # noqa: B023 called at once
    except (pyarrow.ArrowException, OSError) as error:
        detail = f"The file cannot be read as Parquet: {str(error)[:200]}"
        raise Problem(400, "malformed-file", detail) from None


def _is_text(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    is_large = types.is_large_string(kind) or types.is_large_binary(kind)
    return types.is_string(kind) or types.is_binary(kind) or is_large


def _check_texts(batch: pyarrow.RecordBatch) -> None:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        is_coded = pyarrow.types.is_dictionary(column.type)
        if not is_coded or not _is_text(column.type.value_type):
            continue
        longest = pyarrow.compute.max(pyarrow.compute.binary_length(column.dictionary))
        if (longest.as_py() or 0) > TRUTH_MAX_BYTES:
            detail = f"A value of {name} is longer than {TRUTH_MAX_BYTES} bytes."
            raise Problem(413, "body-too-large", detail)


def _rows_of_batch(batch: pyarrow.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows, a few at a time: as values of Python they are many times as large."""
    for start in range(0, batch.num_rows, ROWS_AS_VALUES):
        yield from batch.slice(start, ROWS_AS_VALUES).to_pylist()


def _check_columns(columns: Any) -> None:
    known = {INFERENCE, HASH, "label", "score", *FORMS}
    for column in columns:
        if column not in known and not column.startswith(COLUMN):
            raise invalid("There is no such column.", column, code="unknown-field")
    if len(set(columns)) < len(columns):
        raise invalid("A column stands twice.")
    if not any(c in (INFERENCE, HASH) or c.startswith(COLUMN) for c in columns):
        raise invalid("A column inference_id, data_hash or metadata.<key> is missing.")


def _of_row(row: Mapping[str, Any], task_type: str, place: str) -> Actual:
    given = {name: cell for name, cell in row.items() if cell not in (None, "")}
    body: dict[str, Any] = {}
    for name, cell in given.items():
        if name.startswith(COLUMN):
            value = cell if isinstance(cell, str | int | float) else str(cell)
            if METADATA in body:
                raise invalid("Several metadata columns are filled.", name)
            body[METADATA] = {"key": name.removeprefix(COLUMN), "value": value}
        elif name == HASH and isinstance(cell, bytes):
            body[name] = cell.hex()
        elif name in NUMBERS and isinstance(cell, str):
            body[name] = _number(cell, name)
        elif isinstance(cell, str) and name not in (*TEXTS, INFERENCE, HASH):
            body[name] = _json(cell, name)
        else:
            body[name] = cell
    return read_actual(body, task_type, place)


def _number(cell: str, name: str) -> float:
    try:
        return read_float(cell)
    except ValueError as error:
        raise invalid(str(error), name) from None


def _json(cell: str, name: str) -> Any:
    try:
        return read_json(cell.encode())
    except APIException as error:
        raise invalid(f"Not JSON: {as_problem(error)['detail']}", name) from None


READERS: dict[str, Callable[[IO[bytes], str], Rows]] = {
    "ndjson": _of_lines,
    "csv": _of_csv,
    "parquet": _of_parquet,
}
WORDS = {
    "ndjson": ("ndjson", "jsonl", "json"),
    "csv": ("csv",),
    "parquet": ("parquet", ".pq"),
}
