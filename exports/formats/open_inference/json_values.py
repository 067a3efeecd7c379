"""Arrow columns as JSON text, a whole column at a time, without a Python object for each value.

The text of a value is what orjson writes of it, but for the exponents of very large and very
small numbers (``1e+20`` and ``1e20``), which readers take alike.
"""

from __future__ import annotations

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from exports.formats.open_inference.reading import with_offsets

CONTROL = r"[\x00-\x1f]"
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
WHOLE = "^(-?[0-9]+)$"
NULL = "null"


def json_values(column: pa.Array) -> pa.StringArray:
    """Return the JSON text of each value of a column; ``null`` stands for a null."""
    type_ = column.type
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        return pc.fill_null(json_lists(column), NULL)
    if pa.types.is_timestamp(type_):
        written = pc.strftime(column, MOMENT)
        return _quoted(pc.replace_substring(written, ".000000Z", "Z"))
    if pa.types.is_string(type_):
        return _texts(column)
    if pa.types.is_floating(type_):
        return _numbers(column.cast(pa.float64()))
    return pc.fill_null(column.cast(pa.string()), NULL)


def json_lists(column: pa.ListArray | pa.FixedSizeListArray) -> pa.StringArray:
    """Return the JSON text of each list; null stays null."""
    values = json_values(pc.list_flatten(column))
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    texts = pc.binary_join(with_offsets(values, counts, column.is_null()), ",")
    return pc.binary_join_element_wise("[", texts, "]", "")


def _numbers(column: pa.DoubleArray) -> pa.StringArray:
    finite = pc.is_finite(column)
    texts = pc.if_else(finite, column, pa.scalar(None, pa.float64())).cast(pa.string())
    if pc.any(pc.equal(pc.floor(column), column), min_count=0).as_py():
        # Arrow writes 1 for 1.0, which readers would take for an integer.
        texts = pc.replace_substring_regex(texts, WHOLE, r"\1.0")
    return pc.fill_null(texts, NULL)


def _texts(column: pa.StringArray) -> pa.StringArray:
    if pc.any(pc.match_substring_regex(column, CONTROL), min_count=0).as_py():
        written = [orjson.dumps(text).decode() for text in column.to_pylist()]
        return pa.array(written, pa.string())
    for sign in ("\\", '"'):
        column = pc.replace_substring(column, sign, f"\\{sign}")
    return _quoted(column)


def _quoted(texts: pa.StringArray) -> pa.StringArray:
    return pc.fill_null(pc.binary_join_element_wise('"', texts, '"', ""), NULL)
