"""``schema.json``: the fields of ``phoenix.Schema``, filled with the columns of a table.

``Schema.from_json`` of arize-phoenix reads it. ``Inferences(table, schema)`` then takes the
table as it is, without ``from_open_inference``.
"""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from exports.formats.open_inference.names import ColumnName

FIELDS = (
    "prediction_id_column_name",
    "timestamp_column_name",
    "feature_column_names",
    "tag_column_names",
    "prediction_label_column_name",
    "prediction_score_column_name",
    "actual_label_column_name",
    "actual_score_column_name",
    "prompt_column_names",
    "response_column_names",
    "embedding_feature_column_names",
    "excluded_column_names",
)
VECTOR_PARTS = {
    "embedding": "vector_column_name",
    "raw_data": "raw_data_column_name",
    "link_to_data": "link_to_data_column_name",
}


def fields_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the fields of ``phoenix.Schema``; a field without a column is null."""
    fields: dict[str, Any] = dict.fromkeys(FIELDS)
    vectors: dict[str, dict[str, str | None]] = {}
    for column in schema.names:
        name = ColumnName.parse(column)
        match name.category, name.specifier:
            case "id", _:
                fields["prediction_id_column_name"] = column
            case "timestamp", _:
                fields["timestamp_column_name"] = column
            case (("prediction" | "actual"), ("label" | "score")):
                fields[f"{name.category}_{name.specifier}_column_name"] = column
            case "feature", ("embedding" | "raw_data" | "link_to_data"):
                empty = dict.fromkeys(VECTOR_PARTS.values())
                parts = vectors.setdefault(name.name, empty)
                parts[VECTOR_PARTS[name.specifier]] = column
            case "feature", _:
                fields["feature_column_names"] = fields["feature_column_names"] or []
                fields["feature_column_names"].append(column)
            case (
                ("prediction" | "actual"),
                _,
            ):  # lists, which Phoenix has no place for
                fields["excluded_column_names"] = fields["excluded_column_names"] or []
                fields["excluded_column_names"].append(column)
            case _:
                fields["tag_column_names"] = fields["tag_column_names"] or []
                fields["tag_column_names"].append(column)
    fields["embedding_feature_column_names"] = vectors or None
    return fields


def schema_json(schema: pa.Schema) -> bytes:
    """Return the bytes of ``schema.json``."""
    return orjson.dumps(fields_of(schema), option=orjson.OPT_INDENT_2) + b"\n"
