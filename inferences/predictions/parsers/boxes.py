"""Boxes, under all the names that their corners and sizes have."""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers.context import Context, numbers
from inferences.predictions.parsers.values import Box, OrientedBox

CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
SIZES = (("x", "y", "width", "height"), ("x", "y", "w", "h"))
ORIENTED = (("cx", "cy", "w", "h", "r"), ("cx", "cy", "width", "height", "r"))
BOXES = (*CORNERS, *SIZES)


def box(value: Any, context: Context) -> Box | None:
    """Return a box from four numbers in the model's order, or from an object that names them."""
    if isinstance(value, dict):
        return _named_box(value, context)
    four = numbers(value)
    if four is None or len(four) != 4:
        return None
    if context.box_order == "yxyx":
        ymin, xmin, ymax, xmax = four
        return _box(xmin, ymin, xmax, ymax, context)
    if context.box_order == "xywh":
        return _size(four, context)
    xmin, ymin, xmax, ymax = four
    return _box(xmin, ymin, xmax, ymax, context)


def has_box(value: dict[Any, Any]) -> bool:
    """Return whether an object names a box, by corners or by corner and size."""
    return _names_in(value, BOXES) is not None


def has_oriented_box(value: dict[Any, Any]) -> bool:
    """Return whether an object names a rotated box."""
    return _names_in(value, ORIENTED) is not None


def oriented_box(value: dict[Any, Any]) -> OrientedBox | None:
    """Return the oriented box that an object names, or None."""
    five = _numbers_under(value, ORIENTED)
    return OrientedBox(*five) if five else None


def _named_box(value: dict[Any, Any], context: Context) -> Box | None:
    if corners := _numbers_under(value, CORNERS):
        xmin, ymin, xmax, ymax = corners
        return _box(xmin, ymin, xmax, ymax, context)
    sized = _numbers_under(value, SIZES)
    return _size(sized, context) if sized else None


def _numbers_under(
    value: dict[Any, Any], ways: tuple[tuple[str, ...], ...]
) -> list[float] | None:
    names = _names_in(value, ways)
    return numbers([value[name] for name in names]) if names else None


def _names_in(
    value: dict[Any, Any], ways: tuple[tuple[str, ...], ...]
) -> tuple[str, ...] | None:
    """Return the first of the ways of which the object has every name, or None."""
    for names in ways:
        if names[0] in value and all(map(value.__contains__, names)):
            return names
    return None


def _size(four: list[float], context: Context) -> Box:
    x, y, width, height = four
    return _box(x, y, x + width, y + height, context)


def _box(x1: float, y1: float, x2: float, y2: float, context: Context) -> Box:
    """Return a box from two opposite corners, given in any order."""
    if x2 < x1:
        x1, x2 = x2, x1
    if y2 < y1:
        y1, y2 = y2, y1
    return Box(x1, y1, x2, y2, context.normalised)
