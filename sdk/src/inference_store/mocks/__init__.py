"""Mocks: services that answer with simulated inferences, for tests and demonstrations.

    from inference_store import mocks
    mocks.TextCompletion(seed=3).infer({"text": "A ship enters the harbour and"})
    mocks.create("object-detection", {"seed": 3, "latency": 0.2})

``python -m inference_store.mocks serve chat --port 9001`` runs one as a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from inference_store.mocks.base import (
    BadRequest,
    Mock,
    MockError,
    Options,
    SimulatedFailure,
)
from inference_store.mocks.pictures import (
    ImageClassification,
    ObjectDetection,
    OrientedDetection,
    Segmentation,
)
from inference_store.mocks.tables import TabularClassification, TabularRegression
from inference_store.mocks.texts import Chat, TextCompletion, TextEmbedding

__all__ = [
    "BadRequest",
    "Chat",
    "ImageClassification",
    "Mock",
    "MockError",
    "ObjectDetection",
    "Options",
    "OrientedDetection",
    "Segmentation",
    "SimulatedFailure",
    "TabularClassification",
    "TabularRegression",
    "TextCompletion",
    "TextEmbedding",
    "create",
    "find",
    "register",
    "registry",
]

M = TypeVar("M", bound=type[Mock])

# Names in requests are looked up here and never imported, so no request can load code.
registry: dict[str, type[Mock]] = {
    mock.name: mock
    for mock in (
        Chat,
        ImageClassification,
        ObjectDetection,
        OrientedDetection,
        Segmentation,
        TabularClassification,
        TabularRegression,
        TextCompletion,
        TextEmbedding,
    )
}


def register(mock: M) -> M:
    """Add a mock class to the registry, and return it; may be used as a decorator.

    Parameters:
        mock: a subclass of ``Mock`` with a name that is not taken.

    Returns:
        The class.

    Raises:
        ValueError: the name is taken by another class.
    """
    if registry.setdefault(mock.name, mock) is not mock:
        raise ValueError(f"There is a mock named {mock.name!r} already.")
    return mock


def find(name: str) -> type[Mock]:
    """Return the mock class of a name: ``text-completion``, or ``TextCompletion``.

    Raises:
        KeyError: there is no mock of this name.
    """
    if name in registry:
        return registry[name]
    for mock in registry.values():
        if mock.__name__ == name:
            return mock
    raise KeyError(f"There is no mock {name!r:.60}; there are {', '.join(registry)}.")


def create(name: str, options: Mapping[str, Any] | None = None) -> Mock:
    """Create a mock by its name, with options as a request has them.

    Parameters:
        name: as for ``find``.
        options: ``seed``, ``latency``, ``jitter``, ``error_rate`` and those of the mock.

    Returns:
        The mock.

    Raises:
        KeyError: there is no mock of the name.
        ValueError: an option is unknown or not valid (pydantic's ValidationError).
    """
    return find(name)(**dict(options or {}))
