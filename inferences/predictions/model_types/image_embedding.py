"""Image embedding: a vector for a picture."""

from __future__ import annotations

from inferences.models import TaskType
from inferences.predictions.model_types.base import Embedding, Takes


class ImageEmbedding(Embedding):
    task = TaskType.IMAGE_EMBEDDING
    takes = Takes.FILE
