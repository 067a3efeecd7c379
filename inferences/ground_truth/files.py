"""Parse files of ground truth, a piece at a time.

A line of NDJSON, or a member of a JSON list, is an object with ``inference_id``,
``data_hash`` or ``metadata`` (an object of key and value), and the ground truth in one of the
forms of ``truths``. Tables (text, Parquet, Arrow) have a column ``inference_id``,
``data_hash`` or ``metadata.<key>``, and columns named as the forms. A form that is neither
text nor number is JSON in its cell, or in Parquet a list or struct.
"""

from __future__ import annotations

import gzip
import re
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Self

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from inferences.columnar.arrow_values import Unreadable, rows_of_batch
from inferences.columnar.parquet_check import (
    COLUMN,
    is_text,
    lengths,
    longest_name,
    name_of,
)
from inferences.columnar.parquet_files import ROWS_AT_ONCE, UNPACKED_MAX_BYTES
from inferences.ground_truth.annotations import FORMS as ANNOTATIONS
from inferences.ground_truth.annotations import annotated_rows
from inferences.ground_truth.delimited import DelimitedTable, delimiter_named
from inferences.ground_truth.joining import Actual, Refusal
from inferences.ground_truth.labels import MISSING, Labels
from inferences.ground_truth.references import (
    HASH,
    INFERENCE,
    METADATA,
    VALUE_MAX_BYTES,
    Reference,
)
from inferences.ground_truth.truths import FORMS, TRUTH_MAX_BYTES, allowed, read_truth
from inferences.models import RegisteredModel
from inferences.models.metadata_values import read_float
from inferences.predictions.parsers.context import LABEL_CHARS
from istore.errors import BadInput, Invalid, StoreError, TooLarge
from istore.json_text import read_json
from istore.outside_ids import OUTSIDE_ID

ROWS_AS_VALUES = 20
LINE_MAX_BYTES = 2 * TRUTH_MAX_BYTES
DOCUMENT_MAX_BYTES = 64 * 2**20  # of a JSON list, which is parsed as a whole
CHUNK = 2**20
TEXTS = ("label", "text")
NUMBERS = ("value", "score")
COLUMNS = (INFERENCE, HASH, "label", "score", *FORMS)
BYTES_A_CHARACTER = 4
# The longest text of each column in bytes; longer ones are never decoded to Python.
LONGEST = {
    **dict.fromkeys(COLUMNS, TRUTH_MAX_BYTES),
    INFERENCE: 255 * BYTES_A_CHARACTER,
    HASH: VALUE_MAX_BYTES,
    COLUMN: VALUE_MAX_BYTES,
    "label": LABEL_CHARS * BYTES_A_CHARACTER,
}
WHY_TOO_LONG = {
    INFERENCE: str(OUTSIDE_ID.message),
    HASH: "A SHA-256 has 64 hexadecimal digits.",
    COLUMN: f"A value to join by has {VALUE_MAX_BYTES} bytes.",
    "label": f"More than {LABEL_CHARS} characters.",
}
# Names of the column of row numbers that pandas writes; it is ignored.
INDEX = re.compile(r"(unnamed: ?\d+|__index_level_\d+__)?", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"-?\d+,\d+")

Rows = Iterator[Actual | Refusal]


