"""Outlines of an answer's shapes over the picture, in pixels of the upright picture.

Models get the stored file, and most decode its pixels without regard to the EXIF
orientation: their boxes are in those pixels. The preview is upright, so outlines are turned
with it. They are not turned if they fit only the upright picture, because then the model
had turned it itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferences.predictions.parsers import Box, Mask, OrientedBox, Polygons
from inferences.predictions.parsers.values import Point, Shape
from inferences.previews.pictures import Measure

Contour = list[Point]
RUNS_MAX = 3000  # rectangles that are drawn of one mask
EDGE = 1.0  # pixel of tolerance: boxes may touch the border, and rounding takes them beyond it


@dataclass(frozen=True, slots=True)
class Outline:
    """An SVG path, and the rectangle around it in percent of the picture."""

    path: str
    left: float
    top: float
    right: float
    bottom: float

    def box(self, width: float, height: float) -> dict[str, float]:
        """Return the rectangle as a box of ground truth, in a picture of this size."""
        sides = {
            **{"xmin": self.left * width, "ymin": self.top * height},
            **{"xmax": self.right * width, "ymax": self.bottom * height},
        }
        return {name: round(side / 100, 4) for name, side in sides.items()}


def outlines(
    shapes: Sequence[Shape | None], picture: Measure, *, is_upright: bool = False
) -> list[Outline | None]:
    """Return an outline for each shape, or None for a shape that is missing.

    ``is_upright`` means that the shapes are known to be in pixels of the upright picture.
    """
    drawn = [list(contours_of(shape, picture)) if shape else [] for shape in shapes]
    turned = not (is_upright or _fit_upright_alone(drawn, picture))
    return [_outline(contours, picture, turned) for contours in drawn]


def _outline(contours: list[Contour], picture: Measure, turned: bool) -> Outline | None:
    if turned:
        contours = [[upright(x, y, picture) for x, y in each] for each in contours]
    points = [point for contour in contours for point in contour]
    if not points:
        return None
    width, height = picture.upright
    xs, ys = [x for x, _ in points], [y for _, y in points]
    path = "".join(_path(contour) for contour in contours)
    return Outline(
        path,
        *(_percent(min(xs), width), _percent(min(ys), height)),
        *(_percent(max(xs), width), _percent(max(ys), height)),
    )


def _percent(value: float, whole: int) -> float:
    return round(min(max(100 * value / whole, 0), 100), 2)


def _path(contour: Contour) -> str:
    points = " ".join(f"{x:.5g} {y:.5g}" for x, y in contour)
    return f"M{points}Z"


def upright(x: float, y: float, picture: Measure) -> Point:
    """Return the position of a decoded pixel after the EXIF orientation was applied."""
    width, height = picture.width, picture.height
    return {
        2: (width - x, y),
        3: (width - x, height - y),
        4: (x, height - y),
        5: (y, x),
        6: (height - y, x),
        7: (height - y, width - x),
        8: (y, width - x),
    }.get(picture.orientation, (x, y))


def upright_box(box: Mapping[str, Any], picture: Measure) -> dict[str, Any]:
    """Return a box of ground truth over the picture after the EXIF orientation was applied."""
    corners = ((box["xmin"], box["ymin"]), (box["xmax"], box["ymax"]))
    (x1, y1), (x2, y2) = (upright(x, y, picture) for x, y in corners)
    turned = {
        **{"xmin": min(x1, x2), "ymin": min(y1, y2)},
        **{"xmax": max(x1, x2), "ymax": max(y1, y2)},
    }
    return {**box, **{name: round(value, 5) for name, value in turned.items()}}


def stored_box(box: Mapping[str, Any], picture: Measure) -> dict[str, Any]:
    """Return a box that was drawn on the upright picture, in pixels of the file.

    It is the inverse of ``upright_box``.
    """
    return upright_box(box, _back(picture))


def to_stored_point(x: float, y: float, picture: Measure) -> Point:
    """Return where a point of the upright picture lies in the pixels of the file."""
    return upright(x, y, _back(picture))


def _back(picture: Measure) -> Measure:
    # The quarter turns 6 and 8 are inverse to each other; all others are their own inverse.
    back = {6: 8, 8: 6}.get(picture.orientation, picture.orientation)
    return Measure(*picture.upright, back)


def is_upright_already(shapes: Sequence[Shape | None], picture: Measure) -> bool:
    """Return whether the model had turned the picture, judged by where its shapes lie."""
    drawn = (list(contours_of(shape, picture)) for shape in shapes if shape)
    return _fit_upright_alone(drawn, picture)


def _fit_upright_alone(drawn: Iterable[list[Contour]], picture: Measure) -> bool:
    if picture.orientation < 5:
        return False
    points = [point for contours in drawn for contour in contours for point in contour]

    def fit(width: int, height: int) -> bool:
        return all(x <= width + EDGE and y <= height + EDGE for x, y in points)

    return not fit(picture.width, picture.height) and fit(*picture.upright)


def geometry_of(shape: Shape | None) -> dict[str, Any]:
    """Return a shape in the form of the API's collection; an empty dict if there is none."""
    match shape:
        case Box(xmin, ymin, xmax, ymax, normalised):
            box = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
            return box | {"normalised": True} if normalised else box
        case OrientedBox(cx, cy, w, h, r):
            return {"cx": cx, "cy": cy, "w": w, "h": h, "r": r}
        case Polygons(contours):
            return {"contours": [list(map(list, each)) for each in contours]}
        case Mask(counts, height, width):
            whole = counts if isinstance(counts, str) else list(counts)
            return {"mask": {"size": [height, width], "counts": whole}}
    return {}


