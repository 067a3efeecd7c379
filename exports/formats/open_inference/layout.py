"""The columns of a model's table, which are known before the first row is written.

Metadata keys come from the counts of the key directory, so the schema of a file is fixed and
its rows can be streamed. A key is one column, whatever types its values have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa
from django.db.models import Sum

from exports.formats.open_inference import extra_columns, predictions
from exports.formats.open_inference.extra_columns import Beside
from exports.formats.open_inference.names import RESERVED, ColumnName, check
from exports.formats.open_inference.predictions import Place
from exports.formats.open_inference.reading import MOMENT
from inferences.models import MetadataKeyCount, MetadataType, RegisteredModel
from inferences.models.ground_truth import GroundTruth
from inferences.predictions.model_types import type_of
from inferences.predictions.model_types.base import Takes

TEXT, REAL, WHOLE, FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
# Metadata that says where a record belongs; it keeps its name.
STANDING = ("model_version", "environment", "conversation_id")
META = "meta."  # before the name of any other key
WORDS = {TEXT: "str", REAL: "float", WHOLE: "int", FLAG: "bool"}


class Shape(StrEnum):
    """The shape of a table: one row for each inference, or for each item of its answer."""

    FLAT = "flat"
    EXPLODED = "exploded"


@dataclass(frozen=True, slots=True)
class Key:
    """A metadata key and the types with which its values were given."""

    name: str
    types: frozenset[str]

    @property
    def type(self) -> pa.DataType:
        """The Arrow type of its column. Integers mixed with floats become float64."""
        if self.types == {MetadataType.INT}:
            return WHOLE
        if self.types <= {MetadataType.INT, MetadataType.FLOAT}:
            return REAL
        return TEXT

    @property
    def column(self) -> ColumnName:
        plain = self.name if self.name in STANDING else f"{META}{self.name}"
        return tag(plain, self.type)


def tag(plain: str, type_: pa.DataType, word: str = "") -> ColumnName:
    """Return the column name of a tag; ``word`` replaces the type's usual word."""
    return ColumnName("tag", word or WORDS[type_], "", plain)


def key_of(column: str) -> str | None:
    """Return the metadata key whose values a column of this name holds, or None."""
    try:
        found = ColumnName.parse(column)
    except ValueError:  # a name of somebody else
        return None
    if found.category != "tag":
        return None
    if found.name.startswith(META):
        return found.name.removeprefix(META)
    return found.name if found.name in STANDING else None


IDENTITY = ColumnName("id", "id")
TIMESTAMP = ColumnName("timestamp", "iso_8601")
INFERENCE_ID, ITEM_NUMBER = tag("inference_id", TEXT), tag("item", WHOLE)
VECTOR = ColumnName("feature", "[float]", "embedding", "embedding")
LINK = ColumnName("feature", "url", "link_to_data", VECTOR.name)
# A table without any feature would have Phoenix take all that is left for features.
INPUT_LINK = ColumnName("feature", "url", "", "input")
SPLIT = tag("split", TEXT)
PROMPT = ColumnName("feature", "text", "", "prompt_text")
STANDARD = {
    "model_id": tag("model_id", TEXT),
    "action": tag("action", TEXT),
    "source": tag("source", TEXT),
    "latitude": tag("latitude", REAL),
    "longitude": tag("longitude", REAL),
    "data_hash": tag("data_hash", TEXT),
    "data_size": tag("data_size", WHOLE),
    "is_protected": tag("is_protected", FLAG),
}
STANDARD_TYPES = {
    "latitude": REAL,
    "longitude": REAL,
    "data_size": WHOLE,
    "is_protected": FLAG,
}


@dataclass(frozen=True)
class Layout:
    """The columns and the Arrow schema of all tables of one export."""

    model: RegisteredModel
    shape: Shape
    keys: tuple[Key, ...] = ()
    beside: tuple[Beside, ...] = ()
    has_truth: bool = False
    has_splits: bool = False
    beside_names: tuple[ColumnName, ...] = field(init=False)
    schema: pa.Schema = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "beside_names", tuple(self._named_beside()))
        columns = [(str(name), type_) for name, type_ in self._columns()]
        check(name for name, _ in columns)
        object.__setattr__(self, "schema", pa.schema(columns))

    @classmethod
    def of(cls, model: RegisteredModel, shape: Shape) -> Layout:
        """Return the layout of what the model's records have now."""
        truth = GroundTruth.objects.beside(model).exists()
        named = tuple(extra_columns.find(model))
        return cls(model, shape, keys_of(model), named, truth)

    @property
    def is_exploded(self) -> bool:
        return self.shape is Shape.EXPLODED

    @property
    def has_items(self) -> bool:
        """Whether answers of this task type consist of items, such as detections."""
        return predictions.item_name(self.model.task_type) is not None

    @property
    def has_vector(self) -> bool:
        return self.model.embedding_size >= 2

    @property
    def has_prompt(self) -> bool:
        return type_of(self.model.task_type).takes is Takes.TEXT

    @property
    def prediction(self) -> tuple[Place, ...]:
        return predictions.places(self.model.task_type, exploded=self.is_exploded)

    @property
    def actual(self) -> tuple[Place, ...]:
        return predictions.actual_places(self.model.task_type) if self.has_truth else ()

    def _columns(self) -> Iterator[tuple[ColumnName, pa.DataType]]:
        yield IDENTITY, TEXT
        yield TIMESTAMP, MOMENT
        if self.is_exploded:
            yield INFERENCE_ID, TEXT
            yield ITEM_NUMBER, WHOLE
        for place in (*self.prediction, *self.actual):
            yield place.name, place.type
        yield from self._inputs()
        for name, column in STANDARD.items():
            yield column, STANDARD_TYPES.get(name, TEXT)
        if self.has_splits:
            yield SPLIT, TEXT
        for key in self.keys:
            yield key.column, key.type

    def _inputs(self) -> Iterator[tuple[ColumnName, pa.DataType]]:
        if self.has_prompt:
            yield PROMPT, TEXT
        if self.has_vector:
            yield VECTOR, pa.list_(pa.float32(), self.model.embedding_size)
        yield LINK if self.has_vector else INPUT_LINK, TEXT
        for each, name in zip(self.beside, self.beside_names, strict=True):
            yield name, each.type

    def _named_beside(self) -> Iterator[ColumnName]:
        """Yield the column names of the extra columns.

        Callers chose these names, so a name that is taken gets a number.
        """
        taken = {
            *RESERVED,
            *STANDING,
            *(column.name for column in STANDARD.values()),
            *(place.name.name for place in (*self.prediction, *self.actual)),
            *(key.column.name for key in self.keys),
            *(
                each.name
                for each in (INFERENCE_ID, ITEM_NUMBER, INPUT_LINK, PROMPT, SPLIT)
            ),
            VECTOR.name,
            "",
        }
        for each in self.beside:
            plain, number = each.plain_name, 1
            while plain in taken:
                number += 1
                plain = f"{each.plain_name}~{number}"
            taken.add(plain)
            yield each.column_name(plain)


def keys_of(model: RegisteredModel) -> tuple[Key, ...]:
    """Return all metadata keys that the model's inferences have, by name."""
    counts = MetadataKeyCount.objects.filter(registered_model=model)
    there = counts.values("key", "type").annotate(n=Sum("delta")).filter(n__gt=0)
    types: dict[str, set[str]] = {}
    for key, type_ in there.values_list("key", "type"):
        types.setdefault(key, set()).add(type_)
    return tuple(Key(name, frozenset(types[name])) for name in sorted(types))
