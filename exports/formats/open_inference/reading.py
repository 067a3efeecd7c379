"""Read rows from the tables into Arrow, in batches, without an object for each row.

PostgreSQL writes a batch as CSV, and Arrow parses it in C++. A Python loop over every value
would cost several times as much as the reading. Values are exact: numbers come from their
slots, text from the payload as it was given.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from django.db import connection
from pyarrow import csv

from inferences.models import (
    Embedding,
    Inference,
    InferencePayload,
    RecentEmbedding,
    RegisteredModel,
)
from inferences.models.ground_truth import GroundTruth
from inferences.models.row_ids import LOW_BITS, ORIGIN
from istore.db.other_servers import REPLICA
from istore.db.replica import read_up_to_date

# Arrow's own pool keeps what is freed: an export of 200,000 rows took 326 MB with it, and takes 277.
pa.set_memory_pool(pa.system_memory_pool())

ORIGIN_MICROSECONDS = int(ORIGIN.timestamp()) * 1_000_000
MOMENT = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class Source:
    """A column of the batch: its name, the SQL that computes it, and its type."""

    name: str
    sql: str
    type: pa.DataType
    values: tuple[Any, ...] = ()


def read(
    model: RegisteredModel, row_ids: Sequence[int], sources: Sequence[Source]
) -> pa.Table:
    """Return the live rows of these ids, oldest first, with these columns after ``id``.

    Rows that were removed meanwhile are missing.
    """
    wanted = [Source("id", "row.id", pa.int64()), *sources]
    values = [value for source in wanted for value in source.values]
    columns = ", ".join(source.sql for source in wanted)
    ids = "{" + ",".join(map(str, row_ids)) + "}"
    bounds = (min(row_ids), max(row_ids)) if row_ids else (0, 0)
    written = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.execute(WITHIN, [model.pk, *bounds, DENSE * len(row_ids)])
        (within,) = cursor.fetchone()
        # An expression that no index has: all rows of the range are read in their order, and
        # their ids looked up in a hash table. That takes half the time of one search an id.
        wanted_id = "row.id" if within == DENSE * len(row_ids) else "row.id + 0"
        statement = STATEMENT.format(columns=columns, id=wanted_id)
        given = [*values, model.pk, *bounds, *bounds, ids]
        with cursor.copy(statement, given) as copy:
            written.writelines(copy)
    if not written.tell():
        return pa.schema([(each.name, each.type) for each in wanted]).empty_table()
    return csv.read_csv(
        pa.py_buffer(written.getbuffer()),
        csv.ReadOptions(
            use_threads=False,
            column_names=[source.name for source in wanted],
            block_size=max(written.tell() + 1, 1 << 16),
        ),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types={source.name: source.type for source in wanted},
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


COLUMNS_OF_LIVE = f"""
    SELECT {{columns}}
    FROM {Inference._meta.db_table} AS row
    JOIN {InferencePayload._meta.db_table} AS cold
      ON cold.model_key = row.model_key AND cold.id = row.id
    WHERE row.model_key = %s AND NOT row.deleted
"""


class Reader:
    """A thread that reads batches over a connection of its own, one after the other.

    While one batch is processed, the database works on the next. The connection stays: a new one
    would plan its first statement with empty caches.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "read")

    def start(
        self, model: RegisteredModel, row_ids: Sequence[int], sources: Sequence[Source]
    ) -> Future[pa.Table]:
        """Start reading these rows as ``read`` does."""
        reading = partial(read, model, row_ids, sources)
        return self._thread.submit(read_up_to_date, reading)

    def close(self) -> None:
        """Wait for what is read, and close the connection."""
        # A function, because ``connection.close`` here is that of the caller's thread.
        self._thread.submit(_close)
        self._thread.shutdown()


def _close() -> None:
    connection.close()
    REPLICA.close()


