"""Texts as vectors, by whoever can make them: the services say so when they start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

from inferences.models import RegisteredModel
from istore.best_effort_cache import recall, remember

SECONDS = 300

# The vector of a text by the service that the model names. Raises Problem.
Embedder = Callable[[RegisteredModel, str], Sequence[float]]

_embedders: list[Embedder] = []


def register(embedder: Embedder) -> None:
    """Called once, when the application that has the services is ready."""
    _embedders[:] = [embedder]


def embed(model: RegisteredModel, text: str) -> Sequence[float] | None:
    """The vector of the text; None when the model names no service that makes it.

    The service is asked once in five minutes: the pages of a list, and the inferences
    that are opened from it, are of the same text.
    """
    if not model.text_embedding_service or not _embedders:
        return None
    vector = recall(_key(model, text))
    if vector is None:
        vector = _embedders[0](model, text)
        remember(_key(model, text), vector, SECONDS)
    return vector


def is_remembered(model: RegisteredModel, text: str) -> bool:
    """Whether ``embed`` has the vector without asking a service."""
    return recall(_key(model, text)) is not None


def _key(model: RegisteredModel, text: str) -> str:
    said = json.dumps([model.project_id, model.text_embedding_service, text])
    return f"text-embedding:{hashlib.sha256(said.encode()).hexdigest()}"
