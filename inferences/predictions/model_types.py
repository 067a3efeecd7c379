"""The model types: the parts of their answers, the forms of their ground truth, and columns.

There is one entry for each task type: the parts of a create's collection that hold its
answer, the forms that its ground truth may have (the usual one first), and the columns into
which exports write its prediction and its ground truth. ``prediction_of`` and ``actual_of``
fill them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferences.models import TaskType
from inferences.predictions.parsers.values import (
    Box,
    Deconstructed,
    Detection,
    Entities,
    Entity,
    Mask,
    OrientedBox,
    Outputs,
    Polygons,
    Quantity,
    Series,
    Shape,
    Text,
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export. ``type`` is the type of its values; lists are in brackets.

    ``json`` is text that holds JSON, for values that do not fit a flat table.
    """

    name: str
    type: str
    says: str


@dataclass(frozen=True, slots=True)
class ModelType:
    """Parts, ground truth forms and export columns of one task type."""

    parts: tuple[str, ...]
    forms: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


LABEL = Column("label", "str", "the label with the highest score")
SCORE = Column("score", "float", "its score")
LABELS = Column("labels", "[str]", "all labels, the best first")
SCORES = Column("scores", "[float]", "their scores")
CLASSES = (LABEL, SCORE, LABELS, SCORES)
BOXES = Column("boxes", "json", "a list of {label, score, xmin, ymin, xmax, ymax}")
ORIENTED = Column("boxes", "json", "a list of {label, score, cx, cy, w, h, r}")
POLYGONS = Column("polygons", "json", "a list of {label, score, contours or mask}")
ENTITIES = Column("entities", "json", "a list of {label, start, end, score}")
TEXT = Column("text", "str", "the text; several are parted by a blank line")
VALUE = Column("value", "float", "the number")
BOUNDS = (
    Column("lower", "float", "where its interval begins"),
    Column("upper", "float", "where its interval ends"),
)
VALUES = Column("values", "json", "an object of name and value")
SERIES = Column("series", "[float]", "the values in the order of time")
TIMES = Column("times", "[str]", "their times, when given")
BANDS = (
    Column("lower", "[float]", "where the interval of each begins, when given"),
    Column("upper", "[float]", "where the interval of each ends, when given"),
    Column("history", "[float]", "what was known when it was made"),
)
RANKING = Column("ranking", "[str]", "the items, the best first")

TYPES: dict[str, ModelType] = {
    TaskType.IMAGE_CLASSIFICATION: ModelType(
        ("image_classification",), ("labels",), CLASSES
    ),
    TaskType.TEXT_CLASSIFICATION: ModelType(
        ("text_classification",), ("labels",), CLASSES
    ),
    TaskType.TABULAR_CLASSIFICATION: ModelType(
        ("classification",), ("labels",), CLASSES
    ),
    TaskType.OBJECT_DETECTION: ModelType(
        ("object_detection",), ("boxes", "labels"), (*CLASSES, BOXES)
    ),
    TaskType.ORIENTED_OBJECT_DETECTION: ModelType(
        ("oriented_object_detection",), ("boxes", "labels"), (*CLASSES, ORIENTED)
    ),
    TaskType.IMAGE_SEGMENTATION: ModelType(
        ("image_segmentation",), ("polygons", "labels"), (*CLASSES, POLYGONS)
    ),
    TaskType.IMAGE_EMBEDDING: ModelType(("embedding",), ("labels",), ()),
    TaskType.TEXT_EMBEDDING: ModelType(("embedding",), ("labels",), ()),
    TaskType.NAMED_ENTITIES: ModelType(
        ("named_entities",), ("entities",), (*CLASSES, ENTITIES)
    ),
    TaskType.TEXT_GENERATION: ModelType(("text_generation",), ("text",), (TEXT,)),
    TaskType.TABULAR_REGRESSION: ModelType(
        ("regression",), ("value",), (VALUE, *BOUNDS)
    ),
    TaskType.MULTI_OUTPUT: ModelType(("multi_output",), ("values",), (VALUES,)),
    TaskType.TIME_SERIES: ModelType(
        ("time_series",), ("series",), (SERIES, TIMES, *BANDS)
    ),
    TaskType.RANKING: ModelType(("ranking",), ("relevance",), (RANKING, SCORES)),
}
BOXED = frozenset({"xmin", "cx"})  # a box of either form has one of these keys
# Parts that may stand beside the answer of any type.
BESIDE = ("embeddings", "inputs", "shap_values")
UNKNOWN = ModelType((), (), CLASSES)


