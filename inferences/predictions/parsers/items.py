"""A list of objects, one for each thing that was found.

The forms are ``{label, score, bbox}``, ``{label, score, xmin, ymin, xmax, ymax}``,
``{label, score, cx, cy, w, h, r}``, ``{label, score, contours}`` and ``{label, score}``.
"""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers.boxes import (
    box,
    has_box,
    has_oriented_box,
    oriented_box,
)
from inferences.predictions.parsers.context import Context, number
from inferences.predictions.parsers.pixel_masks import mask_of_png, mask_of_rows
from inferences.predictions.parsers.segments import mask, polygons
from inferences.predictions.parsers.values import Deconstructed, Detection, Kind, Shape

LABEL = (
    "label",
    "class_label",
    "class_name",
    "class",
    "category",
    "name",
    "class_id",
    "category_id",
)
SCORE = ("score", "confidence", "probability")
BOX = ("bounding_box", "bbox", "box")
ORIENTED = ("oriented_bbox", "oriented_bounding_box", *BOX)
WITH_SHAPES = (
    Kind.OBJECT_DETECTION,
    Kind.ORIENTED_OBJECT_DETECTION,
    Kind.IMAGE_SEGMENTATION,
)
SEGMENT = ("contours", "segmentation", "mask", "rle")
# Most items have no member of these names, which a set tells at once.
IN_SEGMENTS, INNER = frozenset(SEGMENT), frozenset(ORIENTED)


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the detections or classes of a list of objects, or None for another form."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not {dict}.issuperset(map(type, value)):
        return None
    if not value:
        return _nothing_found(context)
    first = next((kind for item in value if (kind := _kind(item))), None)
    if first is None:
        return None
    found = Deconstructed.of(
        first, value, lambda item: _detection(item, context), context.max_detections
    )
    # Objects without a label are another form that looks alike.
    if not found.detections and all(_first(item, LABEL) is None for item in value):
        return None
    return found


def _nothing_found(context: Context) -> Deconstructed | None:
    """Return the result of an empty list, for the tasks that list what they find."""
    if context.classifies:
        return Deconstructed(Kind.IMAGE_CLASSIFICATION, understood=True)
    if context.kind in WITH_SHAPES:
        return Deconstructed(context.kind, understood=True)
    return None


def _kind(item: dict[Any, Any]) -> Kind | None:
    """Return the kind of one item, judged by its keys, or None."""
    if type(_first(item, LABEL)) in (list, dict):
        return None
    if not IN_SEGMENTS.isdisjoint(item) and _first(item, SEGMENT) is not None:
        return Kind.IMAGE_SEGMENTATION
    inner = None if INNER.isdisjoint(item) else _first(item, ORIENTED)
    if has_oriented_box(inner if isinstance(inner, dict) else item):
        return Kind.ORIENTED_OBJECT_DETECTION
    if inner is not None or has_box(item):
        return Kind.OBJECT_DETECTION
    # A label alone is enough. Other names ("name", "class") need a score, since any object
    # may happen to have them.
    scored = _first(item, SCORE) is not None
    named = "label" in item or (scored and _first(item, LABEL) is not None)
    return Kind.IMAGE_CLASSIFICATION if named else None


def _detection(item: dict[Any, Any], context: Context) -> Detection | None:
    kind = _kind(item)
    said = _first(item, SCORE)
    score = number(said)
    name = _first(item, LABEL)
    label = context.only_label if name is None else context.label(name)
    if kind is None or label is None or (said is not None and score is None):
        return None
    shape = _shape(item, kind, context)
    if shape is None and kind is not Kind.IMAGE_CLASSIFICATION:
        return None
    return Detection(label, score, shape)


def _shape(item: dict[Any, Any], kind: Kind, context: Context) -> Shape | None:
    if kind is Kind.IMAGE_SEGMENTATION:
        segment = _first(item, SEGMENT)
        return (
            mask(segment)
            or mask_of_png(segment)
            or mask_of_rows(segment)
            or polygons(segment)
        )
    if kind is Kind.ORIENTED_OBJECT_DETECTION:
        inner = _first(item, ORIENTED)
        return oriented_box(inner if isinstance(inner, dict) else item)
    if kind is Kind.OBJECT_DETECTION:
        inner = None if INNER.isdisjoint(item) else _first(item, BOX)
        return box(item if inner is None else inner, context)
    return None


def _first(item: dict[Any, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if (value := item.get(name)) is not None:
            return value
    return None
