"""The prompt of a text model, as a person would read it.

These forms are read: plain text; a V2 input tensor as JSON; and requests of language
models, with ``messages`` (OpenAI, Anthropic, Ollama), ``contents`` (Gemini), ``prompt``,
``input`` (responses, embeddings), ``inputs`` (Hugging Face), ``text``, ``question`` with
``context``, or ``query`` with ``documents``.
"""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers.context import UNSTORABLE, as_json, parse
from inferences.predictions.parsers.outputs import without_batch

TEXTS = ("prompt", "input", "inputs", "text", "sequence")
TURNS_MAX = 10_000
# Parts of a message that are not text are shown by these names, as "[image]".
PARTS = ("image", "audio", "video", "file", "document")
# Content types that the proxy and uploads give to inputs of unknown kind.
TEXTUAL = ("application/json", "application/octet-stream", "")


def is_textual(content_type: str | None) -> bool:
    """Return whether an input of this content type may be text."""
    kind = (content_type or "").partition(";")[0]
    return kind.startswith("text/") or kind in TEXTUAL


def read_prompt(content: bytes) -> str | None:
    """Return the text of a request, or None if it is not UTF-8.

    Turns are written one after the other with their roles, with blank lines between them. A
    request of an unknown form is returned unchanged.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    try:
        found = _of_value(parse(text))
    except RecursionError:  # nested deeper than any known form
        found = None
    return UNSTORABLE.sub("\ufffd", found or text)


def _of_value(value: Any) -> str | None:
    value = without_batch(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return _of_list(value)
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("data"), list) and "datatype" in value:
        return _of_value(value["data"])
    if isinstance(turns := value.get("messages"), list):
        return _of_turns(value, turns)
    if isinstance(turns := value.get("contents"), list):
        return _of_contents(value, turns)
    if isinstance(question := value.get("question"), str):
        context = value.get("context")
        return f"{question}\n\n{context}" if isinstance(context, str) else question
    if isinstance(query := value.get("query"), str):
        return "\n\n".join([query, *_documents(value)])
    for name in TEXTS:
        if name in value and (text := _of_value(value[name])):
            instructions = value.get("instructions")
            is_told = isinstance(instructions, str) and instructions
            return f"system: {instructions}\n\n{text}" if is_told else text
    return None


def _of_list(value: list[Any]) -> str | None:
    """Return the text of several texts, or of several turns."""
    if not value:
        return None
    if all(isinstance(each, str) for each in value):
        texts = [_of_value(parse(each)) or each for each in value]
        return "\n\n".join(texts)
    if all(isinstance(each, dict) and "content" in each for each in value):
        return _of_turns({}, value)
    if len(value) == 1:
        return _of_value(value[0])
    return None


def _of_turns(value: dict[str, Any], turns: list[Any]) -> str | None:
    messages = []
    if system := _content(value.get("system")):
        messages.append(("system", system))
    for turn in turns[:TURNS_MAX]:
        if not isinstance(turn, dict):
            return None
        role = turn.get("role")
        messages.append((role if isinstance(role, str) else "", _turn(turn)))
    if len(messages) == 1:
        return messages[0][1] or None
    return "\n\n".join(f"{role}: {text}" if role else text for role, text in messages)


def _of_contents(value: dict[str, Any], turns: list[Any]) -> str | None:
    """Return Gemini's turns, whose parts have names that tell their kind."""
    system = value.get("systemInstruction", value.get("system_instruction"))
    head = [{**system, "role": "system"}] if isinstance(system, dict) else []
    messages = [
        {"role": turn.get("role"), "content": _gemini_parts(turn.get("parts"))}
        for turn in [*head, *turns]
        if isinstance(turn, dict)
    ]
    return _of_turns({}, messages) if len(messages) == len(head) + len(turns) else None


def _gemini_parts(parts: Any) -> str:
    return "\n".join(
        filter(None, map(_gemini_part, parts if isinstance(parts, list) else ()))
    )


def _gemini_part(part: Any) -> str:
    if not isinstance(part, dict):
        return ""
    if isinstance(text := part.get("text"), str):
        return text
    data = part.get("inlineData", part.get("inline_data", part.get("fileData")))
    if isinstance(data, dict):
        kind = str(data.get("mimeType", data.get("mime_type", "file")))
        return next((f"[{name}]" for name in PARTS if name in kind), "[file]")
    for name in ("functionCall", "functionResponse"):
        if isinstance(call := part.get(name), dict):
            given = call.get("args", call.get("response", {}))
            return f"{call.get('name')}({as_json(given)})"
    return ""


def _turn(turn: dict[str, Any]) -> str:
    text = _content(turn.get("content"))
    calls = turn.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            written = f"{function.get('name')}({function.get('arguments', '')})"
            text = f"{text}\n{written}" if text else written
    return text


def _content(value: Any) -> str:
    """Return the text of a message; other parts are shown by their kind."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    return "\n".join(filter(None, map(_part, value)))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    if isinstance(text := part.get("text"), str):
        return text
    kind = str(part.get("type", ""))
    if kind == "tool_result":
        return _content(part.get("content"))
    return next((f"[{name}]" for name in PARTS if name in kind), "")


def _documents(value: dict[str, Any]) -> list[str]:
    rows = value.get("documents", value.get("texts"))
    texts = (
        each.get("text") if isinstance(each, dict) else each
        for each in (rows if isinstance(rows, list) else ())
    )
    return [text for text in texts if isinstance(text, str)]
