"""Columns beside the answer: named inputs, SHAP values and further embeddings.

They are members of the collection with which a record was created. One query finds the names in
the model's records, before the first row of a table is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
from django.db import connection

from exports.formats.open_inference.names import ColumnName
from exports.formats.open_inference.reading import VECTOR_SIZES
from inferences.models import InferencePayload, RegisteredModel

TEXT, REAL, FLAG = pa.string(), pa.float64(), pa.bool_()
KINDS = ("inputs", "shap_values", "embeddings")
NAMES_MAX = 2000


@dataclass(frozen=True, slots=True)
class Beside:
    """An extra column: its kind, its name, and its Arrow type."""

    kind: str
    name: str
    type: pa.DataType

    def column_name(self, plain: str) -> ColumnName:
        if self.kind == "embeddings":
            return ColumnName("feature", "[float]", "embedding", plain)
        word = {TEXT: "str", REAL: "float", FLAG: "bool"}[self.type]
        return ColumnName(
            "tag" if self.kind == "shap_values" else "feature", word, "", plain
        )

    @property
    def plain_name(self) -> str:
        return f"shap.{self.name}" if self.kind == "shap_values" else self.name

    def value(self, collection: dict[str, Any]) -> Any:
        """Return the value in a record's collection, or None if there is none of this type."""
        part = collection.get(self.kind)
        value = part.get(self.name) if isinstance(part, dict) else None
        if value is None:
            return None
        if self.kind == "embeddings":
            fits = isinstance(value, list) and len(value) == self.type.list_size
            return value if fits and all(map(_is_number, value)) else None
        if self.type == REAL:
            return float(value) if _is_number(value) else None
        if self.type == FLAG:
            return value if isinstance(value, bool) else None
        return value if isinstance(value, str) else orjson.dumps(value).decode()


def find(model: RegisteredModel) -> list[Beside]:
    """Return the extra columns that a model's records have, named inputs first."""
    types: dict[tuple[str, str], set[str]] = {}
    sizes: dict[str, dict[int, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(NAMES, {"model": model.pk, "most": NAMES_MAX})
        for kind, name, type_, size, count in cursor:
            types.setdefault((kind, name), set()).add(type_)
            if kind == "embeddings" and size in VECTOR_SIZES:
                by_size = sizes.setdefault(name, {})
                by_size[size] = by_size.get(size, 0) + count
    named = sorted(types, key=lambda each: (KINDS.index(each[0]), each[1]))
    return [
        Beside(kind, name, type_)
        for kind, name in named
        if (type_ := _type(kind, types[kind, name], sizes.get(name))) is not None
    ]


def _type(
    kind: str, types: set[str], sizes: dict[int, int] | None
) -> pa.DataType | None:
    if kind == "embeddings":
        # A column has vectors of one length: the most frequent one.
        usual = max(sizes, key=lambda size: sizes[size]) if sizes else None
        return pa.list_(pa.float32(), usual) if usual else None
    if types <= {"number"} or kind == "shap_values":
        return REAL
    return FLAG if types == {"boolean"} else TEXT


def columns(
    beside: Sequence[Beside], answers: Sequence[str | None]
) -> Iterator[tuple[Beside, pa.Array]]:
    """Yield an array for each extra column, over the records with these answers."""
    collections = [_collection(text) for text in answers]
    for each in beside:
        yield each, pa.array([each.value(one) for one in collections], each.type)


def _collection(text: str | None) -> dict[str, Any]:
    if not text or not any(kind in text for kind in KINDS):
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


NAMES = f"""
WITH collected AS (
    SELECT data::jsonb AS parts FROM {InferencePayload._meta.db_table}
    WHERE model_key = %(model)s
      AND CASE WHEN data LIKE '{{%%' AND
               (data LIKE '%%"inputs"%%' OR data LIKE '%%"shap_values"%%'
                OR data LIKE '%%"embeddings"%%')
          THEN pg_input_is_valid(data, 'jsonb') ELSE false END
)
SELECT kind, name, jsonb_typeof(value),
       CASE WHEN kind = 'embeddings' AND jsonb_typeof(value) = 'array'
            THEN jsonb_array_length(value) END AS size,
       count(*)
FROM collected, unnest(ARRAY['inputs', 'shap_values', 'embeddings']) AS kind,
     jsonb_each(CASE WHEN jsonb_typeof(parts -> kind) = 'object' THEN parts -> kind END)
         AS member (name, value)
WHERE value <> 'null'
GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC LIMIT %(most)s
"""
