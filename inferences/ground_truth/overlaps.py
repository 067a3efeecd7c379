"""Overlap (IoU) of shapes by pycocotools: boxes exactly, other shapes as masks on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as masks

from inferences.predictions.geometry import corners
from inferences.predictions.parsers.values import (
    Box,
    Mask,
    OrientedBox,
    Polygons,
    Shape,
)

GRID = 512  # cells along the longer side; the error of a contour is half a cell


def box_overlaps(
    found: Sequence[Sequence[float]], actual: Sequence[Sequence[float]]
) -> np.ndarray:
    """Return the IoU of boxes ``[x, y, width, height]``, shaped (found, true)."""
    if not found or not actual:
        return np.zeros((len(found), len(actual)))
    given = (np.asarray(found, np.float64), np.asarray(actual, np.float64))
    return np.asarray(masks.iou(*given, [0] * len(actual)))


def contour_overlaps(
    found: Sequence[list[list[Any]]], actual: Sequence[list[list[Any]]]
) -> np.ndarray:
    """Return the IoU of shapes made of contours, shaped (found, true), on one common grid."""
    if not found or not actual:
        return np.zeros((len(found), len(actual)))
    drawn = encode([*found, *actual])
    return np.asarray(
        masks.iou(drawn[: len(found)], drawn[len(found) :], [0] * len(actual))
    )


def encode(shapes: Sequence[list[list[Any]]]) -> list[Any]:
    """Return the shapes as run-length masks of pycocotools, on one grid that holds them all."""
    points = [p for shape in shapes for contour in shape for p in contour]
    left, top = min(p[0] for p in points), min(p[1] for p in points)
    span = max(max(p[0] for p in points) - left, max(p[1] for p in points) - top)
    scale = (GRID - 1) / (span or 1.0)
    made = []
    for shape in shapes:
        flat = [
            [c for x, y in contour for c in ((x - left) * scale, (y - top) * scale)]
            for contour in shape
        ]
        drawn = masks.frPyObjects(flat, GRID, GRID)
        # The first contour is the outline, the others are holes.
        whole = masks.decode(drawn[0])
        for hole in drawn[1:]:
            whole &= 1 - masks.decode(hole)
        made.append(masks.encode(np.asfortranarray(whole)))
    return made


def contours_of(shape: Shape | None) -> list[list[Any]] | None:
    """Return a shape as contours in its own unit, or None for a mask, which has its own grid."""
    match shape:
        case Polygons(contours):
            usable = [list(each) for each in contours if len(each) >= 3]
            return usable or None
        case OrientedBox():
            return [corners(shape)]
        case Box(xmin, ymin, xmax, ymax):
            return [[(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax)]]
        case Mask() | None:
            return None
    return None
