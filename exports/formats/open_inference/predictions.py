"""Predictions and ground truth as columns; the model's type says which.

Classes come from the arrays of the rows, without reading an answer. Other answers are parsed
one by one. Boxes in the API's own form have a faster parser (``quick_boxes``), because most
exports consist of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from exports.formats.open_inference.names import ColumnName
from exports.formats.open_inference.reading import with_offsets
from inferences.predictions.columns import FORMS, actual_of, prediction_of
from inferences.predictions.model_types import type_of, type_of_content
from inferences.predictions.model_types.base import CLASSES, LABEL, SCORE, Column
from inferences.predictions.parsers import Deconstructed
from inferences.predictions.parsers.context import LABEL_CHARS

TEXT, REAL, WHOLE = pa.string(), pa.float64(), pa.int64()
TYPES = {
    "str": TEXT,
    "float": REAL,
    "json": TEXT,
    "[str]": pa.list_(TEXT),
    "[float]": pa.list_(REAL),
}
# What a label and a score are called by the reader; everything else is a tag.
PLACES = {
    "label": ("str", "label", "label"),
    "score": ("float", "score", "score"),
    "value": ("float", "score", "score"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A column of a model type, with its name and Arrow type in the table."""

    said: str
    name: ColumnName
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an answer, such as a detection, and all its fields as JSON."""

    label: str | None
    score: float | None
    json: str


def places(task_type: str, *, exploded: bool) -> tuple[Place, ...]:
    """Return the columns of a prediction; exploded, those of one item of it."""
    columns = type_of(task_type).columns
    if exploded and (item := item_name(task_type)):
        return (
            _place("prediction", LABEL),
            _place("prediction", SCORE),
            Place("item", ColumnName("tag", "text", "", f"prediction_{item}"), TEXT),
        )
    return tuple(_place("prediction", column) for column in columns)


def actual_places(task_type: str) -> tuple[Place, ...]:
    """Return the columns of a ground truth, for every form that it may have."""
    columns = {column.name: column for column in type_of(task_type).columns}
    for form in type_of(task_type).forms:
        columns.setdefault(form, FORMS[form])
    if "label" not in columns and "labels" in columns:
        columns["label"] = LABEL
    kept = {_place("actual", each).name: each for each in columns.values()}
    return tuple(_place("actual", column) for column in kept.values())


def _place(category: str, column: Column) -> Place:
    if column.name in PLACES:
        word, specifier, name = PLACES[column.name]
        named = ColumnName(category, word, specifier, f"{category}_{name}")
    else:
        word = "text" if column.type == "json" or column.name == "text" else column.type
        # The reader rejects a group named "response" that has no vector.
        generated = category == "prediction" and column.name == "text"
        plain = "response_text" if generated else f"{category}_{column.name}"
        # Phoenix needs categories for tags, and lists have none, so lists stay predictions.
        # It ignores a prediction column that is neither a label nor a score.
        named = ColumnName(category if word[0] == "[" else "tag", word, "", plain)
    return Place(column.name, named, TYPES[column.type])


def item_name(task_type: str) -> str | None:
    """Return the name of one item of an answer, or None if the task type has no items."""
    return type_of(task_type).item or None


def needs_answers(task_type: str) -> bool:
    """Return whether the columns need the answers, and not only the arrays of the rows."""
    return not set(type_of(task_type).columns) <= set(CLASSES)


def class_columns(labels: pa.ListArray, scores: pa.ListArray) -> dict[str, pa.Array]:
    """Return ``label``, ``score``, ``labels`` and ``scores`` of rows, each row's best first."""
    counts = np.diff(labels.offsets.to_numpy())
    order = best_first(scores, counts)
    names, numbers = labels.values.take(order), scores.values.take(order)
    starts = labels.offsets.to_numpy()[:-1]
    is_there = counts > 0
    first = pa.array(np.where(is_there, starts, 0), mask=~is_there)
    return {
        "label": names.take(first),
        "score": numbers.take(first),
        "labels": with_offsets(names, counts, labels.is_null()),
        "scores": with_offsets(numbers, counts, labels.is_null()),
    }


def class_items(labels: pa.ListArray, scores: pa.ListArray) -> list[list[Item] | None]:
    """Return the classes of each row as items, best first.

    None stands for a row whose classes are null, because none were looked for.
    """
    columns = class_columns(labels, scores)
    return [
        None
        if names is None
        else [
            Item(name, number, _json({"label": name, "score": number, "rank": rank}))
            for rank, (name, number) in enumerate(zip(names, numbers, strict=True))
        ]
        for names, numbers in zip(
            columns["labels"].to_pylist(), columns["scores"].to_pylist(), strict=True
        )
    ]