DENSE = (
    2  # rows between the first and the last for each that is read, up to which all are
)
WITHIN = f"""
SELECT count(*) FROM (
    SELECT FROM {Inference._meta.db_table}
    WHERE model_key = %s AND id BETWEEN %s AND %s LIMIT %s
) AS within
"""
# The BETWEEN bounds let the planner prune partitions; the ids choose the rows.
STATEMENT = f"""
COPY (
    {COLUMNS_OF_LIVE}
      AND row.id BETWEEN %s AND %s AND cold.id BETWEEN %s AND %s
      AND {{id}} = ANY(%s::bigint[])
    ORDER BY row.id
) TO STDOUT (FORMAT csv)
"""
# pgvector's wire form: two counts, then four bytes a number, as hexadecimal digits.
VECTOR = (
    "(SELECT encode(vector_send(vector), 'hex') FROM ("
    + " UNION ALL ".join(
        f"SELECT vector FROM {table._meta.db_table} AS each"
        " WHERE each.model_key = row.model_key AND each.id = row.id"
        for table in (RecentEmbedding, Embedding)
    )
    + ") AS found LIMIT 1)"
)
TRUTH = (
    f"(SELECT truth FROM {GroundTruth._meta.db_table} AS each"
    " WHERE each.model_key = row.model_key AND each.id = row.id)"
)
VECTOR_HEAD = 8  # hexadecimal digits of the two counts
REAL_MOST = float(np.finfo(np.float32).max)
# A vector of one number is refused by the reader of OpenInference.
VECTOR_SIZES = range(2, 16_001)


def moments(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the times of the inferences with these row ids, in UTC."""
    microseconds = pc.add(pc.shift_right(ids, LOW_BITS), ORIGIN_MICROSECONDS)
    return microseconds.cast(MOMENT)


def vectors(written: pa.ChunkedArray, size: int) -> tuple[pa.Array, int]:
    """Return vectors of one length, parsed from pgvector's wire form, and how many differ.

    A missing vector, or one of another length, is null.
    """
    digits = written.combine_chunks()
    fits = pc.equal(pc.binary_length(digits), VECTOR_HEAD + 8 * size)
    fits = pc.fill_null(fits, False)
    kept = digits.filter(fits)
    raw = bytes.fromhex("".join(each[VECTOR_HEAD:] for each in kept.to_pylist()))
    numbers = np.frombuffer(raw, ">f4").astype(np.float32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(numbers), size)
    places = np.cumsum(fits.to_numpy(zero_copy_only=False)) - 1
    found = rows.take(pa.array(places, mask=~fits.to_numpy(zero_copy_only=False)))
    others = len(digits) - digits.null_count - len(kept)
    return found, others


def written_vector(vector: Sequence[float]) -> str:
    """Return a vector in pgvector's wire form, as hexadecimal digits."""
    numbers = np.asarray(vector, np.float64).clip(-REAL_MOST, REAL_MOST).astype(">f4")
    return f"{len(vector):04x}0000{numbers.tobytes().hex()}"


def lists(written: pa.ChunkedArray, type_: pa.DataType) -> pa.ListArray:
    """Return lists parsed from PostgreSQL's text form of number arrays, ``{1,NULL,3}``."""
    texts = written.combine_chunks()
    inner = pc.utf8_slice_codeunits(texts, 1, -1)
    parts = pc.split_pattern(inner, ",")
    counts = pc.fill_null(pc.list_value_length(parts), 0).to_numpy()
    counts = np.where(pc.fill_null(pc.equal(inner, ""), False), 0, counts)
    flat = pc.list_flatten(parts)
    flat = flat.filter(pc.not_equal(flat, ""))  # from empty arrays
    is_null = pc.equal(flat, "NULL")
    numbers = pc.if_else(is_null, pa.scalar(None, pa.string()), flat).cast(type_)
    return with_offsets(numbers, counts, texts.is_null())


def with_offsets(
    flat: pa.Array, counts: np.ndarray, is_null: pa.BooleanArray | None = None
) -> pa.ListArray:
    """Return a list array whose rows have ``counts`` values each."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=is_null)


def named(numbers: pa.Array, names: dict[int, str]) -> pa.Array:
    """Return the words of these numbers; null for a number without a word."""
    keys = pa.array(list(names), numbers.type)
    places = pc.index_in(numbers, value_set=keys)
    return pa.array(list(names.values()), pa.string()).take(places)
