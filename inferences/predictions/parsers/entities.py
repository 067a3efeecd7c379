"""Spans of a text: ``[{label, start, end, score}]``, as models of named entities answer."""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers.context import Context, number
from inferences.predictions.parsers.values import (
    Deconstructed,
    Detection,
    Entities,
    Entity,
    Kind,
    cut,
)

LABEL = ("label", "entity_group", "entity", "type")
SCORE = ("score", "confidence", "probability")
TEXT_CHARS = 1_000_000


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the spans of a list, or of an object that has them beside their text.

    Returns None for another form.
    """
    text = ""
    if isinstance(value, dict):
        inner = value.get("entities", value.get("named_entities"))
        text = value["text"] if isinstance(value.get("text"), str) else ""
        value = [value] if inner is None and "start" in value else inner
    if not isinstance(value, list) or not all(isinstance(i, dict) for i in value):
        return None
    rows, warnings = cut(value, context.max_detections)
    spans = [span for row in rows if (span := _span(row, context)) is not None]
    if rows and not spans:
        return None
    if left_out := len(rows) - len(spans):
        warnings.append(f"{left_out} of {len(rows)} entities were left out.")
    return Deconstructed(
        Kind.NAMED_ENTITIES,
        [Detection(each.label, each.score) for each in spans],
        understood=True,
        warnings=warnings,
        content=Entities(tuple(spans), text[:TEXT_CHARS]),
    )


def _span(row: dict[Any, Any], context: Context) -> Entity | None:
    name = next((row[key] for key in LABEL if row.get(key) is not None), None)
    label = context.label(name)
    start, end = row.get("start"), row.get("end")
    if label is None or type(start) is not int or type(end) is not int:
        return None
    if not 0 <= start < end <= TEXT_CHARS:
        return None
    score = next((row[key] for key in SCORE if row.get(key) is not None), None)
    return Entity(label, start, end, number(score))
