"""Tags of answers that no list of labels says."""

from __future__ import annotations

from django import template

from inferences.models import Inference, RegisteredModel
from inferences.predictions.parsers import Kind
from inferences.web.view_models.answers import Answer
from inferences.web.view_models.contents import (
    Beside,
    Contents,
    beside,
    contents_of,
    summary_of,
)

register = template.Library()

# Metadata that says where an inference belongs, and the words for it.
CONTEXT = {
    "model_version": "version",
    "environment": "environment",
    "batch_id": "batch",
    "conversation_id": "conversation",
}
TITLES = {
    Kind.TEXT_GENERATION: "Text",
    Kind.NAMED_ENTITIES: "Entities",
    Kind.RANKING: "Ranking",
    Kind.REGRESSION: "Prediction",
    Kind.MULTI_OUTPUT: "Outputs",
    Kind.TIME_SERIES: "Forecast",
}


@register.simple_tag
def answer_contents(
    model: RegisteredModel, inference: Inference, answer: Answer
) -> Contents:
    return contents_of(model, inference, answer.content)


@register.filter
def answer_title(answer: Answer) -> str:
    """What the answer is, as the heading over it."""
    if answer.embedding:
        return "Embedding"
    return "Classes" if answer.is_classes else TITLES.get(answer.kind, "Found")


@register.filter
def summary(answer: Answer) -> str:
    """The content of an answer in a few words."""
    return summary_of(answer.content)


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
