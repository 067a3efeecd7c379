"""What the store has to know of a model type, and what types of one family have in common.

A subclass of ``ModelType`` is all that the store has about one task type. Other rooms ask the
type: parsers for its reader, the store for what to derive, exports for columns and items,
pages for a title and a summary, quality and ground truth for the forms. Methods that get a
``content`` are called with values of the class ``content``, and only if it is set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from inferences.models import ONE_CLASS, MetadataType, TaskType
from inferences.predictions.parsers.context import Context
from inferences.predictions.parsers.values import (
    Box,
    Content,
    Deconstructed,
    Kind,
    OrientedBox,
    Polygons,
)

PREDICTION = "prediction"  # the metadata key of the answer, and the beginning of others
SUMMARY_CHARS = 2000

C = TypeVar("C", bound=Content)
Fact = tuple[str, MetadataType, str]  # key, type and text of a metadata value


class Reader(Protocol):
    """A parser of one form of answers; None stands for another form."""

    def __call__(self, value: Any, context: Context, /) -> Deconstructed | None: ...


class Takes(StrEnum):
    """What a model is asked with; the value is the usual form of the playground."""

    FILE = "file"
    TEXT = "text"
    ROWS = "request"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export. ``type`` is the type of its values; lists are in brackets.

    ``json`` is text that holds JSON, for values that do not fit a flat table.
    """

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an answer, for exports with a row for each."""

    label: str | None
    score: float | None
    fields: dict[str, Any]


LABEL = Column("label", "str", "the label with the highest score")
SCORE = Column("score", "float", "its score")
LABELS = Column("labels", "[str]", "all labels, the best first")
SCORES = Column("scores", "[float]", "their scores")
CLASSES = (LABEL, SCORE, LABELS, SCORES)


class ModelType(Generic[C]):
    """A model type. The defaults are those of a model whose task is not known."""

    task: ClassVar[TaskType | None] = None
    kind: ClassVar[Kind] = Kind.NOT_UNDERSTOOD  # its part of a create
    action: ClassVar[str] = "predict"
    takes: ClassVar[Takes | None] = None
    has_prompt: ClassVar[bool] = False  # its input is text that a person can read
    is_tabular: ClassVar[bool] = False  # its inputs are rows of named features
    finds_things: ClassVar[bool] = False  # in the input, instead of one class for it
    # The shape that each item of its part has.
    shape: ClassVar[type[Box] | type[OrientedBox] | type[Polygons] | None] = None
    # Reads what only models of this type answer; other forms are tried for every model.
    reader: ClassVar[Reader | None] = None
    content: ClassVar[type[Any] | None] = None
    forms: ClassVar[tuple[str, ...]] = ()  # of its ground truth, the usual one first
    columns: ClassVar[tuple[Column, ...]] = CLASSES
    item: ClassVar[str] = (
        "class"  # the name of one item of an answer; empty: it has none
    )
    title: ClassVar[str] = "Found"  # the heading over its answer on the page
    mocks: ClassVar[tuple[str, ...]] = ()  # of the client, which answer as such a model

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    @property
    def is_one_class(self) -> bool:
        """Whether one class is the answer; the other classes are its distribution."""
        return self.task in ONE_CLASS

    def facts(self, content: C) -> Iterator[Fact]:
        """Yield the metadata derived from an answer."""
        yield from ()

    def values(self, content: C) -> dict[str, Any]:
        """Return the values of the columns; a value of None is left out."""
        return {}

    def items(self, content: C) -> list[Item] | None:
        """Return the items of the content; None if the labels of the answer are its items."""
        return None

    def summary(self, content: C) -> str:
        """Return the answer in a few words, for a card or a table cell."""
        return ""


class Classification(ModelType[Content]):
    """One class is the answer, and the other classes are its distribution."""

    action = "predict_proba"
    forms = ("labels",)
    title = "Classes"


class ThingsInPicture(ModelType[Content]):
    """The answer is a list of things in a picture, each with a shape."""

    action = "detect"
    takes = Takes.FILE
    finds_things = True


class Embedding(ModelType[Content]):
    """The answer is a vector."""

    kind = Kind.EMBEDDING
    action = "embed"
    forms = ("labels",)
    columns = ()
    item = ""
    title = "Embedding"


def number_fact(key: str, value: float) -> Fact:
    """Return a number as a metadata value."""
    return key, MetadataType.FLOAT, repr(float(value))


def short(value: Any) -> str:
    """Return a value as it stands in a summary."""
    if isinstance(value, str):
        return value[:SUMMARY_CHARS]
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False)[:SUMMARY_CHARS]
