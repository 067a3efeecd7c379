"""Mocks for pictures: classification, detection, oriented detection, segmentation."""

from __future__ import annotations

import base64
import binascii
import math
import random
from typing import Any

from pydantic import Field

from inference_store.mocks.base import (
    NUMBER,
    SCORE,
    TEXT,
    BadRequest,
    Mock,
    Options,
    interface,
    members,
)
from inference_store.mocks.picture_sizes import picture_size

USUAL_SIZE = (640, 480)
LARGEST = 100_000
LABELS = ["ship", "tug", "ferry", "buoy", "crane", "container"]


class LabelOptions(Options):
    """Options of mocks with labels; ``labels`` are the classes that the mock knows."""

    labels: list[str] = Field(LABELS, min_length=1, max_length=1000)


class FindingOptions(LabelOptions):
    """Options of mocks that find objects: an answer has up to ``most``, sometimes none."""

    most: int = Field(5, ge=0, le=1000)


class _PictureMock(Mock):
    """Takes ``{"image"}``: bytes, base64 or a data URL.

    ``width`` and ``height`` give the size of a picture whose header does not.
    """

    takes = "image"

    def _read_picture(self, request: dict[str, Any]) -> tuple[random.Random, int, int]:
        content = _content(request.get("image"))
        width, height = picture_size(content) or _size_of_request(request)
        return self.dice(content, width, height), width, height


class ImageClassification(_PictureMock):
    """Classifies a picture: a list of ``{"label", "score"}``, best first; scores add up to 1."""

    name = "image-classification"
    title = "Image classification"
    interface = interface("classify", members(label=TEXT, score=SCORE))
    Options = LabelOptions
    options: LabelOptions

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        dice, _, _ = self._read_picture(request)
        return rank({label: dice.gauss(0, 2) for label in self.options.labels})


class ObjectDetection(_PictureMock):
    """Detects objects: ``{"label", "score", "xmin", "ymin", "xmax", "ymax"}`` in pixels."""

    name = "object-detection"
    title = "Object detection"
    interface = interface(
        "detect",
        members(
            label=TEXT, score=SCORE, xmin=NUMBER, ymin=NUMBER, xmax=NUMBER, ymax=NUMBER
        ),
    )
    Options = FindingOptions
    options: FindingOptions

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        dice, width, height = self._read_picture(request)
        found = []
        for label, score in _things(dice, self.options):
            xmin, xmax = _span(dice, width)
            ymin, ymax = _span(dice, height)
            box = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
            found.append({"label": label, "score": score, **box})
        return found


class OrientedDetection(_PictureMock):
    """Detects rotated boxes: ``{"label", "score", "cx", "cy", "w", "h", "r"}``.

    Centre and size are fractions of the picture's size, and ``r`` is in radians.
    """

    name = "oriented-detection"
    title = "Oriented object detection"
    interface = interface(
        "detect",
        members(
            label=TEXT, score=SCORE, cx=SCORE, cy=SCORE, w=SCORE, h=SCORE, r=NUMBER
        ),
    )
    Options = FindingOptions
    options: FindingOptions

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        dice, _, _ = self._read_picture(request)
        found = []
        for label, score in _things(dice, self.options):
            size = dice.uniform(0.05, 0.4)
            # The centre keeps half the diagonal off the edges, so any rotation stays inside.
            cx, cy = (dice.uniform(size * 0.71, 1 - size * 0.71) for _ in range(2))
            box = {"cx": cx, "cy": cy, "w": size, "h": size * dice.uniform(0.2, 1)}
            turned = dice.uniform(-math.pi / 2, math.pi / 2)
            numbers = {
                name: round(number, 6) for name, number in {**box, "r": turned}.items()
            }
            found.append({"label": label, "score": score, **numbers})
        return found


class Segmentation(_PictureMock):
    """Segments objects: ``{"label", "score", "contours"}``, with points in pixels."""

    name = "segmentation"
    title = "Image segmentation"
    interface = interface(
        "segment",
        members(
            label=TEXT,
            score=SCORE,
            contours={
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "array",
                    "minItems": 3,
                    "items": members(x=NUMBER, y=NUMBER),
                },
            },
        ),
    )
    Options = FindingOptions
    options: FindingOptions

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        dice, width, height = self._read_picture(request)
        found = []
        for label, score in _things(dice, self.options):
            xmin, xmax = _span(dice, width)
            ymin, ymax = _span(dice, height)
            contour = _outline(dice, (xmin, ymin, xmax, ymax))
            found.append({"label": label, "score": score, "contours": [contour]})
        return found


def rank(weights: dict[str, float]) -> list[dict[str, Any]]:
    """Return labels with scores that add up to 1, best first."""
    top = max(weights.values())
    parts = {label: math.exp(weight - top) for label, weight in weights.items()}
    total = math.fsum(parts.values())
    scored = [{"label": label, "score": part / total} for label, part in parts.items()]
    return sorted(scored, key=lambda item: -item["score"])


def _things(dice: random.Random, options: FindingOptions) -> list[tuple[str, float]]:
    """Return label and score of each object, highest score first."""
    count = dice.randint(0, options.most)
    scores = sorted(
        (round(dice.betavariate(5, 2), 4) for _ in range(count)), reverse=True
    )
    return [(dice.choice(options.labels), score) for score in scores]


def _span(dice: random.Random, size: int) -> tuple[float, float]:
    """Return a random interval inside a side of the picture."""
    length = size * dice.uniform(0.05, 0.5)
    start = dice.uniform(0, size - length)
    return round(start, 2), min(round(start + length, 2), float(size))


def _outline(
    dice: random.Random, box: tuple[float, float, float, float]
) -> list[dict[str, float]]:
    """Return a ring of points inside a box, roughly an ellipse."""
    xmin, ymin, xmax, ymax = box
    points = []
    for number in range(12):
        angle, far = number * math.pi / 6, dice.uniform(0.7, 1)
        x = (xmin + xmax) / 2 + math.cos(angle) * far * (xmax - xmin) / 2
        y = (ymin + ymax) / 2 + math.sin(angle) * far * (ymax - ymin) / 2
        points.append(
            {
                "x": min(max(round(x, 2), xmin), xmax),
                "y": min(max(round(y, 2), ymin), ymax),
            }
        )
    return points


def _content(image: Any) -> bytes:
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    if not isinstance(image, str) or not image:
        raise BadRequest("'image' is a picture in base64.")
    text = image.partition(",")[2] if image.startswith("data:") else image
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("'image' is not base64.") from None


def _size_of_request(request: dict[str, Any]) -> tuple[int, int]:
    sides = []
    for name, usual in zip(("width", "height"), USUAL_SIZE):  # noqa: B905
        side = request.get(name, usual)
        if type(side) is not int or not 1 <= side <= LARGEST:
            raise BadRequest(f"{name!r} is a whole number from 1 to {LARGEST}.")
        sides.append(side)
    return sides[0], sides[1]