def best_first(scores: pa.ListArray, counts: np.ndarray) -> pa.Array:
    """Return the indexes of all items, sorted within each row by score, best first."""
    numbers = scores.values.fill_null(0.0).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(counts)), counts)
    return pa.array(np.lexsort((-numbers, rows)))


def columns_of(
    rows: Sequence[dict[str, Any] | None], places_: Sequence[Place]
) -> dict[str, pa.Array]:
    """Return rows of values as arrays by column name; missing values are null."""
    return {
        str(place.name): pa.array(
            [row.get(place.said) if row else None for row in rows], place.type
        )
        for place in places_
    }


def actuals(
    task_type: str, written: Sequence[str | None]
) -> list[dict[str, Any] | None]:
    """Return the columns of each ground truth, which is given as JSON."""
    return [
        actual_of(task_type, orjson.loads(text)) if text else None for text in written
    ]


# -- answers that are read


Read = Callable[[str], Deconstructed]


def answered_places(places_: Sequence[Place]) -> list[Place]:
    """Return the columns that need the answers; the rows' arrays fill the others."""
    classes = {column.name for column in CLASSES}
    names = {place.said for place in places_}
    return [p for p in places_ if not (names >= classes and p.said in classes)]


def predictions(
    task_type: str, answers: Sequence[str | None], read: Read
) -> Iterator[dict[str, Any] | None]:
    """Yield the columns of each answer; None if it is missing or was not understood."""
    for text in answers:
        if not text:
            yield None
        elif quick := quick_boxes(text) if task_type == "Object Detection" else None:
            yield {"boxes": _json(quick)}
        else:
            found = read(text)
            yield prediction_of(task_type, found) if found.understood else None


def items(
    task_type: str, answers: Sequence[str | None], read: Read
) -> Iterator[list[Item] | None]:
    """Yield the items of each answer; None if it is missing or was not understood."""
    for text in answers:
        if not text:
            yield None
        elif quick := quick_boxes(text) if task_type == "Object Detection" else None:
            yield [Item(row["label"], row["score"], _json(row)) for row in quick]
        else:
            found = read(text)
            yield items_of(task_type, found) if found.understood else None


def items_of(task_type: str, found: Deconstructed) -> list[Item]:
    """Return the items of an answer, best first, or in their own order."""
    own = type_of_content(found.content).items(found.content)
    if own is not None:
        return [Item(each.label, each.score, _json(each.fields)) for each in own]
    detections = sorted(found.detections, key=lambda one: -(one.score or 0))
    return [
        Item(
            one.label,
            one.score,
            _item_json(task_type, replace(found, detections=[one]), rank),
        )
        for rank, one in enumerate(detections)
    ]


def _item_json(task_type: str, alone: Deconstructed, rank: int) -> str:
    """Return what the column of all items would say of this item."""
    fields: dict[str, str] = prediction_of(task_type, alone)
    for name in ("boxes", "polygons"):
        if name in fields:
            return fields[name][1:-1]
    (one,) = alone.detections
    return _json({"label": one.label, "score": one.score, "rank": rank})


def quick_boxes(text: str) -> list[dict[str, Any]] | None:
    """Return the boxes of an answer in the API's own form, best first.

    None means any other form, no boxes, or anything unusual: ``inferences.predictions.parsers``
    then decides what it is.
    """
    try:
        value = orjson.loads(text)
        rows: list[dict[str, Any]] = value["object_detection"]
        if len(value) != 1 or not all(map(_is_ordinary, rows)):
            return None
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    rows.sort(key=BY_SCORE, reverse=True)
    return rows


MEMBERS = ("label", "score", "xmin", "ymin", "xmax", "ymax")
VALUES, BY_SCORE = itemgetter(*MEMBERS), itemgetter("score")
MEMBER_SET = set(MEMBERS)
LARGEST = 1e37  # a larger number may not fit the columns


def _is_ordinary(row: dict[str, Any]) -> bool:
    """Return whether the row has a label, a score and ordered corners, all of the usual types."""
    if row.keys() != MEMBER_SET:
        return False
    # Written out without a loop, because this runs for every box of an export.
    label, score, left, top, right, bottom = VALUES(row)
    return (
        type(label) is str
        and type(score) is float
        and type(left) is float
        and type(top) is float
        and type(right) is float
        and type(bottom) is float
        and -LARGEST < left <= right < LARGEST
        and -LARGEST < top <= bottom < LARGEST
        and -LARGEST < score < LARGEST
        and 0 < len(label) <= LABEL_CHARS
        and "\x00" not in label
    )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
