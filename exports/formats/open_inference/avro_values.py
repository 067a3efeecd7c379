"""Arrow columns as Avro's bytes, a whole column at a time, without an object for each value.

Every field of a row is a union of null and one type: a byte for the branch, then the value.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exports.formats.open_inference.reading import with_offsets

PRESENT = 2  # the number of the second branch, as Avro writes it
BYTES = pa.binary()
NOTHING = pa.scalar(b"", BYTES)
Cells = tuple[np.ndarray, np.ndarray]  # rows of bytes, and how many of each row count


def avro_rows(batch: pa.RecordBatch) -> pa.BinaryArray:
    """Return the bytes of each row as a record of all its columns."""
    return _joined([part for column in batch.columns for part in avro_values(column)])


def avro_values(column: pa.Array) -> list[pa.BinaryArray]:
    """Return arrays of bytes; those of a value are the ones of all arrays, one after the other."""
    type_ = column.type
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        return _lists(column)
    if pa.types.is_string(type_):
        texts = column.fill_null("").cast(BYTES)
        return [_union(column, varints(pc.binary_length(texts).to_numpy())), texts]
    if pa.types.is_floating(type_):
        numbers = column.fill_null(0.0).to_numpy()
        return [_union(column, _fixed(numbers.astype(numbers.dtype.newbyteorder("<"))))]
    if pa.types.is_boolean(type_):
        flags = column.fill_null(False).to_numpy(zero_copy_only=False)
        return [_union(column, _fixed(flags.astype(np.uint8)))]
    return [_union(column, varints(column.cast(pa.int64()).fill_null(0).to_numpy()))]


def varints(numbers: np.ndarray) -> Cells:
    """Return Avro's bytes of whole numbers: zigzag, then seven bits a byte, the low ones first."""
    signed = numbers.astype(np.int64)
    zigzag = ((signed << 1) ^ (signed >> 63)).view(np.uint64)
    longest = max(1, -(-int(zigzag.max(initial=0)).bit_length() // 7))
    shifted = zigzag[:, None] >> (
        np.arange(longest + 1, dtype=np.uint64) * np.uint64(7)
    )
    goes_on = shifted[:, 1:] > 0
    cells = (shifted[:, :-1] & np.uint64(0x7F)).astype(np.uint8) | (
        goes_on * np.uint8(0x80)
    )
    return cells, 1 + goes_on.sum(1)


def _lists(column: pa.ListArray | pa.FixedSizeListArray) -> list[pa.BinaryArray]:
    """Return lists as one block of items; a block without items ends a list."""
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    items = _joined(avro_values(pc.list_flatten(column)))
    end = pc.if_else(pa.array(counts > 0), pa.scalar(b"\0", BYTES), NOTHING)
    blocks = pc.binary_join(with_offsets(items, counts), NOTHING)
    return [_union(column, varints(counts)), blocks, end]


def _fixed(numbers: np.ndarray) -> Cells:
    cells = numbers.view(np.uint8).reshape(len(numbers), numbers.itemsize)
    return cells, np.full(len(numbers), numbers.itemsize)


def _union(column: pa.Array, cells: Cells) -> pa.BinaryArray:
    """Return the branch of each value, and the bytes of those that are there."""
    there = column.is_valid().to_numpy(zero_copy_only=False)
    values, widths = cells
    branches = there.astype(np.uint8)[:, None] * np.uint8(PRESENT)
    rows = np.concatenate([branches, values], 1)
    widths = 1 + widths * there
    kept = rows[np.arange(rows.shape[1]) < widths[:, None]]
    offsets = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(kept)]
    return pa.Array.from_buffers(BYTES, len(rows), buffers)


def _joined(parts: list[pa.BinaryArray]) -> pa.BinaryArray:
    return pc.binary_join_element_wise(*parts, NOTHING)
