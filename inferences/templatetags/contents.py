"""Tags of answers that no list of labels says."""

from __future__ import annotations

from django import template

from inferences.models import Inference, RegisteredModel
from inferences.predictions.model_types import type_of_content, type_of_kind
from inferences.predictions.parsers.values import Content, Kind
from inferences.web.view_models.answers import Answer
from inferences.web.view_models.contents import (
    Beside,
    Contents,
    beside,
    contents_of,
)

register = template.Library()

# Metadata that says where an inference belongs, and the words for it.
CONTEXT = {
    "model_version": "version",
    "environment": "environment",
    "batch_id": "batch",
    "conversation_id": "conversation",
}


@register.simple_tag
def answer_contents(
    model: RegisteredModel, inference: Inference, content: Content
) -> Contents:
    return contents_of(model, inference, content)


@register.filter
def answer_title(answer: Answer) -> str:
    """What the answer is, as the heading over it."""
    kind = Kind.EMBEDDING if answer.embedding else answer.kind
    return type_of_kind(kind).title


@register.filter
def summary(answer: Answer) -> str:
    """The content of an answer in a few words."""
    return type_of_content(answer.content).summary(answer.content)


@register.simple_tag
def beside_answer(inference: Inference) -> Beside:
    return beside(inference)


@register.simple_tag
def belonging(inference: Inference) -> list[tuple[str, str, str]]:
    """Version, environment, batch and conversation: word, value, and the comparison
    that finds the others of it."""
    given = inference.payload.metadata
    return [
        (word, given[key][1], f"{key}={given[key][1]}")
        for key, word in CONTEXT.items()
        if key in given and given[key][0] == "string"
    ]


@register.filter
def figure(value: float | str | None) -> str:
    """A number as short as it can be, a text as it is."""
    if value is None:
        return "—"
    return value if isinstance(value, str) else f"{value:.6g}"
