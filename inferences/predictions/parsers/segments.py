"""Segments: contours ``[[{x, y}, …], hole, …]``, or COCO's run lengths."""

from __future__ import annotations

from typing import Any, TypeGuard

from inferences.predictions.parsers.context import Context, is_complete, numbers
from inferences.predictions.parsers.values import (
    Deconstructed,
    Detection,
    Kind,
    Mask,
    Point,
    Polygons,
)

LARGEST_RUN = 2**31


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return a segment that has no object around it, or None.

    Its label is that of the model's only class; without exactly one class it is not read.
    """
    if context.only_label is None:
        return None
    if context.kind not in (None, Kind.IMAGE_SEGMENTATION):
        return None
    shape = mask(value) or polygons(value)
    if shape is None:
        return None
    found = Detection(context.only_label, None, shape)
    return Deconstructed(Kind.IMAGE_SEGMENTATION, [found], understood=True)


def mask(value: Any) -> Mask | None:
    """Return the mask of COCO's ``{size, counts}``, or None."""
    if not isinstance(value, dict) or "counts" not in value:
        return None
    size, counts = value.get("size"), value["counts"]
    if not _are_runs(size) or len(size) != 2:
        return None
    height, width = size
    if isinstance(counts, str):
        return Mask(counts, height, width) if counts.isascii() else None
    return Mask(tuple(counts), height, width) if _are_runs(counts) else None


def polygons(value: Any) -> Polygons | None:
    """Return contours from points or from COCO's flat ``[x, y, x, y, …]``, else None."""
    if not isinstance(value, list) or not value:
        return None
    contours = [_contour(each) for each in value]
    return Polygons(tuple(contours)) if is_complete(contours) else None


def _contour(value: Any) -> tuple[Point, ...] | None:
    if not isinstance(value, list) or not value:
        return None
    if (flat := numbers(value)) is not None:
        even = len(flat) >= 6 and len(flat) % 2 == 0
        return tuple(zip(flat[::2], flat[1::2], strict=True)) if even else None
    points = [_point(each) for each in value]
    return tuple(points) if is_complete(points) else None


def _point(value: Any) -> Point | None:
    if isinstance(value, dict):
        value = [value.get("x"), value.get("y")]
    pair = numbers(value)
    return (pair[0], pair[1]) if pair and len(pair) == 2 else None


def _are_runs(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        type(run) is int and 0 <= run <= LARGEST_RUN for run in value
    )
