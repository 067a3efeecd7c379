"""The collection of the API: lists of items under the names of their kinds."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

from inferences.predictions.parsers import (
    embeddings,
    entities,
    items,
    labels,
    quantities,
    rankings,
    texts,
)
from inferences.predictions.parsers.context import Context, parse
from inferences.predictions.parsers.values import Deconstructed, Kind, cut

KINDS = (
    Kind.OBJECT_DETECTION,
    Kind.ORIENTED_OBJECT_DETECTION,
    Kind.IMAGE_CLASSIFICATION,
    Kind.IMAGE_SEGMENTATION,
)
# The items of a kind are parsed as those of a model with this task.
TASKS = {kind: kind.value.replace("_", " ").title() for kind in KINDS}
# Parts that a collection may hold and that are not parsed here.
BESIDE = ("embeddings", "inputs", "shap_values", "metadata")
CLASSES = (Kind.CLASSIFICATION, Kind.TEXT_CLASSIFICATION)
FURTHER = {
    Kind.NAMED_ENTITIES: ("Named Entity Recognition", entities.read),
    Kind.RANKING: ("Ranking", rankings.read),
    Kind.REGRESSION: ("Tabular Regression", quantities.read),
    Kind.MULTI_OUTPUT: ("Multi-Output", quantities.read),
    Kind.TIME_SERIES: ("Time Series", quantities.read),
    Kind.TEXT_GENERATION: ("Text Generation", texts.read),
}
NAMES = frozenset((*KINDS, *CLASSES, *FURTHER, Kind.EMBEDDING, *BESIDE))


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return all parts of a collection together, or None for another form. Boxes are in pixels."""
    if not isinstance(value, dict):
        return None
    read_parts = [
        _part(kind, value, context)
        for kind in (*KINDS, *CLASSES, *FURTHER)
        if value.get(kind) is not None and _is_part(kind, value)
    ]
    if value.get(Kind.EMBEDDING) is not None:
        inner = {Kind.EMBEDDING.value: parse(value[Kind.EMBEDDING])}
        read_parts.append(embeddings.read(inner, context))
    parts = [part for part in read_parts if part is not None]
    if not parts:
        return None
    understood = [part for part in parts if part.understood]
    vectors = [part.embedding for part in parts if part.embedding]
    found = [detection for part in parts for detection in part.detections]
    detections, warnings = cut(found, context.max_detections)
    return Deconstructed(
        kind=understood[0].kind if understood else Kind.NOT_UNDERSTOOD,
        detections=list(detections),
        embedding=vectors[0] if vectors else None,
        understood=bool(understood),
        warnings=[*chain.from_iterable(part.warnings for part in parts), *warnings],
        content=next((part.content for part in understood if part.content), None),
    )


def _is_part(kind: Kind, value: dict[Any, Any]) -> bool:
    """Return whether this name is a part of a collection.

    A model's own answer may have members with these names, too. So a name that other forms
    use counts only where every name of the object belongs to the collection.
    """
    return kind in KINDS or all(name in NAMES for name in value)


def _part(kind: Kind, value: dict[Any, Any], context: Context) -> Deconstructed | None:
    given = parse(value[kind])
    if kind in FURTHER:
        task, reader = FURTHER[kind]
        return reader(given, replace(context, task_type=task))
    task = TASKS.get(kind, TASKS[Kind.IMAGE_CLASSIFICATION])
    inner = replace(context, task_type=task, normalised=False)
    found = items.read(given, inner)
    if found is None and kind.is_classes:
        found = labels.read(given, inner)
    return replace(found, kind=kind) if found else None
