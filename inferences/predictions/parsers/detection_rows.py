"""Detections as rows of numbers, as end-to-end exports of YOLO models answer.

[N, 6]   x1, y1, x2, y2, score, class          (YOLOv10 and later, Ultralytics ``nms``)
[N, 7]   batch, x1, y1, x2, y2, class, score   (YOLOv7 ``end2end``)
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from inferences.predictions.parsers.boxes import box
from inferences.predictions.parsers.context import NUMBERS, Context, number
from inferences.predictions.parsers.values import Deconstructed, Detection, Kind
from protocols.json_text import without_batch

Row = list[float]


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the detections of a table of numbers, or None for another form.

    Only models of object detection are read: other tables of six columns may be anything.
    """
    if context.kind is not Kind.OBJECT_DETECTION:
        return None
    rows = without_batch(value)
    if not isinstance(rows, list) or not rows:
        return None
    if type(rows[0]) in NUMBERS:  # a single row, which ``without_batch`` has unpacked
        rows = [rows]
    if not isinstance(rows[0], list):
        return None
    columns = COLUMNS.get(len(rows[0]))
    if columns is None or not all(_is_row(row, len(rows[0]), columns) for row in rows):
        return None
    # Fixed shapes are padded with rows of zeros: a score of 0 is no detection.
    found = [row for row in rows if row[columns[1]] > 0]
    if context.box_order == "yxyx":  # the default of the store; these exports use xyxy
        context = replace(context, box_order="xyxy")
    return Deconstructed.of(
        Kind.OBJECT_DETECTION,
        found,
        partial(_detection, columns=columns, context=context),
        context.max_detections,
    )


# By the number of columns: the indexes of the box's first number, of score and of class.
COLUMNS = {6: (0, 4, 5), 7: (1, 6, 5)}


def _is_row(row: Any, size: int, columns: tuple[int, int, int]) -> bool:
    if not isinstance(row, list) or len(row) != size:
        return False
    if not NUMBERS.issuperset(map(type, row)):
        return False
    _, score, place = columns
    return 0 <= row[score] <= 1 and row[place] >= 0 and float(row[place]).is_integer()


def _detection(
    row: Row, columns: tuple[int, int, int], context: Context
) -> Detection | None:
    start, score, place = columns
    shape = box(row[start : start + 4], context)
    label, read_score = context.label(row[place]), number(row[score])
    if shape is None or label is None or read_score is None:
        return None
    return Detection(label, read_score, shape)
