"""Shapes of detections in pixels, for the formats of archives.

Contours fill by the even-odd rule: a contour inside another is a hole, and one beside another
is a further part. Input files are exported as they were stored. Where a format's readers turn
pictures as EXIF says, its shapes are turned with them (``turn``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco

from exports.members import decoding
from inferences.predictions.geometry import contours_of, upright
from inferences.predictions.mask_outlines import pixels_of, runs_of, trace
from inferences.predictions.parsers import Box, Mask, OrientedBox, Polygons
from inferences.predictions.parsers.pixel_masks import mask_of
from inferences.predictions.parsers.values import Point, Shape
from inferences.previews.pictures import Measure

Contour = Sequence[Point]
POINTS_LOOKED_AT = 8  # of a contour: a single point may lie on the other's border
PAIRS_AT_ONCE = 2**20  # pairs of points or edges compared at once; bounds the memory
EDGE = 1e-6  # pixels; tolerates the rounding of shares to pixels
# What numbers of an answer make the functions here raise; a TypeError would be a fault of ours.
ODD_SHAPE = (ValueError, ArithmeticError, LookupError)


class Bounds(NamedTuple):
    """The upright rectangle around a shape, in pixels."""

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
        """Return the part inside the picture, or None if that has no area."""
        cut = Bounds(
            max(self.xmin, 0.0),
            max(self.ymin, 0.0),
            min(self.xmax, float(picture.width)),
            min(self.ymax, float(picture.height)),
        )
        return cut if cut.width > 0 and cut.height > 0 else None

    def is_close_to(self, other: Bounds) -> bool:
        return all(abs(a - b) <= EDGE for a, b in zip(self, other, strict=True))


@decoding(ODD_SHAPE)
def contours(shape: Shape, picture: Measure) -> list[list[Point]]:
    """Return the closed contours of a shape in pixels; an empty list for a mask."""
    return [] if isinstance(shape, Mask) else list(contours_of(shape, picture))


@decoding(ODD_SHAPE)
def outlines(shape: Shape, picture: Measure) -> list[list[Point]]:
    """Return closed contours in pixels; those of a mask follow the edges of its pixels."""
    return (
        trace(shape, picture) if isinstance(shape, Mask) else contours(shape, picture)
    )


@decoding(ODD_SHAPE)
def bounds(shape: Shape, picture: Measure) -> Bounds | None:
    """Return the rectangle around a shape, or None for an empty shape."""
    if isinstance(shape, Mask):
        return _bounds_of_mask(shape, picture)
    points = [point for contour in contours(shape, picture) for point in contour]
    if not points:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return Bounds(min(xs), min(ys), max(xs), max(ys))


@decoding(ODD_SHAPE)
def area(contours: Sequence[Contour]) -> float:
    """Return the area of all parts without their holes (shoelace formula)."""
    sizes = (abs(_twice_area(contour)) / 2 for contour in contours)
    signed = zip(sizes, depths(contours), strict=True)
    return max(0.0, sum(-size if depth % 2 else size for size, depth in signed))


@decoding(ODD_SHAPE)
def depths(contours: Sequence[Contour]) -> list[int]:
    """Return for each contour how many others contain it; a hole has an odd number."""
    return [len(holder) for holder in _holders(contours)]


@decoding(ODD_SHAPE)
def parts(contours: Sequence[Contour]) -> list[list[Contour]]:
    """Return the outer contours, each with the holes that lie directly in it."""
    holders = _holders(contours)
    found = {
        number: [contour]
        for number, contour in enumerate(contours)
        if len(holders[number]) % 2 == 0
    }
    for number, contour in enumerate(contours):
        if number in found:
            continue
        for holder in holders[number]:
            if len(holders[holder]) == len(holders[number]) - 1:
                found[holder].append(contour)
    return list(found.values())


@decoding(ODD_SHAPE)
def join(contours: Sequence[Contour]) -> list[Point]:
    """Return one closed contour that fills as all of them do, for formats with only one.

    Each is joined by a bridge of no width from the nearest point of those before it, as
    Ultralytics joins the parts of COCO's segments.
    """
    whole = np.asarray(contours[0], dtype=float)
    for contour in contours[1:]:
        other = np.asarray(contour, dtype=float)
        start, end = _nearest(whole, other)
        around = (other[end:], other[: end + 1])
        whole = np.concatenate((whole[: start + 1], *around, whole[start:]))
    return [(x, y) for x, y in whole.tolist()]


def _nearest(here: np.ndarray, there: np.ndarray) -> tuple[int, int]:
    """Return the indexes of the two closest points, one of each contour."""
    best, found = np.inf, (0, 0)
    step = max(1, PAIRS_AT_ONCE // len(here))
    for place in range(0, len(there), step):
        some = there[place : place + step]
        distances = ((here[:, None] - some[None]) ** 2).sum(axis=2)
        start, end = np.unravel_index(distances.argmin(), distances.shape)
        if distances[start, end] < best:
            best, found = distances[start, end], (int(start), place + int(end))
    return found


def _holders(contours: Sequence[Contour]) -> list[list[int]]:
    """Return for each contour the numbers of those that contain it; contours must not cross.

    A mask of noise has thousands of contours, so only contours whose rectangles contain each other
    are compared.
    """
    given = [np.asarray(contour, dtype=float) for contour in contours]
    least = np.array([each.min(axis=0) for each in given])
    most = np.array([each.max(axis=0) for each in given])
    found: list[list[int]] = [[] for _ in given]
    for number, outer in enumerate(given):
        is_near = (least >= least[number]) & (most <= most[number])
        near = [int(each) for each in is_near.all(axis=1).nonzero()[0]]
        near = [each for each in near if each != number]
        points = [given[each][:POINTS_LOOKED_AT] for each in near]
        inside = iter(_are_inside(np.concatenate(points), outer) if near else ())
        for each, some in zip(near, points, strict=True):
            if all(list(islice(inside, len(some)))):
                found[each].append(number)
    return found


def _are_inside(points: np.ndarray, contour: np.ndarray) -> list[bool]:
    """Return for each point whether it is inside: crossings of a ray to the right, even-odd."""
    x1, y1 = contour.T
    x2, y2 = np.roll(contour, -1, axis=0).T
    found: list[bool] = []
    step = max(1, PAIRS_AT_ONCE // len(contour))
    for place in range(0, len(points), step):
        x, y = points[place : place + step].T[:, :, None]
        is_crossed = (y1 > y) != (y2 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            is_right = x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
        crossings = (is_crossed & is_right).sum(axis=1)
        found += (crossings % 2 == 1).tolist()
    return found


def _twice_area(contour: Sequence[Point]) -> float:
    following = [*contour[1:], contour[0]]
    pairs = zip(contour, following, strict=True)
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)


@decoding(ODD_SHAPE)
def fill(contours: Sequence[Contour], picture: Measure) -> dict[str, Any]:
    """Return contours as COCO's compressed run lengths, with holes left open."""
    height, width = picture.height, picture.width
    plane = np.zeros((height, width), dtype=bool)
    for contour in contours:
        flat = [value for point in contour for value in point]
        plane ^= coco.decode(coco.frPyObjects([flat], height, width))[:, :, 0] == 1
    runs = coco.encode(np.asfortranarray(plane, dtype=np.uint8))
    return {"size": [height, width], "counts": runs["counts"].decode()}


