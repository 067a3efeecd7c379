"""Generated text: a text, turns of a chat, or the answer of an OpenAI-compatible server."""

from __future__ import annotations

from typing import Any

from inferences.deconstruction.context import UNSTORABLE, Context
from inferences.deconstruction.outputs import without_batch
from inferences.deconstruction.values import Deconstructed, Kind, Message, Text

MESSAGES_MAX = 1000
WORD_CHARS = 64
TEXT = ("text", "generated_text", "content", "output_text")


def read(value: Any, context: Context) -> Deconstructed | None:
    """By its form when it has choices, else of a model that generates text."""
    is_chat = isinstance(value, dict) and isinstance(value.get("choices"), list)
    if not is_chat and "Text Generation" not in context.task_type:
        return None
    said = _of_choices(value) if is_chat else _of_part(value)
    if said is None or not said.messages:
        return None
    return Deconstructed(Kind.TEXT_GENERATION, understood=True, content=said)


def _of_choices(value: dict[Any, Any]) -> Text | None:
    messages, reasons = [], []
    for choice in value["choices"][:MESSAGES_MAX]:
        if not isinstance(choice, dict):
            return None
        inner = choice.get("message", choice)
        if message := _message(inner):
            messages.append(message)
        reasons.append(_word(choice.get("finish_reason")))
    return Text(tuple(messages), next(filter(None, reasons), ""), _tokens(value))


def _of_part(value: Any) -> Text | None:
    if isinstance(value, str):
        return Text((Message("", _clean(value)),))
    if isinstance(value, list):
        messages = [_message(each) for each in without_batch(value)[:MESSAGES_MAX]]
        return None if None in messages else Text(tuple(messages))
    if not isinstance(value, dict):
        return None
    reason, tokens = _word(value.get("finish_reason")), _tokens(value)
    turns = value.get("messages", value.get("texts"))
    if isinstance(turns, list):
        inner = _of_part(turns)
        return inner and Text(inner.messages, reason, tokens)
    message = _message(value)
    return message and Text((message,), reason, tokens)


def _message(value: Any) -> Message | None:
    if isinstance(value, str):
        return Message("", _clean(value))
    if not isinstance(value, dict):
        return None
    for name in TEXT:
        inner = value.get(name)
        if isinstance(inner, list):  # parts of a message, of which some are text
            parts = [p.get("text") if isinstance(p, dict) else p for p in inner]
            texts = [part for part in parts if isinstance(part, str)]
            inner = "\n".join(texts) if texts else None
        if isinstance(inner, str):
            return Message(_word(value.get("role")), _clean(inner))
    return None


def _tokens(value: dict[Any, Any]) -> int | None:
    usage = value.get("usage")
    said = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return said if type(said) is int and 0 <= said < 2**31 else None


def _word(value: Any) -> str:
    return _clean(value)[:WORD_CHARS] if isinstance(value, str) else ""


def _clean(text: str) -> str:
    return UNSTORABLE.sub("\ufffd", text)
