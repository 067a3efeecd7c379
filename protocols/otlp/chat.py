"""Bring messages of several forms into that of OpenAI's chat, and recognise whole protocols."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocols.otlp.values import from_json, text_in

Message = dict[str, Any]
# LangChain's words for roles.
ROLES = {"human": "user", "ai": "assistant", "function": "tool", "model": "assistant"}
KEPT = (
    "name",
    "tool_call_id",
    "refusal",
    "audio",
    "reasoning_content",
    "function_call",
)


def is_request(value: Any) -> bool:
    """Return whether the value is a request of a language model that is read as it is."""
    if not isinstance(value, dict):
        return False
    if any(_is_turns(value.get(name)) for name in ("messages", "contents")):
        return True
    prompt = value.get("input", value.get("prompt"))
    return "model" in value and (isinstance(prompt, str) or _is_turns(prompt))


def is_answer(value: Any) -> bool:
    """Return whether the value is an answer of a language model that is read as it is."""
    if not isinstance(value, dict):
        return False
    if any(_is_objects(value.get(n)) for n in ("choices", "candidates", "output")):
        return True
    if _is_objects(value.get("content")):
        return "role" in value
    return isinstance(value.get("message"), dict) and "model" in value


def _is_objects(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) for each in value)
    )


def _is_turns(value: Any) -> bool:
    return _is_objects(value) and all(
        "role" in each or "type" in each for each in value
    )


def messages_of(value: Any) -> list[Message]:
    """Return the messages that a value has: a list of them, one, or an object with ``messages``."""
    value = from_json(value)
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        value = value["messages"]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]  # the batch of one that LangChain makes
    given = value if isinstance(value, list) else [value]
    found = [m for each in given if _is_message(each) for m in message_of(each)]
    return found if found and all(map(_is_message, given)) else []


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and (
        isinstance(value.get("role"), str)
        or (
            value.get("type") in ROLES.keys() | {"system", "tool"}
            and "content" in value
        )
    )


def message_of(given: dict[str, Any]) -> Iterator[Message]:
    """Yield the chat messages that a message of any form amounts to."""
    role = given.get("role", given.get("type"))
    role = ROLES.get(role, role) if isinstance(role, str) else "user"
    if isinstance(given.get("parts"), list):
        yield from _of_parts(role, given["parts"], given)
        return
    message: Message = {"role": role, "content": given.get("content")}
    for name in KEPT:
        if given.get(name) is not None:
            message[name] = given[name]
    if calls := given.get("tool_calls"):
        calls = from_json(calls)
        if isinstance(calls, list):
            message["tool_calls"] = [tool_call(each) for each in calls]
    if role == "tool" and "tool_call_id" not in message and given.get("id"):
        message["tool_call_id"] = given["id"]
    yield message


def tool_call(given: Any) -> Any:
    """Return a tool call in OpenAI's form."""
    if not isinstance(given, dict):
        return given
    inner = given.get("function")
    inner = inner if isinstance(inner, dict) else given
    arguments = inner.get("arguments", inner.get("args", inner.get("input", "")))
    call: dict[str, Any] = {
        "type": "function",
        "function": {
            "name": text_in(inner.get("name")),
            "arguments": text_in(arguments),
        },
    }
    if given.get("id") is not None:
        call["id"] = given["id"]
    return call


def _of_parts(role: str, parts: list[Any], given: dict[str, Any]) -> Iterator[Message]:
    """Yield the messages of OpenTelemetry's parts; each result of a tool is one of its own."""
    content: list[Any] = []
    calls: list[Any] = []
    reasoning: list[str] = []
    for part in parts:
        if not isinstance(part, dict):
            content.append({"type": "text", "text": text_in(part)})
            continue
        kind = part.get("type")
        if kind == "tool_call_response":
            result = part.get("response", part.get("result", part.get("content")))
            yield {
                "role": "tool",
                "tool_call_id": text_in(part.get("id")),
                "content": text_in(result),
            }
        elif kind == "tool_call":
            calls.append(tool_call(part))
        elif kind in ("reasoning", "thinking"):
            reasoning.append(text_in(part.get("content")))
        else:
            content.append(_part(part))
    if not (content or calls or reasoning):
        return
    message: Message = {"role": role, "content": _plain(content)}
    if calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning_content"] = "\n".join(reasoning)
    if given.get("name"):
        message["name"] = given["name"]
    yield message


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of OpenTelemetry's form as one of OpenAI's; an unknown one stays as it is."""
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": text_in(part.get("content", part.get("text")))}
    media = text_in(part.get("mime_type"))
    modality = part.get("modality") or media.partition("/")[0]
    if kind == "blob":
        source = f"data:{media};base64,{text_in(part.get('content'))}"
    elif kind == "uri":
        source = text_in(part.get("uri"))
    else:
        return part
    if modality == "image":
        return {"type": "image_url", "image_url": {"url": source}}
    if modality == "audio" and kind == "blob":
        audio = {
            "data": text_in(part.get("content")),
            "format": media.partition("/")[2],
        }
        return {"type": "input_audio", "input_audio": audio}
    return {"type": "file", "file": {"file_data": source, "media_type": media}}


def _plain(content: list[Any]) -> Any:
    """Return a content that is one text as that text."""
    if not content:
        return None
    if len(content) == 1 and content[0].get("type") == "text":
        return content[0]["text"]
    return content


def as_request(value: Any) -> dict[str, Any]:
    """Return any value that a function was given as a request with messages."""
    parsed = from_json(value)
    if is_request(parsed):
        return dict(parsed)
    if found := messages_of(value):
        return {"messages": found}
    return {"messages": [{"role": "user", "content": written(value)}]}


def as_choices(value: Any) -> list[Message]:
    """Return any value that a function returned as messages of the assistant."""
    if found := messages_of(value):
        return found[-1:]  # of turns the last is the answer
    return [{"role": "assistant", "content": written(value)}]


def written(value: Any) -> str:
    """Return a value as it was sent: a text, or JSON. A function's only argument stands alone."""
    parsed = from_json(value)
    if isinstance(parsed, dict) and parsed.keys() == {"args", "kwargs"}:
        arguments, named = parsed["args"], parsed["kwargs"]
        if isinstance(arguments, list) and len(arguments) == 1 and not named:
            return written(arguments[0])  # a function that Langfuse observes
    return text_in(value)