def type_of(task_type: str) -> ModelType:
    """Return the model type of a task; ``UNKNOWN`` for one without an entry."""
    return TYPES.get(task_type, UNKNOWN)


def values_of(task_type: str, found: Deconstructed) -> dict[str, Any]:
    """Return the values of one answer by the prediction's columns; absent values are left out."""
    wanted = type_of(task_type).names
    rows = sorted(found.detections, key=lambda one: -(one.score or 0))
    filled: dict[str, Any] = {}
    if rows:
        filled["label"], filled["score"] = rows[0].label, rows[0].score
        filled["labels"] = filled["ranking"] = [one.label for one in rows]
        filled["scores"] = [one.score for one in rows]
    shaped = [row for one in rows if (row := _shape(one))]
    if shaped:
        filled["boxes" if BOXED & shaped[0].keys() else "polygons"] = shaped
    elif found.understood and not rows:  # the model ran and found nothing
        filled["boxes"] = filled["polygons"] = []
        filled["labels"] = filled["scores"] = filled["ranking"] = []
    filled |= _content(found.content)
    return {n: v for n, v in filled.items() if n in wanted and v is not None}


def prediction_of(task_type: str, found: Deconstructed) -> dict[str, Any]:
    """Return the values as ``values_of`` does; columns of type ``json`` hold JSON text."""
    in_json = {
        column.name for column in type_of(task_type).columns if column.type == "json"
    }
    return {
        name: _write(value) if name in in_json else value
        for name, value in values_of(task_type, found).items()
    }


def actual_of(task_type: str, truth: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of one ground truth, under the names of the prediction's columns."""
    filled: dict[str, Any] = dict(truth)
    if labels := filled.get("labels"):
        filled["label"] = labels[0]
    for name in ("boxes", "polygons", "entities", "values", "relevance"):
        if name in filled:
            filled[name] = _write(filled[name])
    if "relevance" in truth:
        relevance = truth["relevance"]
        filled["ranking"] = sorted(relevance, key=relevance.get, reverse=True)
    wanted = {*type_of(task_type).names, *type_of(task_type).forms, "label", "score"}
    return {name: value for name, value in filled.items() if name in wanted}


def geometry_of(shape: Shape | None) -> dict[str, Any]:
    """Return a shape in the form of the API's collection; an empty dict if there is none."""
    match shape:
        case Box(xmin, ymin, xmax, ymax, normalised):
            box = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
            return box | {"normalised": True} if normalised else box
        case OrientedBox(cx, cy, w, h, r):
            return {"cx": cx, "cy": cy, "w": w, "h": h, "r": r}
        case Polygons(contours):
            return {"contours": [list(map(list, each)) for each in contours]}
        case Mask(counts, height, width):
            whole = counts if isinstance(counts, str) else list(counts)
            return {"mask": {"size": [height, width], "counts": whole}}
    return {}


def entity_value(span: Entity) -> dict[str, Any]:
    """Return an entity in the form of the API's collection."""
    return {
        "label": span.label,
        "start": span.start,
        "end": span.end,
        "score": span.score,
    }


def _shape(one: Detection) -> dict[str, Any] | None:
    geometry = geometry_of(one.shape)
    return {"label": one.label, "score": one.score, **geometry} if geometry else None


def _content(content: Any) -> dict[str, Any]:
    match content:
        case Quantity(value, lower, upper):
            return {"value": value, "lower": lower, "upper": upper}
        case Outputs(values):
            return {"values": values}
        case Series(values, times, lower, upper, before):
            return {
                "series": list(values),
                "times": list(times) or None,
                "lower": list(lower) or None,
                "upper": list(upper) or None,
                "history": list(before) or None,
            }
        case Text(messages):
            return {"text": "\n\n".join(message.text for message in messages)}
        case Entities(spans):
            return {"entities": list(map(entity_value, spans))}
    return {}


def _write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
