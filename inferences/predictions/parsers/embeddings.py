"""An embedding: a list of numbers, alone or in an answer of OpenAI's protocol."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

from inferences.predictions.parsers.context import Context, numbers
from inferences.predictions.parsers.values import Deconstructed, Kind
from protocols.json_text import without_batch

BEYOND = (
    "The embedding has a number that is not finite, or that four bytes do not hold."
)
VANISHED = (
    "The embedding is shorter than four bytes hold: all of its numbers would be 0."
)
NAMES = ("embedding", "embeddings")


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the embedding, or None for another form.

    A list is an embedding by its name, by the model's task, or by its length.
    """
    named = context.kind is Kind.EMBEDDING
    if (given := _of_openai(value)) is not None:
        value, named = given, True
    elif isinstance(value, dict):
        found = [value[name] for name in NAMES if name in value]
        if not found:
            return None
        value, named = found[0], True
    given = without_batch(_decode(value))
    vector = numbers(given)
    if vector is None and named and _is_of_numbers(given):
        return Deconstructed(warnings=[BEYOND])
    if vector and any(given) and not any(vector):
        return Deconstructed(warnings=[VANISHED])
    if not vector or not (named or len(vector) == context.embedding_size):
        return None
    if complaint := _complaint(len(vector), context):
        return Deconstructed(warnings=[complaint])
    return Deconstructed(Kind.EMBEDDING, embedding=vector, understood=True)


def _is_of_numbers(value: Any) -> bool:
    return isinstance(value, list) and {*map(type, value)} <= {int, float}


def _of_openai(value: Any) -> Any:
    """Return the vector of ``{"data": [{"index": 0, "embedding": …}]}``; None for another form.

    Several vectors are the answer to several inputs. If such a call could not be split,
    there is no single vector to store.
    """
    if not isinstance(value, dict) or not isinstance(rows := value.get("data"), list):
        return None
    if len(rows) != 1 or not isinstance(rows[0], dict):
        return None
    return rows[0].get("embedding")


def _decode(value: Any) -> Any:
    """Return the numbers of OpenAI's ``encoding_format: base64``: 32-bit floats, little-endian."""
    if not isinstance(value, str):
        return value
    try:
        content = base64.b64decode(value, validate=True)
        return np.frombuffer(content, dtype="<f4").tolist()
    except (binascii.Error, ValueError):
        return value


def _complaint(size: int, context: Context) -> str | None:
    if context.embedding_size and size != context.embedding_size:
        return (
            f"The embedding has {size} numbers, those of the model have "
            f"{context.embedding_size}."
        )
    if size > context.max_embedding:
        return f"The embedding has {size} numbers, more than {context.max_embedding}."
    return None