@decoding(ODD_SHAPE)
def turn(shape: Shape, picture: Measure) -> Shape:
    """Return the shape over the picture after EXIF's turn (``Measure.upright``)."""
    width, height = picture.width, picture.height
    if isinstance(shape, Mask):
        return mask_of(TURNS[picture.orientation](pixels_of(shape)))
    if isinstance(shape, Polygons):
        outlines = contours_of(shape, picture)
        return Polygons(
            tuple(
                tuple(upright(x, y, picture) for x, y in outline)
                for outline in outlines
            )
        )
    if isinstance(shape, OrientedBox):
        return _turned_oriented(shape, picture)
    sx, sy = (width, height) if shape.normalised else (1, 1)
    corners = ((shape.xmin * sx, shape.ymin * sy), (shape.xmax * sx, shape.ymax * sy))
    (x1, y1), (x2, y2) = (upright(x, y, picture) for x, y in corners)
    return Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _turned_oriented(box: OrientedBox, picture: Measure) -> OrientedBox:
    width, height = picture.width, picture.height
    x, y = upright(box.cx * width, box.cy * height, picture)
    new_width, new_height = picture.upright
    angle = box.r
    # A mirror negates the angle; the rotation after it is added.
    mirrored, quarters = ANGLES[picture.orientation]
    angle = (-angle if mirrored else angle) + quarters * np.pi / 2
    return OrientedBox(
        x / new_width,
        y / new_height,
        box.w * width / new_width,
        box.h * height / new_height,
        float(angle),
    )


# How each EXIF orientation (EXIF 2.3, tag 0x0112) turns the stored pixels.
TURNS = {
    2: lambda plane: plane[:, ::-1],
    3: lambda plane: plane[::-1, ::-1],
    4: lambda plane: plane[::-1, :],
    5: lambda plane: plane.T,
    6: lambda plane: plane.T[:, ::-1],
    7: lambda plane: plane.T[::-1, ::-1],
    8: lambda plane: plane.T[::-1, :],
}
# The same for an angle, clockwise as y points down: whether it is mirrored, and quarters.
ANGLES = {
    2: (True, 2),
    3: (False, 2),
    4: (True, 0),
    5: (True, 1),
    6: (False, 1),
    7: (True, 3),
    8: (False, 3),
}


@decoding(ODD_SHAPE)
def mask_area(mask: Mask) -> int:
    """Return the number of pixels of a mask."""
    return sum(end - start for start, end in runs_of(mask))


def _bounds_of_mask(mask: Mask, picture: Measure) -> Bounds | None:
    if mask.height < 1 or mask.width < 1:
        return None
    left, top = mask.width, mask.height
    right = bottom = -1
    for start, end in runs_of(mask):
        first, last = start // mask.height, (end - 1) // mask.height
        left, right = min(left, first), max(right, last)
        # Runs go down the columns: one beyond the bottom continues at the top of the next.
        whole = last > first
        top = 0 if whole else min(top, start % mask.height)
        bottom = mask.height - 1 if whole else max(bottom, (end - 1) % mask.height)
    if right < 0:
        return None
    sx, sy = picture.width / mask.width, picture.height / mask.height
    return Bounds(left * sx, top * sy, (right + 1) * sx, (bottom + 1) * sy)
