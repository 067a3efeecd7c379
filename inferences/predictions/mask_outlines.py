"""Masks of run lengths as arrays of pixels, and as outlines of the area that they cover."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inferences.predictions.geometry import read_counts
from inferences.predictions.parsers import Mask
from inferences.predictions.parsers.pixel_masks import PIXELS_MAX
from inferences.predictions.parsers.values import Point
from inferences.previews.pictures import Measure


def runs_of(mask: Mask) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run inside the mask, counted column by column."""
    counts, size = mask.counts, mask.height * mask.width
    lengths = read_counts(counts, size + 1) if isinstance(counts, str) else counts
    place = 0
    for number, length in enumerate(lengths):
        start, place = place, min(place + length, size)
        if number % 2 and start < place:
            yield start, place


def pixels_of(mask: Mask) -> np.ndarray:
    """Return the mask as an array of booleans, ``[height, width]``.

    Raises ``ValueError`` for one of more pixels than a picture may have: few runs can say any size.
    """
    if mask.height * mask.width > PIXELS_MAX:
        raise ValueError(f"{mask.height} by {mask.width} pixels are too many.")
    flat = np.zeros(mask.height * mask.width, dtype=bool)
    for start, end in runs_of(mask):
        flat[start:end] = True
    return flat.reshape((mask.height, mask.width), order="F")


def trace(mask: Mask, picture: Measure) -> list[list[Point]]:
    """Return the borders of a mask as closed contours along the edges of its pixels."""
    plane = np.pad(pixels_of(mask), 1)
    inside = plane[1:-1, 1:-1]
    # Each border of a pixel is a step, directed so that the pixel is on its right.
    steps = (
        (inside & ~plane[:-2, 1:-1], (0, 0), (1, 0)),
        (inside & ~plane[1:-1, 2:], (1, 0), (1, 1)),
        (inside & ~plane[2:, 1:-1], (1, 1), (0, 1)),
        (inside & ~plane[1:-1, :-2], (0, 1), (0, 0)),
    )
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for borders, (x1, y1), (x2, y2) in steps:
        for y, x in zip(*(axis.tolist() for axis in borders.nonzero()), strict=True):
            following.setdefault((x + x1, y + y1), []).append((x + x2, y + y2))
    sx, sy = picture.width / mask.width, picture.height / mask.height
    found = []
    while following:
        corners = _loop(following)
        found.append([(x * sx, y * sy) for x, y in corners])
    return found


def _loop(
    following: dict[tuple[int, int], list[tuple[int, int]]],
) -> list[tuple[int, int]]:
    """Take one closed walk out of the steps; return the corners at which it turns."""
    start = place = next(iter(following))
    corners: list[tuple[int, int]] = []
    heading = None
    while place in following:
        onward = following[place].pop()
        if not following[place]:
            del following[place]
        turn = onward[0] - place[0], onward[1] - place[1]
        if turn != heading:
            corners.append(place)
        heading, place = turn, onward
        if place == start:
            break
    return corners
