"""Parsers of single forms of answers, and the values that they return.

A parser returns None for a form that is not its own. ``inferences.predictions.parse`` tries
them one after the other.
"""

from __future__ import annotations

from inferences.predictions.parsers.values import (
    Box,
    Deconstructed,
    Detection,
    Kind,
    Mask,
    OrientedBox,
    Polygons,
)

__all__ = [
    "Box",
    "Deconstructed",
    "Detection",
    "Kind",
    "Mask",
    "OrientedBox",
    "Polygons",
]
