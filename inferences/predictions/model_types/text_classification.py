"""Text classification: the class of a text."""

from __future__ import annotations

from inferences.models import TaskType
from inferences.predictions.model_types.base import Classification, Takes
from inferences.predictions.parsers.values import Kind


class TextClassification(Classification):
    task = TaskType.TEXT_CLASSIFICATION
    kind = Kind.TEXT_CLASSIFICATION
    action = "predict"
    takes = Takes.TEXT
    has_prompt = True
