"""Object detection: labelled boxes along the edges of a picture."""

from __future__ import annotations

from inferences.models import TaskType
from inferences.predictions.model_types.base import CLASSES, Column, ThingsInPicture
from inferences.predictions.parsers.values import Box, Kind


class ObjectDetection(ThingsInPicture):
    task = TaskType.OBJECT_DETECTION
    kind = Kind.OBJECT_DETECTION
    shape = Box
    forms = ("boxes", "labels")
    columns = (
        *CLASSES,
        Column("boxes", "json", "a list of {label, score, xmin, ymin, xmax, ymax}"),
    )
    item = "box"
    mocks = ("object-detection",)
