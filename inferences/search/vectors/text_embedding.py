"""Embed texts as vectors, by the embedder that ``services`` registers when it starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

from inferences.models import RegisteredModel
from istore.best_effort_cache import recall, remember
from istore.hooks import Hook

SECONDS = 300  # how long the vector of a text is cached

# Returns the vector of a text by the service that the model names. Raises StoreError.
Embedder = Callable[[RegisteredModel, str], Sequence[float]]

embedders: Hook[Embedder] = Hook()  # registered by the app that has the services


def embed(model: RegisteredModel, text: str) -> Sequence[float] | None:
    """Return the vector of the text, or None when the model names no service for it.

    The vector is cached for five minutes, because the pages of a list, and the inferences
    opened from it, need the vector of the same text.
    """
    embedder = embedders.single
    if not model.text_embedding_service or embedder is None:
        return None
    vector: Sequence[float] | None = recall(_key(model, text))
    if vector is None:
        vector = embedder(model, text)
        remember(_key(model, text), vector, SECONDS)
    return vector


def is_remembered(model: RegisteredModel, text: str) -> bool:
    """Return whether ``embed`` has the vector without calling a service."""
    return recall(_key(model, text)) is not None


def _key(model: RegisteredModel, text: str) -> str:
    said = json.dumps([model.project_id, model.text_embedding_service, text])
    return f"text-embedding:{hashlib.sha256(said.encode()).hexdigest()}"
