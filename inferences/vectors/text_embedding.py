"""Texts as vectors, by whoever can make them: the services say so when they start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inferences.models import RegisteredModel

# The vector of a text by the service that the model names. Raises Problem.
Embedder = Callable[[RegisteredModel, str], Sequence[float]]

_embedders: list[Embedder] = []


def register(embedder: Embedder) -> None:
    """Called once, when the application that has the services is ready."""
    _embedders[:] = [embedder]


def embed(model: RegisteredModel, text: str) -> Sequence[float] | None:
    """The vector of the text; None when the model names no service that makes it."""
    if not model.text_embedding_service or not _embedders:
        return None
    return _embedders[0](model, text)
