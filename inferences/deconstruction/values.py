from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What an answer is made of, by the names of the API's collection."""

    NOT_UNDERSTOOD = ""
    OBJECT_DETECTION = "object_detection"
    ORIENTED_OBJECT_DETECTION = "oriented_object_detection"
    IMAGE_CLASSIFICATION = "image_classification"
    IMAGE_SEGMENTATION = "image_segmentation"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class Box:
    """In pixels from the upper left; when normalised, in parts of the image's size."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    normalised: bool = False


@dataclass(frozen=True, slots=True)
class OrientedBox:
    """Centre and size in parts of the image's size, ``r`` in radians."""

    cx: float
    cy: float
    w: float
    h: float
    r: float


Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Polygons:
    """Closed contours of points (x, y): the outline, then its holes."""

    contours: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """Run lengths, as in COCO: column by column, beginning with those outside.

    A text is COCO's compressed form of the same counts.
    """

    counts: tuple[int, ...] | str
    height: int
    width: int


Shape = Box | OrientedBox | Polygons | Mask


@dataclass(frozen=True, slots=True)
class Detection:
    """Something the model named. A class of the whole input has no shape."""

    label: str
    score: float | None = None
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Deconstructed:
    """Understood with no detections means: the model ran and found nothing."""

    kind: Kind = Kind.NOT_UNDERSTOOD
    detections: list[Detection] = field(default_factory=list)
    embedding: list[float] | None = None
    understood: bool = False
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        kind: Kind,
        rows: Sequence[Any],
        read: Callable[[Any], Detection | None],
        limit: int,
    ) -> Deconstructed:
        """What could be read of so many rows; warnings count the others."""
        first, warnings = cut(rows, limit)
        detections = [found for row in first if (found := read(row)) is not None]
        if left_out := len(first) - len(detections):
            warnings.append(
                f"{left_out} of {len(first)} detections were left out: "
                "a number is not finite, or a part is missing."
            )
        return cls(kind, detections, understood=True, warnings=warnings)


def cut(rows: Sequence[Any], limit: int) -> tuple[Sequence[Any], list[str]]:
    if len(rows) <= limit:
        return rows, []
    return rows[:limit], [f"Of {len(rows)} detections the first {limit} were kept."]
