"""Answers of registered models, taken apart as the models' settings say."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from inferences.models import RegisteredModel
from inferences.predictions.parsers import Deconstructed, deconstruct


def deconstructed(model: RegisteredModel, answer: Any) -> Deconstructed:
    """What an answer of the model says: ``deconstruct`` within this store's limits.

    Empty text is an answer that is not there; it comes to an empty value.
    """
    if answer == "":
        return Deconstructed()
    return deconstruct(
        answer,
        task_type=model.task_type,
        class_labels=model.class_labels,
        box_format=model.box_format,
        embedding_size=model.embedding_size,
        max_detections=settings.ISTORE_DETECTIONS_MAX,
        max_embedding=settings.ISTORE_EMBEDDING_MAX,
        first_class_number=model.first_class_number,
    )
