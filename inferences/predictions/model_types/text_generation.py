"""Text generation: text, chats and tool calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings

from inferences.models import MetadataType, TaskType
from inferences.predictions.model_types.base import (
    PREDICTION,
    SUMMARY_CHARS,
    Column,
    Fact,
    ModelType,
    Takes,
)
from inferences.predictions.parsers import texts
from inferences.predictions.parsers.values import Kind, Text


class TextGeneration(ModelType[Text]):
    task = TaskType.TEXT_GENERATION
    kind = Kind.TEXT_GENERATION
    takes = Takes.TEXT
    has_prompt = True
    reader = staticmethod(texts.read)
    content = Text
    forms = ("text",)
    columns = (Column("text", "str", "the text; several are parted by a blank line"),)
    item = ""
    title = "Text"
    mocks = ("chat", "text-completion")

    def facts(self, content: Text) -> Iterator[Fact]:
        yield PREDICTION, MetadataType.STRING, _beginning(content.answer.text)
        if content.finish_reason:
            yield "finish_reason", MetadataType.STRING, content.finish_reason
        if content.tokens is not None:
            yield "completion_tokens", MetadataType.INT, str(content.tokens)

    def values(self, content: Text) -> dict[str, Any]:
        return {"text": "\n\n".join(message.text for message in content.messages)}

    def summary(self, content: Text) -> str:
        return content.answer.text[:SUMMARY_CHARS]


def _beginning(text: str) -> str:
    """Return as much of a text as a metadata value may hold, cut between characters."""
    return text.encode()[: settings.ISTORE_METADATA_VALUE_MAX_BYTES].decode(
        errors="ignore"
    )