@dataclass(frozen=True, slots=True)
class Options:
    """How to read a file, as far as the file does not say it itself.

    ``missing`` are the words that mean a gap in a table of text, unless they are labels of
    the model. A NaN in a column of numbers is always a gap.
    """

    delimiter: str = ""
    missing: tuple[str, ...] = tuple(sorted(MISSING))
    ignore_unknown: bool = False
    join_by: str = ""  # for annotations: inference_id, data_hash or metadata.<key>

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Self:
        """Return the options of a query string or command. Raises ``Invalid``."""
        said: dict[str, Any] = {}
        if "delimiter" in given:
            said["delimiter"] = delimiter_named(given["delimiter"])
        if "missing" in given:
            words = (word.strip() for word in given["missing"].split(","))
            said["missing"] = tuple(word for word in words if word)
        if "ignore_unknown" in given:
            if given["ignore_unknown"] not in ("true", "false"):
                raise Invalid("true or false is expected.", "ignore_unknown")
            said["ignore_unknown"] = given["ignore_unknown"] == "true"
        if join_by := given.get("join_by", ""):
            if join_by not in (INFERENCE, HASH) and not join_by.startswith(COLUMN):
                why = "inference_id, data_hash or metadata.<key> is expected."
                raise Invalid(why, "join_by")
            said["join_by"] = join_by
        return cls(**said)

    def to_json(self) -> dict[str, Any]:
        """Return the options as a task stores them."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return the options that a task stored."""
        said = dict(kept)
        if "missing" in said:
            said["missing"] = tuple(said["missing"])
        return cls(**said)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a parser needs to know of the model and of the file."""

    task_type: str
    labels: Labels = field(default_factory=Labels)
    options: Options = field(default_factory=Options)


def rows_of(
    file: IO[bytes],
    form: str,
    model: RegisteredModel,
    options: Options | None = None,
) -> Rows:
    """Yield the ground truth in a file, or why a row is refused; ``form`` is one of ``NAMES``."""
    # Labels are loaded now: later the connection is busy, as rows are copied while read.
    labels, options = Labels.of(model), options or Options()
    labels.load()
    if form in ANNOTATIONS:
        return annotated_rows(file, form, model, labels, options.join_by)
    return READERS[form](file, Reading(model.task_type, labels, options))


def form_of(name: str) -> str | None:
    """Return the form for a file name or content type, or None if it is not known."""
    name = name.lower().removesuffix(".gz")
    for form, words in WORDS.items():
        if name.endswith(words):
            return form
    return None


@contextmanager
def unpacked(file: IO[bytes], limit: int = UNPACKED_MAX_BYTES) -> Iterator[IO[bytes]]:
    """Yield the file, decompressed if it is gzip. Raises ``TooLarge`` beyond ``limit``."""
    head = file.read(2)
    file.seek(0)
    if head != b"\x1f\x8b":
        yield file
        return
    with tempfile.TemporaryFile() as content:
        _unpack(file, content, limit)
        content.seek(0)
        yield content


def _unpack(file: IO[bytes], content: IO[bytes], limit: int) -> None:
    size = 0
    with gzip.GzipFile(fileobj=file) as packed:
        while chunk := _chunk_of(packed):
            size += len(chunk)
            if size > limit:
                detail = f"Unpacked, a file has at most {limit} bytes."
                raise TooLarge("body-too-large", detail)
            content.write(chunk)


def _chunk_of(packed: gzip.GzipFile) -> bytes:
    try:
        return packed.read(CHUNK)
    except (EOFError, OSError, zlib.error) as error:
        detail = f"The file is not whole as gzip: {error}."
        raise BadInput("malformed-file", detail) from None


def read_actual(
    value: Any, reading: Reading, place: str = "", *, is_typed: bool = True
) -> Actual:
    """Return one value of ground truth with its reference. Raises ``Invalid``."""
    if not isinstance(value, Mapping):
        raise Invalid("An object is expected.")
    rest = dict(value)
    if reading.options.ignore_unknown:
        rest = {k: v for k, v in rest.items() if k in COLUMNS or k == METADATA}
    reference = _reference(
        *(rest.pop(name, None) for name in (INFERENCE, HASH, METADATA))
    )
    if not any(rest.get(name) is not None for name in COLUMNS):
        fits = ", ".join(allowed(reading.task_type))
        raise Invalid(f"It says no actual: one of {fits} is expected, and not empty.")
    truth = read_truth(rest, reading.task_type, reading.labels, is_typed=is_typed)
    return Actual(reference, truth, place)


def _reference(inference_id: Any, data_hash: Any, metadata: Any) -> Reference:
    given = {INFERENCE: inference_id, HASH: data_hash, METADATA: metadata}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise Invalid("One of inference_id, data_hash and metadata is expected.")
    (name,) = named
    key, value = "", given[name]
    if name == METADATA:
        if not isinstance(value, Mapping) or value.keys() != {"key", "value"}:
            raise Invalid("An object of key and value is expected.", name)
        key, value = value["key"], value["value"]
        if type(value) in (int, float):
            value = str(value)
    elif name == INFERENCE and type(value) in (int, float):
        value = f"{value:.0f}" if float(value).is_integer() else repr(value)
    if not isinstance(value, str) or not isinstance(key, str):
        raise Invalid("A text is expected.", name)
    try:
        return Reference(name, value, key)
    except ValueError as error:
        raise Invalid(str(error), name) from None


def _read_or_refuse(place: str, read: Callable[[], Actual]) -> Actual | Refusal:
    """Return what ``read`` returns, or a refusal with the reason."""
    try:
        return read()
    except StoreError as error:
        return Refusal(place, str(error))
    except (ValueError, RecursionError) as error:
        return Refusal(place, str(error))


def _of_lines(file: IO[bytes], reading: Reading) -> Rows:
    start = file.tell()
    head = file.read(1024).removeprefix(b"\xef\xbb\xbf")
    file.seek(start)
    if head.lstrip()[:1] == b"[":  # a JSON list: no valid line of NDJSON begins so
        yield from _of_json(file, reading)
        return
    for number, line in enumerate(
        iter(lambda: file.readline(LINE_MAX_BYTES + 1), b""), 1
    ):
        if len(line) > LINE_MAX_BYTES:
            detail = f"Line {number} is longer than {LINE_MAX_BYTES} bytes."
            raise TooLarge("body-too-large", detail)
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            place = f"line {number}"
            yield _read_or_refuse(place, lambda: _of_line(line, reading, place))  # noqa: B023 called at once


def _of_line(line: bytes, reading: Reading, place: str) -> Actual:
    return read_actual(read_json(line, nan_is_null=True), reading, place)


def _of_json(file: IO[bytes], reading: Reading) -> Rows:
    """Parse a list of objects, as ``json.dump`` and pandas (``orient="records"``) write it."""
    for number, value in enumerate(read_document(file), 1):
        place = f"item {number}"
        yield _read_or_refuse(place, lambda: read_actual(value, reading, place))  # noqa: B023 called at once


def read_document(file: IO[bytes]) -> list[Any]:
    """Return the members of a JSON list; another value is a list of one."""
    content = file.read(DOCUMENT_MAX_BYTES + 1)
    if len(content) > DOCUMENT_MAX_BYTES:
        detail = f"A list of JSON has at most {DOCUMENT_MAX_BYTES} bytes: write lines."
        raise TooLarge("body-too-large", detail)
    value = read_json(content.removeprefix(b"\xef\xbb\xbf"), nan_is_null=True)
    return value if isinstance(value, list) else [value]


def _of_text(file: IO[bytes], reading: Reading) -> Rows:
    options = reading.options
    table = DelimitedTable(file, _is_known, options.delimiter)
    try:
        columns = _columns(table.columns, options)
        for place, cells in table:
            if isinstance(cells, Refusal):
                yield cells
                continue
            row = {columns[n]: cells[n] for n in columns}
            yield _read_or_refuse(
                place,
                lambda: _of_cells(row, table.delimiter, reading, place),  # noqa: B023 called at once
            )
    finally:
        table.close()


def _of_cells(
    row: Mapping[str, str], delimiter: str, reading: Reading, place: str
) -> Actual:
    """Parse a row of text: gaps are left out, and decimal commas become points."""
    cells = {}
    for name, cell in row.items():
        is_label = name == "label" and reading.labels.knows(cell)
        if cell in reading.options.missing and not is_label and name != "text":
            continue
        if (
            delimiter != ","
            and name != "text"
            and not is_label
            and DECIMAL_COMMA.fullmatch(cell)
        ):
            cell = cell.replace(",", ".")
        cells[name] = cell
    return _of_row(cells, reading, place, is_typed=False)


def _of_parquet(file: IO[bytes], reading: Reading) -> Rows:
    try:
        with pyarrow.parquet.ParquetFile(file) as first:
            schema = first.schema_arrow
        columns = _columns(schema.names, reading.options)
        file.seek(0)
        # With dictionaries a text that many rows share is decoded once.
        texts = [each.name for each in schema if is_text(each.type)]
        with pyarrow.parquet.ParquetFile(file, read_dictionary=texts) as table:
            yield from _of_batches(table.iter_batches(ROWS_AT_ONCE), columns, reading)
    except (pyarrow.ArrowException, OSError) as error:
        detail = f"The file cannot be read as Parquet: {str(error)[:200]}"
        raise BadInput("malformed-file", detail) from None


def _of_batches(
    batches: Iterator[pyarrow.RecordBatch], columns: dict[int, str], reading: Reading
) -> Rows:
    number = 0
    for batch in batches:
        kept = pyarrow.RecordBatch.from_arrays(
            [batch.column(place) for place in columns], names=list(columns.values())
        )
        kept, refused = _without_long(kept)
        for within, row in enumerate(rows_of_batch(kept, ROWS_AS_VALUES)):
            number += 1
            place = f"row {number}"
            row |= refused.get(within, {})
            yield _read_or_refuse(place, lambda: _of_row(row, reading, place))  # noqa: B023 called at once


def _without_long(
    batch: pyarrow.RecordBatch,
) -> tuple[pyarrow.RecordBatch, dict[int, dict[str, Unreadable]]]:
    """Return the batch without texts that are too long, and for each row why those are refused.

    Such a text is never decoded to Python: the file stores it once, but it may be in every
    row.
    """
    columns, refused = [], defaultdict[int, dict[str, Unreadable]](dict)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        found = lengths(column)
        if found is not None:
            longest = pyarrow.compute.max(found).as_py() or 0
            if longest > TRUTH_MAX_BYTES:
                detail = f"A value of {name} is longer than {TRUTH_MAX_BYTES} bytes."
                raise TooLarge("body-too-large", detail)
            bound = LONGEST[longest_name(name)]
            if longest > bound:
                is_long = pyarrow.compute.greater(found, bound)
                why = Unreadable(
                    WHY_TOO_LONG.get(longest_name(name), "It is too long.")
                )
                for row in pyarrow.compute.indices_nonzero(is_long).to_pylist():
                    refused[row][name] = why
                column = _with_gaps(column, is_long)
        columns.append(column)
    names = batch.schema.names
    return pyarrow.RecordBatch.from_arrays(columns, names=names), refused


def _with_gaps(column: pyarrow.Array, where: pyarrow.Array) -> pyarrow.Array:
    if not pyarrow.types.is_dictionary(column.type):
        if pyarrow.types.is_string_view(
            column.type
        ):  # if_else cannot choose between values of view types
            column = column.cast(pyarrow.large_string())
        elif pyarrow.types.is_binary_view(column.type):
            column = column.cast(pyarrow.large_binary())
        gap = pyarrow.scalar(None, column.type)
        return pyarrow.compute.if_else(where, gap, column)
    places = column.indices
    gap = pyarrow.scalar(None, places.type)
    return pyarrow.DictionaryArray.from_arrays(
        pyarrow.compute.if_else(where, gap, places), column.dictionary
    )


def _is_known(column: str) -> bool:
    name = name_of(column)
    return name in COLUMNS or name.startswith(COLUMN)


def _columns(given: Sequence[str], options: Options) -> dict[int, str]:
    """Return the columns to read, by position. Raises ``Invalid`` with all unknown ones."""
    found = {n: name_of(name) for n, name in enumerate(given) if _is_known(name)}
    unknown = [
        name
        for name in given
        if not _is_known(name) and not INDEX.fullmatch(name.strip())
    ]
    if unknown and not options.ignore_unknown:
        shown = ", ".join(name[:100] for name in unknown[:50])
        detail = (
            f"There is no such column: {shown}. Columns are {', '.join(COLUMNS)} and "
            f"{COLUMN}<key>; ignore_unknown=true skips others."
        )
        raise Invalid(detail, unknown[0][:100], code="unknown-field")
    if len(set(found.values())) < len(found):
        raise Invalid("A column stands twice.")
    if not any(c in (INFERENCE, HASH) or c.startswith(COLUMN) for c in found.values()):
        raise Invalid("A column inference_id, data_hash or metadata.<key> is missing.")
    return found


def _of_row(
    row: Mapping[str, Any], reading: Reading, place: str, *, is_typed: bool = True
) -> Actual:
    """Parse a row of a table by converting its cells to the members of a JSON object."""
    body: dict[str, Any] = {}
    for name, cell in row.items():
        if isinstance(cell, Unreadable):
            raise Invalid(cell.why, name)
        if cell is None or cell == "":
            continue
        if isinstance(cell, bytes):
            cell = cell.hex() if name == HASH and len(cell) == 32 else _text(cell, name)
        if name.startswith(COLUMN):
            if METADATA in body:
                raise Invalid("Several metadata columns are filled.", name)
            value = _joined_by(cell)
            body[METADATA] = {"key": name.removeprefix(COLUMN), "value": value}
        elif name in NUMBERS and isinstance(cell, str):
            body[name] = _number(cell, name)
        elif name == "text" and type(cell) in (int, float):
            body[name] = str(cell)
        elif isinstance(cell, str) and name not in (*TEXTS, INFERENCE, HASH):
            body[name] = _json(cell, name)
        else:
            body[name] = cell
    return read_actual(body, reading, place, is_typed=is_typed)


def _joined_by(cell: Any) -> Any:
    """Return a metadata value to join by: booleans as in JSON, and ``7.0`` as ``7``.

    pandas writes ``7.0`` for a whole number beside a gap; ``7`` matches decimal numbers too.
    """
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**63:
        return int(cell)
    return cell if isinstance(cell, str | int | float) else str(cell)


def _text(cell: bytes, name: str) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        raise Invalid("The bytes are not UTF-8.", name) from None


def _number(cell: str, name: str) -> float:
    try:
        return read_float(cell)
    except ValueError as error:
        raise Invalid(str(error), name) from None


def _json(cell: str, name: str) -> Any:
    try:
        return read_json(cell.encode(), nan_is_null=True)
    except StoreError as error:
        raise Invalid(f"Not JSON: {error}", name) from None


READERS: dict[str, Callable[[IO[bytes], Reading], Rows]] = {
    "ndjson": _of_lines,
    "csv": _of_text,
    "parquet": _of_parquet,
}
NAMES = (*READERS, *ANNOTATIONS)
WORDS = {
    "ndjson": ("ndjson", "jsonl", "json"),
    "csv": ("csv", ".tsv", ".tab", "tab-separated-values"),
    "parquet": ("parquet", ".pq"),
}
