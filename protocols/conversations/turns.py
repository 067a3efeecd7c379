"""Turns of a conversation, as the protocols write them in requests and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocols.conversations.conversation import Part, PartKind, Turn
from protocols.conversations.parts import (
    CALLS,
    RESULTS,
    Value,
    joined,
    read_audio,
    read_call,
    read_image,
    read_parts,
    read_reasoning,
    read_result,
    unknown,
    word,
)

REASONS = ("finish_reason", "stop_reason", "done_reason", "finishReason")
# Members that hold what was said. The first of them that says something counts.
SAID = (
    "text",
    "generated_text",
    "content",
    "output_text",
    "text_output",
    "response",
    "summary_text",
    "translation_text",
    "answer",
)
THOUGHT = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
# Members that may stand beside content that is null or empty. Such a model said nothing, was
# cut off while it was reasoning, or declined. With any other member that has a value, the
# message is not understood.
BESIDE_NOTHING = {
    *("annotations", "container", "content", "created_at", "done", "eval_count"),
    *("eval_duration", "finish_reason", "id", "load_duration", "model", "name"),
    *("prompt_eval_count", "prompt_eval_duration", "reasoning", "reasoning_content"),
    *("reasoning_details", "role", "stop_sequence", "thinking", "total_duration"),
    *("type", "usage", "finish_reason", "stop_reason", "done_reason"),
}
# Items of OpenAI's responses beside messages, and whose they are.
ASSISTANT, TOOL = "assistant", "tool"


def read_turn(value: Any, role: str = "") -> Turn | None:
    """Return a message as a turn; None for what is no message. ``role`` is for one without."""
    if isinstance(value, str):
        return Turn(role, tuple(read_parts(value)))
    if not isinstance(value, dict):
        return None
    role = word(value.get("role")) or role
    name, reason = word(value.get("name")), finish_reason(value)
    if role in ("tool", "function") and value.get("type") not in RESULTS:
        identifier = word(value.get("tool_call_id")) or word(value.get("id"))
        tool = name or word(value.get("tool_name"))
        parts = tuple(read_result(value.get("content"), tool, identifier, 0))
        return Turn(role, parts, tool, reason)
    parts = tuple(_parts(value))
    if not parts and not _says_nothing(value):
        parts = (unknown(value),)
    return Turn(role, parts, name, reason)


def read_item(value: Any) -> Turn | None:
    """Return an item of OpenAI's responses as a turn: a message, call, result or reasoning."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in CALLS or kind == "reasoning":
        return Turn(ASSISTANT, tuple(read_parts([value])))
    if kind in RESULTS:
        return Turn(TOOL, tuple(read_parts([value])))
    if isinstance(kind, str) and kind != "message" and "role" not in value:
        return Turn("", tuple(read_parts([value])))
    return read_turn(value)


def read_gemini_turn(value: Any) -> Turn | None:
    """Return one of Gemini's contents as a turn; parts of a text are one text."""
    if not isinstance(value, dict):
        return None
    parts = value.get("parts")
    given = parts if isinstance(parts, list) else [parts] if parts else []
    return Turn(word(value.get("role")), tuple(joined(read_parts(given))))


def finish_reason(value: Value) -> str:
    """Return why the model stopped, by whichever name its server has for it."""
    return next((found for n in REASONS if (found := word(value.get(n)))), "")


def _parts(value: Value) -> Iterator[Part]:
    for name in THOUGHT:
        if thought := list(read_reasoning(value.get(name))):
            yield from thought
            break  # servers repeat it under the names of others
    said = list(_said(value))
    yield from said
    audio = value.get("audio")  # a spoken answer
    if isinstance(audio, dict):
        yield read_audio(audio)
    images = value.get("images")  # Ollama's are base64; those of others are parts
    for each in images if isinstance(images, list) else ():
        if isinstance(each, str):
            yield read_image(each)
        else:
            yield from read_parts([each])
    has_refusal = any(part.kind is PartKind.REFUSAL for part in said)
    if (refusal := word(value.get("refusal"))) and not has_refusal:
        yield Part(PartKind.REFUSAL, refusal)
    calls = value.get("tool_calls")
    for each in calls if isinstance(calls, list) else ():
        yield read_call(each) or unknown(each)
    if isinstance(call := value.get("function_call"), dict):
        yield read_call(call) or unknown(call)
    if value.get("type") in CALLS and (found := read_call(value)):
        yield found


def _said(value: Value) -> Iterator[Part]:
    rest: list[Part] = []
    for name in SAID:
        given = value.get(name)
        if not isinstance(given, str | list):
            continue
        parts = list(read_parts(given))
        if any(part.kind is not PartKind.UNKNOWN for part in parts):
            yield from parts
            return
        rest = rest or parts
    yield from rest
    content = value.get("content")
    if isinstance(content, dict):  # Gemini's, or one part that is not in a list
        inner = content.get("parts")
        yield from joined(read_parts(inner if isinstance(inner, list) else [content]))
    elif isinstance(inner := value.get("parts"), list):  # OpenTelemetry's
        yield from read_parts(inner)


def _says_nothing(value: Value) -> bool:
    """Return whether the content is present and empty, and nothing else could be the answer."""
    if any(value.get(name) == "" for name in SAID):
        return True
    if value.get("content", 0) not in (None, []) or "role" not in value:
        return False
    return all(name in BESIDE_NOTHING for name, each in value.items() if each)
