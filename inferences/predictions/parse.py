"""Parse answers of registered models, with the settings of the model."""

from __future__ import annotations

from typing import Any, Protocol

from django.conf import settings

from inferences.predictions.parsers import Deconstructed, deconstruct


class AnswerSettings(Protocol):
    """What decides how an answer is parsed; a registered model has it, for example."""

    @property
    def task_type(self) -> str: ...
    @property
    def class_labels(self) -> list[str]: ...
    @property
    def first_class_number(self) -> int: ...
    @property
    def box_format(self) -> str: ...
    @property
    def embedding_size(self) -> int: ...


def deconstructed(model: AnswerSettings, answer: Any) -> Deconstructed:
    """Return the parsed answer of the model: ``deconstruct`` within this store's limits.

    Empty text means that there is no answer, and gives an empty value.
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
