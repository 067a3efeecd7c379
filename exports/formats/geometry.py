"""Shapes of detections in the pixels of the picture as it is decoded.

EXIF's turn is not done: the files leave as they were stored, and most tools decode them
without it, as the models did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from inferences.deconstruction import Mask
from inferences.deconstruction.values import Point, Shape
from inferences.presentation.shapes import contours_of, read_counts
from inferences.previews import Measure


class Bounds(NamedTuple):
    """The upright rectangle around a shape."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float

    @property
    def width(self) -> float:
        return self.xmax - self.xmin

    @property
    def height(self) -> float:
        return self.ymax - self.ymin

    def within(self, picture: Measure) -> Bounds | None:
        """What of it lies in the picture; None where that has no area."""
        cut = Bounds(
            max(self.xmin, 0.0),
            max(self.ymin, 0.0),
            min(self.xmax, float(picture.width)),
            min(self.ymax, float(picture.height)),
        )
        return cut if cut.width > 0 and cut.height > 0 else None


def contours(shape: Shape, picture: Measure) -> list[list[Point]]:
    """Closed contours in pixels; of a mask none, as it is not made of any."""
    return [] if isinstance(shape, Mask) else list(contours_of(shape, picture))


def bounds(shape: Shape, picture: Measure) -> Bounds | None:
    """The rectangle around a shape; None around nothing."""
    if isinstance(shape, Mask):
        return _bounds_of_mask(shape, picture)
    points = [point for contour in contours(shape, picture) for point in contour]
    if not points:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return Bounds(min(xs), min(ys), max(xs), max(ys))


def area(contours: Sequence[Sequence[Point]]) -> float:
    """The first contour's area without that of the holes in it (shoelace formula)."""
    sizes = [abs(_twice_area(contour)) / 2 for contour in contours]
    return max(0.0, 2 * sizes[0] - sum(sizes)) if sizes else 0.0


def _twice_area(contour: Sequence[Point]) -> float:
    following = [*contour[1:], contour[0]]
    pairs = zip(contour, following, strict=True)
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)


def runs_of(mask: Mask) -> Iterator[tuple[int, int]]:
    """Where each run of the mask starts, column by column, and where it ends."""
    counts, most = mask.counts, mask.height * mask.width
    if isinstance(counts, str):
        counts = read_counts(counts, most + 1)
    place = 0
    for number, count in enumerate(counts):
        start, place = place, min(place + count, most)
        if number % 2 and start < place:
            yield start, place


def mask_area(mask: Mask) -> int:
    return sum(end - start for start, end in runs_of(mask))


def _bounds_of_mask(mask: Mask, picture: Measure) -> Bounds | None:
    if mask.height < 1 or mask.width < 1:
        return None
    left, top = mask.width, mask.height
    right = bottom = -1
    for start, end in runs_of(mask):
        first, last = start // mask.height, (end - 1) // mask.height
        left, right = min(left, first), max(right, last)
        # A run over the foot of a column goes on at the head of the next.
        whole = last > first
        top = 0 if whole else min(top, start % mask.height)
        bottom = mask.height - 1 if whole else max(bottom, (end - 1) % mask.height)
    if right < 0:
        return None
    sx, sy = picture.width / mask.width, picture.height / mask.height
    return Bounds(left * sx, top * sy, (right + 1) * sx, (bottom + 1) * sy)
