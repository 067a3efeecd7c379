"""Arrays of boxes, classes and scores, as detectors of TensorFlow and TensorRT answer.

TensorFlow: ``{detection_boxes, detection_classes, detection_scores, num_detections}``. The
names of TensorRT's EfficientNMS and BatchedNMS are read as well; their boxes are x1, y1,
x2, y2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from typing import Any

from inferences.predictions.parsers.boxes import box
from inferences.predictions.parsers.context import NUMBERS, Context, number
from inferences.predictions.parsers.values import Deconstructed, Detection, Kind
from protocols.json_text import parse, without_batch

OF_TENSORRT = ("det_boxes", "nmsed_boxes")
BOXES = ("detection_boxes", "boxes", "bboxes", *OF_TENSORRT)
# In order of preference: if an answer has both, the names are read and not the numbers.
LABELS = (
    "detection_labels",
    "detection_classes",
    "labels",
    "classes",
    "label",
    "class",
    "det_classes",
    "nmsed_classes",
)
SCORES = ("detection_scores", "scores", "score", "det_scores", "nmsed_scores")
COUNT = ("num_detections", "num_dets")


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the detections of parallel arrays, or None for another form."""
    if not isinstance(value, dict):
        return None
    boxes = _boxes(_first(value, BOXES))
    if not value.keys().isdisjoint(OF_TENSORRT) and context.box_order == "yxyx":
        context = replace(context, box_order="xyxy")
    labels = _column(_first(value, LABELS))
    scores = _column(_first(value, SCORES))
    kind = Kind.IMAGE_CLASSIFICATION if boxes is None else Kind.OBJECT_DETECTION
    if boxes is None:
        if not labels or not scores or not context.may_classify:
            return None
        boxes = [None] * len(labels)
    boxes = boxes[: _count(value, len(boxes))]
    if labels is None:
        if boxes and context.only_label is None:
            return None
        labels = [context.only_label] * len(boxes)
    # Rows whose column ends early have a part missing. Further values are padding.
    said = chain(scores or (), repeat(None))
    rows = list(zip(boxes, chain(labels, repeat(None)), said, strict=False))
    read_row = partial(
        _detection, kind=kind, scored=scores is not None, context=context
    )
    return Deconstructed.of(kind, rows, read_row, context.max_detections)


def _detection(
    row: tuple[Any, Any, Any], kind: Kind, scored: bool, context: Context
) -> Detection | None:
    corners, name, said = row
    label, score = context.label(name), number(said)
    shape = box(corners, context) if kind is Kind.OBJECT_DETECTION else None
    if label is None or (score is None and scored):
        return None
    if shape is None and kind is Kind.OBJECT_DETECTION:
        return None
    return Detection(label, score, shape)


def _first(value: dict[Any, Any], names: Sequence[str]) -> Any:
    return next((parse(value[name]) for name in names if name in value), None)


def _boxes(value: Any) -> list[Any] | None:
    """Return one box per row; a flat list of numbers is split into fours."""
    if not isinstance(value, list):
        return None
    value = without_batch(value)
    if value and (value[0] is None or type(value[0]) in NUMBERS):
        if len(value) % 4:
            return None
        return [value[start : start + 4] for start in range(0, len(value), 4)]
    return value if all(map(_is_box, value)) else None


def _is_box(row: Any) -> bool:
    return isinstance(row, dict) or (isinstance(row, list) and len(row) == 4)


def _column(value: Any) -> list[Any] | None:
    if value is None or isinstance(value, dict):
        return None
    value = without_batch(value)
    if not isinstance(value, list):
        return [value]
    if value and all(isinstance(row, list) and len(row) == 1 for row in value):
        return [row[0] for row in value]  # of the shape [N, 1]
    return None if any(isinstance(row, list | dict) for row in value) else value


def _count(value: dict[Any, Any], most: int) -> int:
    """Return how many rows are not padding."""
    column = _column(_first(value, COUNT))
    said = number(column[0]) if column else None
    return most if said is None or said < 0 else min(most, int(said))
