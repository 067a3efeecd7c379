"""Embed texts by the service that a model names, for the search by text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from inferences.models import RegisteredModel
from istore.errors import Conflict, UpstreamFailed
from services import calling
from services.models import InferenceService, Status

ACTOR = "search by text"
PATHS = (("embedding",), ("data", 0, "embedding"), ("outputs", 0, "data"))


def embed(model: RegisteredModel, text: str) -> Sequence[float]:
    """Return the vector of a text, from a ready session of the service that the model names.

    Raises ``Conflict`` if no session is ready, and ``UpstreamFailed`` for an answer without a
    vector. It is a call like any other, and is stored if the service says so.
    """
    session = (
        _service(model)
        .sessions.select_related("service__project")
        .filter(status=Status.READY)
        .order_by("-ready_at")
        .first()
    )
    if session is None:
        message = "No session of the model's text embedding service is ready."
        raise Conflict("text-embedding-not-ready", message)
    called = calling.call(ACTOR, session, {"text": text})
    if called.error:
        message = f"The text embedding service did not answer: {called.error}"
        raise UpstreamFailed("upstream-invalid", message)
    vector = vector_in(json.loads(called.text))
    if vector is None:
        message = "The text embedding service answered without a vector."
        raise UpstreamFailed("upstream-invalid", message)
    return vector


def _service(model: RegisteredModel) -> InferenceService:
    services = InferenceService.objects.filter(project=model.project_id)
    try:
        found = services.filter(pk=UUID(model.text_embedding_service)).first()
    except ValueError:
        found = None
    if found is None:
        message = "The project has not the text embedding service that the model names."
        raise Conflict("text-embedding-not-ready", message)
    return found


def vector_in(answer: Any) -> list[float] | None:
    """Return the numbers of an answer, in any form that embedding servers use; else None."""
    if isinstance(answer, list) and len(answer) == 1:
        return vector_in(answer[0])
    if _is_vector(answer):
        return [float(each) for each in answer]
    for path in PATHS:
        found = _at(answer, path)
        if _is_vector(found):
            return [float(each) for each in found]
    return None


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and {*map(type, value)} <= {int, float}
    )
