"""An embedding: one list of numbers."""

from __future__ import annotations

from typing import Any

from inferences.deconstruction.context import Context, numbers
from inferences.deconstruction.outputs import without_batch
from inferences.deconstruction.values import Deconstructed, Kind

NAMES = ("embedding", "embeddings")


def read(value: Any, context: Context) -> Deconstructed | None:
    """Taken for one by its name, by the model's task, or by its length."""
    named = "Embedding" in context.task_type
    if isinstance(value, dict):
        found = [value[name] for name in NAMES if name in value]
        if not found:
            return None
        value, named = found[0], True
    vector = numbers(without_batch(value))
    if not vector or not (named or len(vector) == context.embedding_size):
        return None
    if complaint := _complaint(len(vector), context):
        return Deconstructed(warnings=[complaint])
    return Deconstructed(Kind.EMBEDDING, embedding=vector, understood=True)


def _complaint(size: int, context: Context) -> str | None:
    if context.embedding_size and size != context.embedding_size:
        return (
            f"The embedding has {size} numbers, those of the model have "
            f"{context.embedding_size}."
        )
    if size > context.max_embedding:
        return f"The embedding has {size} numbers, more than {context.max_embedding}."
    return None
