"""Generated text, in the forms that servers of language models answer.

These forms are read: a text; turns of a chat; chat completions, completions and responses
of OpenAI's protocol; Anthropic's messages; Gemini's candidates, whole or as the list of
pieces that it streams; Ollama's chat and generate; the pipelines of Hugging Face
(``generated_text``, ``summary_text``, ``translation_text``, ``answer``); Triton's
``text_output``.
"""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers.context import (
    UNSTORABLE,
    Context,
    as_json,
    is_complete,
)
from inferences.predictions.parsers.outputs import without_batch
from inferences.predictions.parsers.values import (
    Deconstructed,
    Kind,
    Message,
    Text,
    ToolCall,
)
from protocols.streams.forms import Candidates

MESSAGES_MAX = 1000
CALLS_MAX = 1000
WORD_CHARS = 64
TEXT = (
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
# The number of generated tokens, by the names of OpenAI and Anthropic.
TOKENS = ("completion_tokens", "output_tokens")
REASONS = ("finish_reason", "stop_reason", "done_reason")
# Members that may stand beside content that is null or empty. Such a model said nothing, was
# cut off while it was reasoning, or declined. With any other member that has a value, the
# message is not understood.
BESIDE_NOTHING = {
    *("annotations", "container", "content", "created_at", "done", "eval_count"),
    *("eval_duration", "finish_reason", "id", "load_duration", "model", "name"),
    *("prompt_eval_count", "prompt_eval_duration", "reasoning", "reasoning_content"),
    *("reasoning_details", "role", "stop_sequence", "thinking", "total_duration"),
    *("type", "usage", *REASONS),
}


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the text of a model that generates text, or None for another form."""
    if (found := read_completion(value, context)) or _has_choices(value):
        return found
    return _make_text(_of_part(value))


def read_completion(value: Any, context: Context) -> Deconstructed | None:
    """Return the text of choices or candidates, which are recognised by their form."""
    content = _of_gemini(value, context)
    if content is None and _has_choices(value):
        content = _of_choices(value)
    return _make_text(content)


def _has_choices(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("choices"), list)


def _make_text(content: Text | None) -> Deconstructed | None:
    if content is None or not content.messages:
        return None
    return Deconstructed(Kind.TEXT_GENERATION, understood=True, content=content)


def _of_choices(value: dict[Any, Any]) -> Text | None:
    messages, reasons = [], []
    for choice in value["choices"][:MESSAGES_MAX]:
        if not isinstance(choice, dict):
            return None
        inner = choice.get("message", choice)
        message = _message(inner)
        if message is None:  # the first choice is the answer, so none may be skipped
            return None
        messages.append(message)
        reasons.append(_reason(choice))
    reason = next(filter(None, reasons), "")
    return Text(tuple(messages), reason, _tokens(value), are_choices=True)


def _of_part(value: Any) -> Text | None:
    if isinstance(value, str):
        return Text((Message("", _clean(value)),))
    if isinstance(value, list):
        messages = [_message(each) for each in without_batch(value)[:MESSAGES_MAX]]
        return Text(tuple(messages)) if is_complete(messages) else None
    if not isinstance(value, dict):
        return None
    reason, tokens = _reason(value), _tokens(value)
    turns = value.get("messages", value.get("texts"))
    if isinstance(turns, list):
        inner = _of_part(turns)
        return inner and Text(inner.messages, reason, tokens)
    message = _message_of_items(value) or _message(value.get("message", value))
    return Text((message,), reason, tokens) if message else None


def _message_of_items(value: dict[Any, Any]) -> Message | None:
    """Return the message of OpenAI's responses: items of text, reasoning and function calls."""
    items = value.get("output")
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        return None
    parts = [message for item in items if (message := _message(item)) is not None]
    if not parts:
        return None
    texts = [each.text for each in parts if each.text and not each.tool_calls]
    calls = tuple(call for each in parts for call in each.tool_calls)
    role = next((each.role for each in parts if each.role), "")
    is_refusal = any(each.is_refusal for each in parts)
    return _make(role, "\n".join(texts), calls, is_refusal=is_refusal)


def _message(value: Any) -> Message | None:
    if isinstance(value, str):
        return Message("", _clean(value))
    if not isinstance(value, dict):
        return None
    calls = _tool_calls(value)
    text, role = _text(value), _word(value.get("role"))
    refusal = _refusal(value)
    if text or calls:
        return _make(role, text or "", calls, is_refusal=refusal is not None)
    if refusal is not None:
        return _make(role, refusal, is_refusal=True)
    if text is None and _says_nothing(value):
        text = ""
    return None if text is None else _make(role, text)


def _says_nothing(value: dict[Any, Any]) -> bool:
    """Return whether the content is present and empty, and nothing else could be the answer."""
    if value.get("content", 0) not in (None, []) or "role" not in value:
        return False
    return all(name in BESIDE_NOTHING for name, each in value.items() if each)


def _of_gemini(value: Any, context: Context) -> Text | None:
    """Return the candidates, or the reason why the prompt was blocked; None for another form.

    The format is described at https://ai.google.dev/api/generate-content.
    """
    if isinstance(value, list) and len(value) > 1 and all(map(Candidates.knows, value)):
        form = Candidates()
        try:
            for piece in value:
                form.take(piece)
            value = form.answer()
        except (ValueError, RecursionError):  # pieces that do not form one answer
            return None
    if not Candidates.knows(value):
        return None
    tokens = _count(value.get("usageMetadata"), "candidatesTokenCount")
    candidates = value.get("candidates") or []
    if not candidates:
        feedback = value["promptFeedback"]
        reason = _word(feedback.get("blockReason"))
        return Text(
            (Message("", "", is_refusal=True),), reason, tokens, are_choices=True
        )
    messages = tuple(map(_of_candidate, candidates[:MESSAGES_MAX]))
    reasons = (_word(each.get("finishReason")) for each in candidates)
    return Text(messages, next(filter(None, reasons), ""), tokens, are_choices=True)


def _of_candidate(candidate: dict[Any, Any]) -> Message:
    content = candidate.get("content") or {}
    parts = [part for part in content.get("parts") or () if isinstance(part, dict)]
    said = [part for part in parts if not part.get("thought")]
    texts = [part["text"] for part in said if isinstance(part.get("text"), str)]
    given = [{"arguments": p["args"], **p} if "args" in p else p for p in _calls(parts)]
    calls = tuple(call for each in given[:CALLS_MAX] if (call := _tool_call(each)))
    return _make(_word(content.get("role")), "".join(texts), calls)


def _calls(parts: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
    calls = (part.get("functionCall") for part in parts)
    return [call for call in calls if isinstance(call, dict)]


def _make(
    role: str,
    text: str,
    calls: tuple[ToolCall, ...] = (),
    *,
    is_refusal: bool = False,
) -> Message:
    written = text or "\n".join(map(str, calls))
    return Message(role, _clean(written), calls, is_refusal)


def _text(value: dict[Any, Any]) -> str | None:
    for name in TEXT:
        inner = value.get(name)
        if isinstance(inner, list):  # the parts of a message, some of which are text
            parts = [p.get("text") if isinstance(p, dict) else p for p in inner]
            texts = [part for part in parts if isinstance(part, str)]
            inner = "\n".join(texts) if texts else None
        if isinstance(inner, str):
            return inner
    audio = value.get("audio")  # a spoken answer has a transcript
    spoken = audio.get("transcript") if isinstance(audio, dict) else None
    return spoken if isinstance(spoken, str) else None


def _refusal(value: dict[Any, Any]) -> str | None:
    """Return why the model declined; the text is beside the content or one of its parts."""
    inner = value.get("refusal")
    if isinstance(inner, str) and inner:
        return inner
    parts = value.get("content")
    for part in parts if isinstance(parts, list) else ():
        refusal = part.get("refusal") if isinstance(part, dict) else None
        if isinstance(refusal, str):
            return refusal
    return None


def _tool_calls(value: dict[Any, Any]) -> tuple[ToolCall, ...]:
    """Return the tool calls, by OpenAI's older and newer names and by Anthropic's."""
    given: list[Any] = []
    if isinstance(value.get("tool_calls"), list):
        given += value["tool_calls"]
    if isinstance(value.get("function_call"), dict):
        given.append(value["function_call"])
    if value.get("type") == "function_call":
        given.append(value)
    if isinstance(parts := value.get("content"), list):
        given += [p for p in parts if isinstance(p, dict) and p.get("type") in USES]
    calls = (_tool_call(each) for each in given[:CALLS_MAX])
    return tuple(call for call in calls if call is not None)


USES = ("tool_use", "function_call")


def _tool_call(value: Any) -> ToolCall | None:
    if not isinstance(value, dict):
        return None
    inner = value.get("function", value.get("custom", value))
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        return None
    arguments = inner.get("arguments", inner.get("input", ""))
    if not isinstance(arguments, str):
        arguments = as_json(arguments)
    return ToolCall(_clean(inner["name"]), _clean(arguments))


def _reason(value: dict[Any, Any]) -> str:
    return next(filter(None, (_word(value.get(name)) for name in REASONS)), "")


def _tokens(value: dict[Any, Any]) -> int | None:
    usage = value.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    given = [_count(counts, name) for name in TOKENS] + [_count(value, "eval_count")]
    return next((count for count in given if count is not None), None)


def _count(counts: Any, name: str) -> int | None:
    count = counts.get(name) if isinstance(counts, dict) else None
    return count if type(count) is int and 0 <= count < 2**31 else None


def _word(value: Any) -> str:
    return _clean(value)[:WORD_CHARS] if isinstance(value, str) else ""


def _clean(text: str) -> str:
    return UNSTORABLE.sub("\ufffd", text)
