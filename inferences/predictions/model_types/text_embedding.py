"""Text embedding: a vector for a text."""

from __future__ import annotations

from inferences.models import TaskType
from inferences.predictions.model_types.base import Embedding, Takes


class TextEmbedding(Embedding):
    task = TaskType.TEXT_EMBEDDING
    takes = Takes.TEXT
    has_prompt = True
    mocks = ("text-embedding",)
