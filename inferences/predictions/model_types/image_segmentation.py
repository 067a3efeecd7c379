"""Image segmentation: labelled outlines or masks in a picture."""

from __future__ import annotations

from inferences.models import TaskType
from inferences.predictions.model_types.base import CLASSES, Column, ThingsInPicture
from inferences.predictions.parsers.values import Kind, Polygons


class ImageSegmentation(ThingsInPicture):
    task = TaskType.IMAGE_SEGMENTATION
    kind = Kind.IMAGE_SEGMENTATION
    shape = Polygons
    forms = ("polygons", "labels")
    columns = (
        *CLASSES,
        Column("polygons", "json", "a list of {label, score, contours or mask}"),
    )
    item = "polygon"
    mocks = ("segmentation",)
