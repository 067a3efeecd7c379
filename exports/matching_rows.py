"""Which rows of an exported table are of erased records, or have an erased value.

The columns of a table are told by their OpenInference names (``layout``), whatever the table itself
calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exports.formats.open_inference.layout import STANDARD, key_of
from inferences.erasure.matching_records import Carried
from inferences.models.metadata_values import in_slot

# Returns which rows of a batch are meant: a boolean for each, never null.
Matching = Callable[[pa.RecordBatch], pa.Array]


def columns_with(names: Mapping[str, str], carried: Carried) -> list[str]:
    """Return the columns that may have the value; ``names`` has the OpenInference name of each."""
    if carried.is_source:
        return [
            column for column, name in names.items() if name == str(STANDARD["source"])
        ]
    key = carried.path[0]
    return [column for column, name in names.items() if key_of(name) == key]


def have_value(columns: Collection[str], carried: Carried) -> Matching:
    """Return what tells which rows have the value in one of these columns."""
    matches = _matcher(carried)

    def matching(batch: pa.RecordBatch) -> pa.Array:
        mask = pa.repeat(False, batch.num_rows)
        for name in columns:
            if name not in batch.schema.names:
                continue  # the file is older than the column
            column = batch[name]
            found = [v for v in pc.unique(column).to_pylist() if v is not None]
            met = pa.array([v for v in found if matches(v)], column.type)
            mask = pc.or_(mask, pc.is_in(column, value_set=met))
        return mask

    return matching


def are_among(
    records: Collection[tuple[str, datetime]], id_column: str, time_column: str
) -> Matching:
    """Return what tells which rows are of these records, each given by its id and moment."""
    names = pa.array(sorted({name for name, _ in records}), pa.string())

    def matching(batch: pa.RecordBatch) -> pa.Array:
        ids, moments = batch[id_column], batch[time_column]
        named = pc.is_in(ids, value_set=names).to_pylist()
        return pa.array(
            (
                each and (ids[n].as_py(), moments[n].as_py()) in records
                for n, each in enumerate(named)
            ),
            pa.bool_(),
        )

    return matching


def _matcher(carried: Carried) -> Callable[[Any], bool]:
    """Return whether a value of a column is the one to erase.

    A column of texts does not tell which type its values had, as a key may have had several. So a
    text is taken for the type of the erased value whenever it can be read as one.
    """
    if carried.is_source:
        alike = {carried.value, in_slot(carried.value)}
        return lambda value: value in alike
    plain = carried.type.partition(".")[0]
    if plain == "string" or plain == "json":
        return lambda value: isinstance(value, str) and carried.is_in([plain, value])
    operand = carried.operand

    def is_number(value: Any) -> bool:
        if isinstance(value, str):
            return carried.is_in([plain, value])
        return bool(value == operand)

    return is_number
