"""Image classification: the class of a picture."""

from __future__ import annotations

from inferences.models import TaskType
from inferences.predictions.model_types.base import Classification, Takes
from inferences.predictions.parsers.values import Kind


class ImageClassification(Classification):
    task = TaskType.IMAGE_CLASSIFICATION
    kind = Kind.IMAGE_CLASSIFICATION
    takes = Takes.FILE
    mocks = ("image-classification",)