def shape_of(geometry: Mapping[str, Any], *, normalised: bool = False) -> Shape:
    """Return the shape of a ground truth's box or polygon, whose unit is ``normalised`` or not."""
    if "contours" in geometry:
        contours = geometry["contours"]
        return Polygons(tuple(tuple((x, y) for x, y in each) for each in contours))
    if "r" in geometry:
        return OrientedBox(*(geometry[name] for name in ("cx", "cy", "w", "h", "r")))
    left, top, right, bottom = (
        geometry[name] for name in ("xmin", "ymin", "xmax", "ymax")
    )
    return Box(left, top, right, bottom, normalised)


def contours_of(shape: Shape, picture: Measure) -> Iterator[Contour]:
    """Yield the contours of a shape in pixels of the picture as decoded."""
    width, height = picture.width, picture.height
    if isinstance(shape, Box):
        sx, sy = (width, height) if shape.normalised else (1, 1)
        left, right = shape.xmin * sx, shape.xmax * sx
        top, bottom = shape.ymin * sy, shape.ymax * sy
        yield [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif isinstance(shape, OrientedBox):
        yield corners(shape, width, height)
    elif isinstance(shape, Polygons):
        points = [value for contour in shape.contours for p in contour for value in p]
        shares = bool(points) and max(points) <= 1 < max(width, height)
        sx, sy = (width, height) if shares else (1, 1)
        for contour in shape.contours:
            yield [(x * sx, y * sy) for x, y in contour]
    elif isinstance(shape, Mask):
        yield from _runs(shape, width, height)


def corners(shape: OrientedBox, width: float = 1, height: float = 1) -> Contour:
    """Return the corners of a rotated box, in pixels of a picture of this size or in shares."""
    cx, cy = shape.cx * width, shape.cy * height
    half_w, half_h = shape.w * width / 2, shape.h * height / 2
    cosine, sine = math.cos(shape.r), math.sin(shape.r)
    around = (
        (-half_w, -half_h),
        (half_w, -half_h),
        (half_w, half_h),
        (-half_w, half_h),
    )
    return [(cx + x * cosine - y * sine, cy + x * sine + y * cosine) for x, y in around]


def _runs(mask: Mask, width: int, height: int) -> Iterator[Contour]:
    """Yield a rectangle for each run of the mask; with too many runs only every n-th column."""
    if not (0 < mask.height <= 65_535 and 0 < mask.width <= 65_535):
        return
    counts = read_counts(mask.counts) if isinstance(mask.counts, str) else mask.counts
    step = 1 + len(counts) // (2 * RUNS_MAX)
    sx, sy = width / mask.width, height / mask.height
    place, drawn = 0, 0
    for number, count in enumerate(counts):
        start, place = place, min(place + count, mask.width * mask.height)
        if number % 2 == 0:
            continue
        while start < place and drawn < RUNS_MAX:
            column, top = divmod(start, mask.height)
            end = min(place, (column + 1) * mask.height)
            if column % step == 0:
                drawn += 1
                left, right = column * sx, (column + step) * sx
                bottom = top + end - start
                upper, lower = top * sy, bottom * sy
                yield [(left, upper), (right, upper), (right, lower), (left, lower)]
            start = end


def read_counts(text: str, most: int = 10 * RUNS_MAX) -> list[int]:
    """Return the run lengths of COCO's compressed text.

    Each character holds six bits: five of the number and one that says whether it
    continues. From the fourth count on the text holds the difference to the count two
    before.
    """
    counts: list[int] = []
    place = 0
    while place < len(text) and len(counts) < most:
        value = shift = 0
        more = True
        while more and place < len(text):
            bits = ord(text[place]) - 48
            value |= (bits & 31) << shift
            more = bool(bits & 32)
            place, shift = place + 1, shift + 5
            if not more and bits & 16:
                value |= -1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(max(value, 0))
    return counts
