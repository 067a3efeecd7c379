"""Tags of answers that no list of labels says."""

from __future__ import annotations

from collections.abc import Sequence

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString

from inferences.models import Inference, RegisteredModel
from inferences.predictions.model_types import type_of_kind
from inferences.predictions.parsers.values import Content, Kind, Text
from inferences.web.answer_markup import write_answer
from inferences.web.input_markup import write_bars, write_input
from inferences.web.picture_markup import write_picture
from inferences.web.view_models.answers import Answer, Found
from inferences.web.view_models.contents import (
    Beside,
    Contents,
    beside,
    contents_of,
)
from inferences.web.view_models.inputs import Look
from inferences.web.view_models.signed_bars import Bars
from inferences.web.view_models.word_diff import Piece

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
) -> Contents | None:
    """The content of an answer that is no text: that one is shown as a conversation."""
    return None if isinstance(content, Text) else contents_of(model, inference, content)


@register.filter
def answer_title(answer: Answer) -> str:
    """What the answer is, as the heading over it."""
    kind = Kind.EMBEDDING if answer.embedding else answer.kind
    return type_of_kind(kind).title


CHANGES = {"removed": "<del>{}</del>", "added": "<ins>{}</ins>"}  # others as they are


@register.filter
def as_changes(pieces: Sequence[Piece]) -> SafeString:
    """Return pieces of two texts with what was removed and added marked."""
    if not pieces:
        return SafeString('<span class="soft">(empty)</span>')
    written = (
        CHANGES.get(each.kind, "{}").format(escape(each.text)) for each in pieces
    )
    return SafeString("".join(written))


@register.filter
def render_answer(answer: Answer) -> SafeString:
    """Return an answer in short."""
    return write_answer(answer)


@register.filter
def render_input(look: Look) -> SafeString:
    """Return an input that is no picture."""
    return write_input(look)


@register.simple_tag
def bars(plot: Bars, kind: str, label: str = "") -> SafeString:
    """A small plot."""
    return write_bars(plot, kind, label)


@register.simple_tag
def large_picture(
    inference: Inference,
    look: Look,
    answer: Answer,
    truth: Sequence[Found],
    source: str,
) -> SafeString:
    """The picture on the page of one inference."""
    return write_picture(
        look,
        answer,
        source,
        look.in_page,
        "1280",
        alt=f"The input of {inference.inference_id}",
        tags=answer.tagged_large,
        truth=truth,
        is_lazy=False,
    )


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
