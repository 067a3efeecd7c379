"""Generated text, in the forms that servers of language models answer.

``protocols.conversations`` reads them; here their choices become the text of an answer.
"""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers.context import UNSTORABLE, Context
from inferences.predictions.parsers.values import (
    Deconstructed,
    Kind,
    Message,
    Text,
    ToolCall,
)
from protocols.conversations import Part, PartKind, Turn, Usage
from protocols.conversations.answers import Answered, read_answer
from protocols.streams.forms import Candidates

MESSAGES_MAX = 1000
CALLS_MAX = 1000
WORD_CHARS = 64
# What is text of a message, if it has any; a spoken answer has a transcript.
WRITTEN = (PartKind.TEXT, PartKind.AUDIO)


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the text of a model that generates text, or None for another form."""
    found = read_answer(value)
    if found is None or not found.choices:
        return None
    # Of choices the first is the answer, so none may be skipped. Parts of Gemini's candidates
    # that are not known stand beside others.
    turns = (*found.before, *found.choices)[:MESSAGES_MAX]
    if not all(turn.is_understood for turn in turns) and not _is_gemini(value):
        return None
    text = Text(
        tuple(map(_message, turns)),
        _reason(found),
        _tokens(found.usage),
        found.are_choices,
    )
    return Deconstructed(Kind.TEXT_GENERATION, understood=True, content=text)


def read_completion(value: Any, context: Context) -> Deconstructed | None:
    """Return the text of choices or candidates, which are recognised by their form."""
    return read(value, context) if _has_choices(value) or _is_gemini(value) else None


def _has_choices(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("choices"), list)


def _is_gemini(value: Any) -> bool:
    """Return whether these are candidates, whole or as the list of pieces that is streamed."""
    if isinstance(value, list):
        return len(value) > 1 and all(map(Candidates.knows, value))
    return Candidates.knows(value)


def _message(turn: Turn) -> Message:
    texts = [part.text for part in turn.parts if part.kind in WRITTEN and part.text]
    calls = [part for part in turn.parts if part.kind is PartKind.TOOL_CALL]
    refusals = [part.text for part in turn.parts if part.kind is PartKind.REFUSAL]
    results = [part.text for part in turn.parts if part.kind is PartKind.TOOL_RESULT]
    named = tuple(map(_call, calls[:CALLS_MAX]))
    written = texts or refusals or results or list(map(str, named))
    text = _clean("\n".join(written))
    return Message(_word(turn.role), text, named, is_refusal=bool(refusals))


def _call(part: Part) -> ToolCall:
    return ToolCall(_clean(part.name), _clean(part.arguments))


def _reason(found: Answered) -> str:
    reasons = (turn.finish_reason for turn in found.choices)
    return next(filter(None, map(_word, reasons)), "")


def _tokens(usage: Usage | None) -> int | None:
    tokens = usage.completion_tokens if usage else None
    return tokens if tokens is not None and tokens < 2**31 else None


def _word(text: str) -> str:
    return _clean(text)[:WORD_CHARS]


def _clean(text: str) -> str:
    return UNSTORABLE.sub("\ufffd", text)
