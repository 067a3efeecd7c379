"""Columns of Arrow as values that JSON has, cell by cell.

Every type of Arrow becomes a value, or an ``Unreadable`` that says why not. So a single
cell that Python cannot hold does not end the reading of a file:

    timestamps       RFC 3339, with as many digits as there are; dates and times of day alike
    durations        seconds
    decimals         whole numbers, or the nearest double
    floats           NaN is a missing value, as pandas writes one
    binary           bytes
    uuid             its text
    lists, structs, maps, dictionaries, extensions    their contents, by the same rules
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow
import pyarrow.compute
from pyarrow import types

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH = datetime(1970, 1, 1)
REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A cell that has no value here, and the reason."""

    why: str


def rows_of_batch(batch: pyarrow.RecordBatch, at_once: int) -> Iterator[dict[str, Any]]:
    """Yield the rows, converted a few at a time: Python values are many times as large."""
    names = batch.schema.names
    for start in range(0, batch.num_rows, at_once):
        part = batch.slice(start, at_once)
        columns = [values_of(column) for column in part.columns]
        for cells in zip(*columns, strict=True):
            yield dict(zip(names, cells, strict=True))


def values_of(array: pyarrow.Array) -> list[Any]:
    """Return the cells of a column: None, a value, or ``Unreadable``."""
    for is_of_type, read in READERS:
        if is_of_type(array.type):
            try:
                return read(array)
            except Exception as error:  # of one cell or of all: each is tried alone
                if len(array) == 1:
                    return [_unreadable(array.type, error)]
                return [
                    cell
                    for place in range(len(array))
                    for cell in values_of(array.slice(place, 1))
                ]
    return [_other(scalar) for scalar in array]


def _unreadable(kind: pyarrow.DataType, error: Exception) -> Unreadable:
    if isinstance(error, UnicodeDecodeError):
        return Unreadable("The text is not UTF-8.")
    return Unreadable(
        f"A value of {kind} that cannot be read: {error!s}"[:REASON_CHARS]
    )


def _other(scalar: pyarrow.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    return Unreadable(f"Values of {scalar.type} are not read."[:REASON_CHARS])


def _plain(array: pyarrow.Array) -> list[Any]:
    values: list[Any] = array.to_pylist()
    return values


def _floats(array: pyarrow.Array) -> list[Any]:
    return [None if cell != cell else cell for cell in array.to_pylist()]


def _decimals(array: pyarrow.Array) -> list[Any]:
    return [None if cell is None else _number(cell) for cell in array.to_pylist()]


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _counts(array: pyarrow.Array) -> list[int | None]:
    """Return the integers under a type of time: the counts of its unit."""
    width = pyarrow.int32() if array.type.bit_width == 32 else pyarrow.int64()
    counts: list[int | None] = array.view(width).to_pylist()
    return counts


def _each(
    array: pyarrow.Array, read: Callable[[int], Any], refused: type[Exception]
) -> list[Any]:
    found = []
    for count in _counts(array):
        try:
            found.append(None if count is None else read(count))
        except refused as error:
            found.append(_unreadable(array.type, error))
    return found


def _moments(array: pyarrow.Array) -> list[Any]:
    ending = "Z" if array.type.tz else ""
    return _each(
        array, lambda count: _moment(count, array.type.unit) + ending, OverflowError
    )


def _moment(count: int, unit: str) -> str:
    seconds, fraction = divmod(count, UNITS[unit])
    return (EPOCH + timedelta(seconds=seconds)).isoformat() + _digits(fraction, unit)


def _digits(fraction: int, unit: str) -> str:
    """Return the fraction of a second: nothing, or as many groups of three digits as it needs."""
    digits = f"{fraction:0{len(str(UNITS[unit])) - 1}d}" if fraction else ""
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}" if digits else ""


def _times(array: pyarrow.Array) -> list[Any]:
    def read(count: int) -> str:
        seconds, fraction = divmod(count, UNITS[array.type.unit])
        if not 0 <= seconds < 86400:
            raise OverflowError("no time of a day")
        minutes, second = divmod(seconds, 60)
        clock = f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
        return clock + _digits(fraction, array.type.unit)

    return _each(array, read, OverflowError)


def _durations(array: pyarrow.Array) -> list[Any]:
    unit = UNITS[array.type.unit]

    def read(count: int) -> int | float:
        return count / unit if count % unit else count // unit

    return _each(array, read, OverflowError)


def _dates(array: pyarrow.Array) -> list[Any]:
    days = 1 if types.is_date32(array.type) else 86_400_000

    def read(count: int) -> str:
        return (date(1970, 1, 1) + timedelta(days=count // days)).isoformat()

    return _each(array, read, OverflowError)


def _code(array: pyarrow.DictionaryArray) -> list[Any]:
    return values_of(array.dictionary_decode())


def _runs(array: pyarrow.Array) -> list[Any]:
    return values_of(pyarrow.compute.run_end_decode(array))


def _extensions(array: pyarrow.ExtensionArray) -> list[Any]:
    cells = values_of(array.storage)
    if array.type.extension_name != "arrow.uuid":
        return cells
    return [
        str(uuid.UUID(bytes=cell)) if isinstance(cell, bytes) else cell
        for cell in cells
    ]


def _lists(array: pyarrow.Array) -> list[Any]:
    return [
        _whole(values_of(scalar.values)) if scalar.is_valid else None
        for scalar in array
    ]


def _whole(cells: list[Any]) -> list[Any] | Unreadable:
    return _unread(cells) or cells


def _unread(cells: Iterable[Any]) -> Unreadable | None:
    return next((cell for cell in cells if isinstance(cell, Unreadable)), None)


def _structs(array: pyarrow.StructArray) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [values_of(column) for column in array.flatten()]
    rows = zip(*columns, strict=True) if columns else ((),) * len(array)
    valid = array.is_valid().to_pylist()
    return [
        (_unread(cells) or dict(zip(names, cells, strict=True))) if there else None
        for cells, there in zip(rows, valid, strict=True)
    ]


def _maps(array: pyarrow.MapArray) -> list[Any]:
    found: list[Any] = []
    for scalar in array:
        if not scalar.is_valid:
            found.append(None)
            continue
        keys, cells = (values_of(column) for column in scalar.values.flatten())
        unread = _unread([*keys, *cells])
        pairs = zip(keys, cells, strict=True)
        found.append(unread or {str(key): cell for key, cell in pairs})
    return found


def _is_text(kind: pyarrow.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or is_text_view(kind)


def is_text_view(kind: pyarrow.DataType) -> bool:
    return bool(types.is_string_view(kind))


def _is_binary(kind: pyarrow.DataType) -> bool:
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def _is_list(kind: pyarrow.DataType) -> bool:
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _is_plain(kind: pyarrow.DataType) -> bool:
    return bool(types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind))


def _is_extension(kind: pyarrow.DataType) -> bool:
    return isinstance(kind, pyarrow.BaseExtensionType)


Read = Callable[[Any], list[Any]]
READERS: list[tuple[Callable[[pyarrow.DataType], bool], Read]] = [
    (_is_extension, _extensions),
    (_is_text, _plain),
    (_is_plain, _plain),
    (types.is_floating, _floats),
    (types.is_decimal, _decimals),
    (types.is_timestamp, _moments),
    (types.is_date, _dates),
    (types.is_time, _times),
    (types.is_duration, _durations),
    (_is_binary, _plain),
    (types.is_dictionary, _code),
    (types.is_run_end_encoded, _runs),
    (types.is_map, _maps),
    (_is_list, _lists),
    (types.is_struct, _structs),
]
