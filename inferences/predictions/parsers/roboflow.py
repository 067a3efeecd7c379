"""Roboflow's answers: ``predictions`` beside ``image``, with boxes by their centre.

https://inference.roboflow.com: ``x`` and ``y`` of a box are its centre in pixels; an
instance segmentation has its outline in ``points``; a multi-label classification has an
object of name and confidence.
"""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers import items
from inferences.predictions.parsers.context import Context, is_complete, number
from inferences.predictions.parsers.values import Deconstructed, Kind

CENTRED = ("x", "y", "width", "height")
OWN_NAMES = ("confidence", "class")


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the detections or classes of an answer of Roboflow, or None for another form."""
    predictions = _predictions(value)
    if predictions is None:
        return None
    if isinstance(predictions, dict):
        rows = [_label(name, each) for name, each in predictions.items()]
    else:
        rows = [_from_corner(each) for each in predictions]
    if not rows and context.kind is Kind.IMAGE_SEGMENTATION:
        return Deconstructed(Kind.IMAGE_SEGMENTATION, understood=True)
    if not rows:
        return Deconstructed(Kind.OBJECT_DETECTION, understood=True)
    return items.read(rows, context)


def _predictions(value: Any) -> list[Any] | dict[Any, Any] | None:
    """Return Roboflow's predictions, recognised by the picture's size or by their keys."""
    if isinstance(value, dict):
        image = value.get("image")
        is_sized = isinstance(image, dict) and {"width", "height"} <= image.keys()
        predictions = value.get("predictions")
        if is_sized and isinstance(predictions, dict):
            return predictions
        if not isinstance(predictions, list):
            return None
        return predictions if is_sized or _are_own(predictions) else None
    return value if isinstance(value, list) and _are_own(value) else None


def _are_own(rows: list[Any]) -> bool:
    return bool(rows) and all(
        isinstance(row, dict) and row.keys() >= {*CENTRED, *OWN_NAMES} for row in rows
    )


def _from_corner(row: Any) -> Any:
    """Return the same prediction with its box by corners, or with its outline alone."""
    if not isinstance(row, dict):
        return row
    kept = {name: each for name, each in row.items() if name not in CENTRED}
    if isinstance(row.get("points"), list) and len(row["points"]) >= 3:
        return kept | {"contours": [row["points"]]}
    sizes = [number(row.get(name)) for name in CENTRED]
    if not is_complete(sizes):
        return row if row.keys().isdisjoint(CENTRED) else kept | {"bbox": []}
    x, y, width, height = sizes
    left, top = x - width / 2, y - height / 2
    return kept | {
        "xmin": left,
        "ymin": top,
        "xmax": left + width,
        "ymax": top + height,
    }


def _label(name: Any, value: Any) -> dict[str, Any]:
    inner = value if isinstance(value, dict) else {"confidence": value}
    return {"label": name, "confidence": inner.get("confidence")}
