"""Oriented object detection: labelled boxes that are rotated in the picture."""

from __future__ import annotations

from inferences.models import TaskType
from inferences.predictions.model_types.base import CLASSES, Column, ThingsInPicture
from inferences.predictions.parsers.values import Kind, OrientedBox


class OrientedObjectDetection(ThingsInPicture):
    task = TaskType.ORIENTED_OBJECT_DETECTION
    kind = Kind.ORIENTED_OBJECT_DETECTION
    shape = OrientedBox
    forms = ("boxes", "labels")
    columns = (
        *CLASSES,
        Column("boxes", "json", "a list of {label, score, cx, cy, w, h, r}"),
    )
    item = "box"
    mocks = ("oriented-detection",)
