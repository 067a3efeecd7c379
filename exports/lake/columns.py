"""Names and types of a table's columns, and how its schema grows.

Every column keeps in its ``doc`` the OpenInference column that it is made from, type included. A
column never changes its name or its type: when the values of a metadata key get another type, the
values from then on are in a second column, such as ``meta_gain_float`` beside ``meta_gain``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DoubleType,
    FloatType,
    IcebergType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from exports.formats.open_inference.layout import key_of
from exports.formats.open_inference.names import ColumnName
from exports.lake.models import free

NAME_CHARS = 120
NOT_PLAIN = re.compile(r"[^A-Za-z0-9_]+")
PRIMITIVES: dict[pa.DataType, IcebergType] = {
    pa.string(): StringType(),
    pa.float64(): DoubleType(),
    pa.float32(): FloatType(),
    pa.int64(): LongType(),
    pa.bool_(): BooleanType(),
    pa.timestamp("us", "UTC"): TimestamptzType(),
}
WORDS: dict[type[IcebergType], str] = {
    StringType: "text",
    DoubleType: "float",
    FloatType: "float",
    LongType: "int",
    BooleanType: "bool",
    ListType: "list",
}


@dataclass(frozen=True, slots=True)
class NewColumn:
    """A column that a table lacks."""

    name: str
    type: IcebergType
    doc: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the columns of a layout go: their names in the table, and those it lacks."""

    names: dict[str, str]
    new: list[NewColumn]


def plan(layout: pa.Schema, present: Schema | None) -> Plan:
    """Return how a table of the present schema takes rows of the layout."""
    fields = present.fields if present else ()
    known = {field.doc: field for field in fields if field.doc}
    # Engines differ in whether they tell capitals apart.
    taken = {field.name.lower() for field in fields}
    sources = {_source(field.doc) for field in fields if field.doc}
    found, new = dict[str, str](), list[NewColumn]()
    for column in layout:
        if held := known.get(column.name):
            found[column.name] = held.name
            continue
        type_ = iceberg_type(column.type)
        name = plain_name(ColumnName.parse(column.name))
        if name.lower() in taken and _source(column.name) in sources:
            name = f"{name}_{WORDS[type(type_)]}"
        name = _free(name, taken)
        taken.add(name.lower())
        found[column.name] = name
        new.append(NewColumn(name, type_, column.name))
    return Plan(found, new)


def plain_name(column: ColumnName) -> str:
    """Return the name that a column has when nothing else has it."""
    if column.category in ("id", "timestamp"):
        return column.category
    if column.specifier == "link_to_data":
        return "input"
    found = NOT_PLAIN.sub("_", column.name).strip("_")[:NAME_CHARS]
    return found if found and not found[0].isdigit() else f"c_{found}"


def _free(name: str, taken: set[str]) -> str:
    lowered = name.lower()
    return name + free(lowered, taken).removeprefix(lowered)


def _source(doc: str) -> tuple[str, str]:
    column = ColumnName.parse(doc)
    return column.category, column.name


def iceberg_type(type_: pa.DataType) -> IcebergType:
    """Return the type of a column in Iceberg; ids of list elements are given by the table."""
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        element = iceberg_type(type_.value_type)
        return ListType(element_id=0, element=element, element_required=False)
    return PRIMITIVES[type_]


def schema_of(new: Iterable[NewColumn]) -> Schema:
    """Return the schema of a new table; the catalogue gives the fields their own ids."""
    fields = []
    number = 0
    for column in new:
        number += 1
        type_ = column.type
        own = number
        if isinstance(type_, ListType):
            number += 1
            type_ = ListType(number, type_.element_type, element_required=False)
        fields.append(NestedField(own, column.name, type_, False, column.doc))
    return Schema(*fields)


def fields_of_key(schema: Schema, key: str) -> list[NestedField]:
    """Return the columns that hold values of a metadata key, one for each type it has had."""
    return [f for f in schema.fields if f.doc and key_of(f.doc) == key]
