"""A program that reads a Parquet file from anyone within limits, and prints its size.

It is started as ``python -I parquet_check.py '{"memory": …, "seconds": …, …}' < file``.
Some damaged files end the process that reads them (the library throws through calls that
cannot raise), others unpack to more than the memory holds. A failure in here ends this
process and no other. A file that was read to its end here can be read again elsewhere.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import resource
import sys
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet
from pyarrow import types

COLUMN = "metadata."


def main() -> None:
    """Print the size of the Parquet file on standard input, or an error, as JSON."""
    limits = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["seconds"], limits["seconds"] + 1))
    memory = limits["memory"] + os.fstat(0).st_size
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    pyarrow.set_cpu_count(1)
    try:
        # Mapped instead of read: the file position is shared with the parent process.
        with mmap.mmap(0, 0, access=mmap.ACCESS_READ) as content:
            answer: dict[str, Any] = measure(pyarrow.py_buffer(content), limits)
            print(json.dumps(answer), flush=True)
            os._exit(0)  # without cleanup: Arrow still holds the map
    except (MemoryError, pyarrow.ArrowMemoryError):
        answer = {"is_too_large": True}
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        answer = {"error": str(error)[:200]}
    print(json.dumps(answer), flush=True)
    os._exit(0)


def measure(content: pyarrow.Buffer, limits: dict[str, Any]) -> dict[str, Any]:
    """Return the number of rows, of leaf values, and of bytes of what is read.

    They are taken from the file's metadata first. Unless these exceed the limits already,
    the file is read and counted, until a limit is exceeded.
    """
    with pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content)) as first:
        schema, metadata = first.schema_arrow, first.metadata
        groups = [
            metadata.row_group(number) for number in range(metadata.num_row_groups)
        ]
        columns = [
            group.column(number)
            for group in groups
            for number in range(group.num_columns)
        ]
    values = sum(each.num_values for each in columns)
    unpacked = sum(each.total_uncompressed_size for each in columns)
    rows = metadata.num_rows
    if is_beyond(limits, rows, values, unpacked):
        return {"rows": rows, "values": values, "bytes": unpacked}
    rows = values = found = 0
    texts = [each.name for each in schema if is_text(each.type)]
    with pyarrow.parquet.ParquetFile(
        pyarrow.BufferReader(content), read_dictionary=texts
    ) as table:
        for batch in table.iter_batches(limits["rows_at_once"], use_threads=False):
            rows += batch.num_rows
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                values += leaves(column)
                # The reader ignores columns with other names, so their bytes do not count.
                if (bound := limits["longest"].get(longest_name(name))) is not None:
                    found += weight(column, bound)
            if is_beyond(limits, rows, values, found):
                break
    return {"rows": rows, "values": values, "bytes": found}


def is_beyond(limits: dict[str, Any], rows: int, values: int, size: int) -> bool:
    """Return whether one of the three limits is exceeded."""
    return bool(
        rows > limits["rows"] or values > limits["values"] or size > limits["bytes"]
    )


def name_of(column: str) -> str:
    """Return the canonical name of a column: spreadsheets write it with capitals and blanks."""
    column = column.strip()
    if column[: len(COLUMN)].lower() == COLUMN:
        return COLUMN + column[len(COLUMN) :]
    return re.sub(r"[\s-]+", "_", column.lower())


def longest_name(column: str) -> str:
    """Return the name under which the limit of a column's texts is given: one for all metadata."""
    name = name_of(column)
    return COLUMN if name.startswith(COLUMN) else name


def is_text(kind: pyarrow.DataType) -> bool:
    is_large = types.is_large_string(kind) or types.is_large_binary(kind)
    return bool(types.is_string(kind) or types.is_binary(kind) or is_large)


def is_view(kind: pyarrow.DataType) -> bool:
    return bool(types.is_string_view(kind) or types.is_binary_view(kind))


def lengths(column: pyarrow.Array) -> pyarrow.Array | None:
    """Return the byte length of every text of a column; None for a column of another type.

    The texts themselves are not created.
    """
    if types.is_dictionary(column.type):
        coded = lengths(column.dictionary)
        return None if coded is None else coded.take(column.indices)
    if is_view(column.type):
        column = column.cast(pyarrow.large_binary())
    return pyarrow.compute.binary_length(column) if is_text(column.type) else None


def weight(column: pyarrow.Array, bound: int | None = None) -> int:
    """Return the bytes of the column when every cell stands for itself.

    A text longer than the bound counts as empty: the reader refuses it without looking at
    it.
    """
    found = lengths(column)
    if found is not None:
        if bound is not None:
            found = found.filter(pyarrow.compute.less_equal(found, bound))
        return pyarrow.compute.sum(found.cast(pyarrow.int64())).as_py() or 0
    if types.is_dictionary(column.type):
        coded = column.dictionary
        return int(len(column) * (coded.nbytes // max(len(coded), 1)))
    members = members_of(column)
    return sum(map(weight, members)) if members else column.nbytes


def leaves(column: pyarrow.Array) -> int:
    """Return how many values a column holds, with each element of its lists and structs."""
    members = members_of(column)
    return max(len(column), sum(map(leaves, members)))


def members_of(column: pyarrow.Array) -> list[pyarrow.Array]:
    """Return the columns that a nested column consists of; none for a column of plain values."""
    kind = column.type
    if isinstance(kind, pyarrow.BaseExtensionType):
        return [column.storage]
    if types.is_struct(kind):
        return list(column.flatten())
    if types.is_map(kind):
        return [column.keys, column.items]
    is_list = types.is_list(kind) or types.is_large_list(kind)
    if is_list or types.is_fixed_size_list(kind):
        return [column.flatten()]
    return []


if __name__ == "__main__":
    main()
